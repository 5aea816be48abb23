"""results/benchmarks/README.md has the tables that tests/benchmarks/tables.py makes from the present JSON files."""

import json
import re
import runpy
from statistics import fmean
from typing import Any

import pytest
from paths import ROOT

FOLDER = ROOT / "results" / "benchmarks"
PAGE = (FOLDER / "README.md").read_text(encoding="utf-8")
FILES = sorted(path.stem for path in FOLDER.glob("*.json") if "rows" in json.loads(path.read_text()))


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    """The names in the script that makes the tables."""
    return runpy.run_path(str(ROOT / "tests" / "benchmarks" / "tables.py"))


def test_the_page_is_what_the_script_makes_of_the_files(made: dict[str, Any]) -> None:
    assert made["page_with_tables"](PAGE) == PAGE, "stale: run python tests/benchmarks/tables.py"


def test_the_page_has_every_table_once(made: dict[str, Any]) -> None:
    assert sorted(re.findall(r"<!-- table: (\w+) -->", PAGE)) == sorted(made["TABLES"])


@pytest.mark.parametrize("file", FILES)
def test_every_row_of_a_file_is_in_one_table(made: dict[str, Any], file: str) -> None:
    """No missed target may be left out; the cases of the picture and the single searches of a mean may."""
    tables = [table for table in made["TABLES"].values() if table.file == file]
    for row in json.loads((FOLDER / f"{file}.json").read_text())["rows"]:
        shown = [table for table in tables if table.words(row["case"]) is not None]
        left_out = made["LEFT_OUT"].fullmatch(row["case"]) and row["reached"] is not False
        assert len(shown) == (0 if left_out else 1), f"{file}.json, {row['case']!r}: give it a rule in one of TABLES"


def test_a_row_of_a_table_is_told_with_the_numbers_of_its_file() -> None:
    rows = json.loads((FOLDER / "guided_step.json").read_text())["rows"]
    row = next(row for row in rows if row["case"] == "guided / the published way: V 8192, D 128, 4,096 tokens a step")
    cells = f"{row['ours']:.2f} | {row['against']:.2f} | steps/s | {row['ratio']:.2f} ({row['ratio_low']:.2f} to "
    told = f"| guided steps, V 8192, D 128 | dense targets built on the host | {cells}{row['ratio_high']:.2f})"
    assert f"{told} | >= 5 **missed** |" in PAGE


def test_what_is_said_of_the_exported_schedule_is_what_its_file_has() -> None:
    kept = json.loads((FOLDER / "exported_schedule.json").read_text())
    text = " ".join(PAGE.split())
    assert f"Trainer came to {fmean(kept['trainer']):.4f} nats per token (mean of 3 fresh seeds)" in text
    assert f"the sweep's own seeds to {fmean(kept['sweep']):.4f}: a difference of {kept['difference']:.4f}" in text
    assert f"standard deviation over the sweep's seeds is {kept['standard_deviation']:.4f}" in text


def test_a_table_tells_its_command_its_machine_and_its_day() -> None:
    assert (
        "Measured by `python tests/benchmarks/data_parallel.py --repeats 5` on 2 cores of AMD EPYC, 24 GiB, no GPU; "
        "2026-11-28, alone, on a machine with AVX512_BF16; commit 5cb29c5."
    ) in PAGE


def test_figures_of_a_commit_without_a_day_are_refused(made: dict[str, Any]) -> None:
    measured = json.loads((FOLDER / "counting.json").read_text()) | {"git_commit": "0123456789"}
    with pytest.raises(AssertionError, match=r"counting\.json is of commit 0123456: say in MEASURED"):
        made["source_of"]("counting", measured)
