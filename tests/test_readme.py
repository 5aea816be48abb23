"""The READMEs say what is true of the code and of the kept runs: maps, tables, examples, commands, links."""

import io
import json
import re
import signal
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from commands import run_module
from paths import ROOT

import trainable
from analysis.columns import EVAL_HALF
from analysis.results import load
from sweeps.engine import cli, termination
from sweeps.schedule_search import SearchOptions

RECORD = ROOT / "results" / "record"
README = (ROOT / "README.md").read_text(encoding="utf-8")
FINDINGS = (RECORD / "README.md").read_text(encoding="utf-8")
RESULTS = (ROOT / "results" / "README.md").read_text(encoding="utf-8")
SWEEPS = (ROOT / "sweeps" / "README.md").read_text(encoding="utf-8")
FOLDERS = ("trainable", "sweeps", "analysis", "tests", "results")
PAGES = [*sorted(ROOT.glob("*.md")), *(path for name in FOLDERS for path in sorted((ROOT / name).rglob("README.md")))]
ONE_LINERS = re.findall(r'^python -c "(.+)"  # (.+)$', RESULTS, flags=re.MULTILINE)
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)


def rows_of(page: str, start: str) -> list[list[str]]:
    """Cells of the first table after a text, without the headings."""
    table = re.search(r"(?:^\|.*\n)+", page[page.index(start) :], flags=re.MULTILINE)
    assert table is not None
    return [re.split(r" *(?<!\\)\| *", line.strip("| ")) for line in table[0].splitlines()[2:]]


def section(page: str, title: str) -> str:
    """Text of a section, with its subsections."""
    return re.split(r"^#{1,2} ", page.split(f"\n{title}\n")[1], maxsplit=1, flags=re.MULTILINE)[0]


def test_the_readme_is_one_sitting_long() -> None:
    assert len(README) <= 12_000


def test_ci_finds_its_two_commands() -> None:
    """`.ci/run` takes the first line that begins with each command, up to the comment."""
    install = [line for line in README.splitlines() if line.startswith("pip install -e ")]
    assert [line.split("  #")[0] for line in install] == [
        "pip install -e . && python sweeps/schedule_search.py",
        'pip install -e ".[test]" && pytest',
    ]


def test_the_map_of_the_folders_is_the_tree() -> None:
    """The map has the top level and one below; deeper folders are in the docstring of the folder above them."""
    packages = ("sweeps", "trainable", "analysis")
    found = {path.parent.relative_to(ROOT) for name in packages for path in (ROOT / name).rglob("*.py")}
    drawn, above = set(), ""
    for line in section(README, "## The house").split("```")[1].strip().splitlines():
        name = line.split()[0].rstrip("/")
        above = above if line.startswith(" ") else name
        drawn.add(f"{above}/{name}" if line.startswith(" ") else name)
    assert drawn >= set(FOLDERS)
    near = {folder.as_posix() for folder in found if len(folder.parts) <= 2}
    assert {folder for folder in drawn if folder.startswith(packages)} == near | {"sweeps/recipes"}
    for folder in (folder for folder in found if len(folder.parts) > 2):
        assert f"{folder.name}/" in (ROOT / folder.parent / "__init__.py").read_text(encoding="utf-8"), folder


def test_the_table_of_studies_names_studies_and_every_kept_one() -> None:
    """A new study without a result may be missing."""
    told = set(re.findall(r"^\| \[(\w+)\]\(sweeps/\1\.py\)", section(README, "## Studies"), flags=re.MULTILINE))
    studies = {path.stem for path in (ROOT / "sweeps").glob("*.py")} - {"__init__"}
    kept = {json.loads(path.read_text())["study"] for path in RECORD.glob("*/run.json")}
    assert kept <= told <= studies


def test_the_table_of_records_has_every_kept_run_with_its_study_its_trials_and_its_day() -> None:
    rows = {row[0].split("]")[0].strip("["): row[1:] for row in rows_of(FINDINGS, "## The records")}
    assert set(rows) == {path.parent.name for path in RECORD.glob("*/run.json")}
    for name, (study, trials, minutes, ended) in rows.items():
        run = json.loads((RECORD / name / "run.json").read_text())
        assert study.split(",")[0] == run["study"]
        assert int(trials.split()[0]) == len(load(RECORD / name).trials), name
        if run.get("ended") is not None:
            day = run["ended"][:10] if run.get("complete", True) else "cut off"
            assert (int(re.findall(r"\d+", minutes)[0]), ended) == (round(run["wall_seconds"] / 60), day)


@pytest.mark.parametrize(("code", "printed"), ONE_LINERS)
def test_one_liner_prints_what_the_page_says(
    code: str, printed: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    exec(compile(code, "one-liner of results/README.md", "exec"), {})
    assert capsys.readouterr().out.strip() == printed


def test_there_are_one_liners() -> None:
    assert len(ONE_LINERS) >= 3


# Names of the registered study's arms in the first table -> names in the run.
ARMS = {
    "bigram teacher": "bigram",
    "uniform teacher: knows nothing": "uniform",
    "no teacher; an output bias that starts as the token frequencies": "control with bias",
    "bigram teacher and that bias": "bigram with bias",
    "uniform teacher and that bias": "uniform with bias",
    "bigrams with permuted rows": "shuffled",
    "no teacher; the loss ramped up, times 1 - w": "ramp",
}
ANSWER = {"bigram", "uniform", "shuffled", "control with bias"}  # the arms that carry the answer


@pytest.fixture(scope="module")
def contrasts() -> pd.DataFrame:
    """The table of `analysis.contrasts` of the registered study."""
    done = run_module("analysis.contrasts", str(RECORD / "content_books"), "--format", "csv")
    return pd.read_csv(io.StringIO(done.stdout))


@pytest.mark.parametrize(("page", "arms"), [(README, ANSWER), (FINDINGS, set(ARMS.values()))], ids=["README", "record"])
def test_the_first_table_is_that_of_the_kept_study(contrasts: pd.DataFrame, page: str, arms: set[str]) -> None:
    """Gains at 10, 25, 50 % and at the end, the interval and the number of seeds."""
    told = {ARMS[row[0]]: [cell.strip("*") for cell in row[1:]] for row in rows_of(page, "") if row[0] in ARMS}
    assert set(told) == arms
    for arm, cells in told.items():
        rows = contrasts[(contrasts["first"] == "control") & (contrasts["second"] == arm)].set_index("at")
        end = rows.loc[1.0]
        gains = [f"{rows.loc[at, 'difference']:+.2f}" for at in (0.1, 0.25, 0.5)]
        interval = f"{end['low']:+.3f} to {end['high']:+.3f}"
        assert cells == [*gains, f"{end['difference']:+.3f}", interval, str(int(end["pairs"]))], arm


@pytest.mark.parametrize("page", [README, FINDINGS], ids=["README", "record"])
def test_what_is_said_of_the_best_rival_is_what_was_kept(contrasts: pd.DataFrame, page: str) -> None:
    found = contrasts[(contrasts["first"] == "bigram") & (contrasts["second"] == "control with bias")]
    row = found[found["at"] == 1.0].iloc[0]
    assert f"0.038 ({row['low']:.3f} to {row['high']:.3f})" in page
    assert f"{row['difference']:.3f}" == "0.038"


def test_what_is_said_of_the_long_pair_is_what_was_kept() -> None:
    trials = load(RECORD / "content_long_books").trials
    ends = trials.groupby("arm").eval_loss.mean()
    behind = -trials[trials.arm == "bigram"].sort_values("seed").gain
    assert (
        f"The control ends at {ends['none']:.3f}, bigrams with permuted rows at {ends['shuffled']:.3f}, and the bigram "
        f"teacher, which stays for the whole run, at {ends['bigram']:.3f}. In the two seeds it ends "
        f"{behind.iloc[0]:.3f} and {behind.iloc[1]:.3f} behind its control."
    ) in " ".join(FINDINGS.split())
    said = f"the control ends at {ends['none']:.3f} and the bigram teacher at {ends['bigram']:.3f}"
    assert said in " ".join(README.split())


class Student(torch.nn.Module):
    """A model with hidden states [B, T, D] and an output matrix."""

    def __init__(self, vocab_size: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding = torch.nn.Embedding(vocab_size, 8)
        self.output_VxD = torch.nn.Parameter(torch.randn(vocab_size, 8) * 0.1)

    def forward(self, ids_BxT: torch.Tensor) -> torch.Tensor:
        return self.embedding(ids_BxT)


def test_the_loop_of_the_readme_trains_as_dense_targets_do() -> None:
    """The output matrix after five steps, against soft targets written out in full."""
    vocab_size, eos_id = 20, 2
    ids_N = np.random.default_rng(0).zipf(1.5, 400).astype(np.uint16) % vocab_size
    batches = torch.from_numpy(ids_N.astype("int64")).view(5, 8, 10)
    student = Student(vocab_size)
    given: dict[str, Any] = {
        **{"ids_N": ids_N, "vocab_size": vocab_size, "eos_id": eos_id, "batches": batches, "model": student},
        **{"output_VxD": student.output_VxD, "optimizer": torch.optim.SGD(student.parameters(), lr=1.0)},
    }
    exec(compile(EXAMPLES[0], "loop of README.md", "exec"), given)

    reference = Student(vocab_size)
    optimizer = torch.optim.SGD(reference.parameters(), lr=1.0)
    P_VxV = torch.from_numpy(np.array([given["table"].row(context) for context in range(vocab_size)]))
    for step, ids_BxT in enumerate(batches):
        weight = trainable.teacher_weight(step, "linear", steps=200)
        one_hot = torch.nn.functional.one_hot(ids_BxT[:, 1:], vocab_size)
        target = weight * P_VxV[ids_BxT[:, :-1]] + (1 - weight) * one_hot
        logits = reference(ids_BxT[:, :-1]) @ reference.output_VxD.T
        (-(target * logits.log_softmax(-1)).sum(-1).mean()).backward()
        optimizer.step()
        optimizer.zero_grad()
    assert not torch.allclose(reference.output_VxD, Student(vocab_size).output_VxD, atol=1e-2)
    torch.testing.assert_close(student.output_VxD, reference.output_VxD, atol=1e-5, rtol=1e-4)


def test_the_loop_of_the_readme_has_twelve_lines() -> None:
    assert len([line for line in EXAMPLES[0].splitlines() if line.strip()]) <= 12


def test_three_lines_of_pandas_read_a_run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ROOT)
    found: dict[str, Any] = {}
    exec(compile(EXAMPLES[1], "results of README.md", "exec"), found)
    confirmations = found["trials"][found["trials"][EVAL_HALF] == "reporting"]
    assert (
        f"bigram               {confirmations[confirmations.arm == 'bigram'].gain.mean():.6f}"
        in capsys.readouterr().out
    )


def test_the_exit_statuses_are_those_of_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    told = [int(row[0]) for row in rows_of(SWEEPS, "### Exit statuses")]
    by_signal = []
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        monkeypatch.setattr(termination, "_came", [number])
        by_signal.append(termination.exit_status())
    assert told == sorted([0, 1, cli.USAGE_ERROR, *by_signal])


@pytest.mark.parametrize("page", [README, SWEEPS], ids=["README", "sweeps"])
def test_commands_name_files_modules_and_options_that_exist(page: str) -> None:
    options = {f"--{field.name.replace('_', '-')}" for field in fields(SearchOptions)} | {"--help"}
    commands = re.findall(r"python ((?:sweeps|tests|-m analysis)[^`#\n]*)", page)
    assert len(commands) > 5
    for command in commands:
        words = command.split()
        path = ROOT / (f"{words[1].replace('.', '/')}.py" if words[0] == "-m" else words[0])
        assert path.exists(), command
        if words[0] == "sweeps/schedule_search.py":
            assert {word for word in words if word.startswith("--")} <= options, command


def test_the_glossary_is_short_and_its_columns_exist() -> None:
    rows = rows_of(RESULTS, "## Glossary")
    columns = set(re.findall(r"^\| `([\w.]+)` \|", RESULTS.split("## trials.parquet")[1], flags=re.MULTILINE))
    assert len(rows) <= 15
    for term, meaning, *where in rows:
        assert meaning, term
        named = set(re.findall(r"`([\w.]+)`", re.sub(r"\(.*?\)", "", " ".join(where))))
        assert named <= columns, term


def test_the_citation_has_the_version_of_the_package() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()


def anchors(page: Path) -> set[str]:
    """GitHub's anchors of the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(
        r"\]\(([^)\s]+)\)", re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    ):
        path, _, anchor = link.partition("#")
        if not path.startswith("http"):
            target = page.parent / path if path else page
            assert target.exists(), link
            assert not anchor or anchor in anchors(target), link
