"""Command analysis.kfold_table: four forms of the table that can be read back, and mistakes in one sentence."""

import io
import re
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
from commands import run_module
from fold_trials import LINEAR_240, NONE, pair, table
from paths import ROOT
from synthetic_run import add_trial, write_run

from analysis.kfold_table import Format, kfold_csv, main
from analysis.tables.folds import kfold_rows, kfold_statistics
from trainable import names

PUBLISHED = ROOT / "results" / "published" / "k_fold"
FORMATS: list[Format] = ["terminal", "csv", "markdown", "latex"]


@pytest.fixture
def five() -> pd.DataFrame:
    return table(*(pair(fold, *losses) for fold, losses in enumerate(zip(NONE, LINEAR_240, strict=True))))


NASTY = r"50 % & more_{x} | a\b $1 #2 ~^<>"


def keep(folder: Path, trials: pd.DataFrame) -> Path:
    """Write trials into a folder of kept tables."""
    folder.mkdir(exist_ok=True)
    trials.to_parquet(folder / names.TRIALS_TABLE)
    trials[["trial", names.STEP, names.EVAL_LOSS]].to_parquet(folder / names.CURVES_TABLE)
    return folder


def drawn(folder: Path, form: Format, capsys: pytest.CaptureFixture[str]) -> str:
    main(folder, format=form)
    return capsys.readouterr().out


def fold_cells(drawing: str, form: Format) -> list[list[str]]:
    """Return the first five cells in the row of each fold, as strings."""
    split = {"terminal": r"\s+", "markdown": r"\s*\|\s*", "latex": r"\s*&\s*"}[form]
    lines = [re.split(split, line.strip().strip("|").strip()) for line in drawing.splitlines()]
    return [cells[:5] for cells in lines if re.fullmatch(r"\d", cells[0])]


@pytest.mark.parametrize("form", ["terminal", "markdown", "latex"])
def test_printed_folds_can_be_read_back(
    form: Format, five: pd.DataFrame, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cells = fold_cells(drawn(keep(tmp_path, five), form, capsys), form)
    assert [row[:2] for row in cells] == [[str(fold), "1"] for fold in range(5)]
    assert [float(row[2]) for row in cells] == NONE
    assert [float(row[3]) for row in cells] == LINEAR_240
    assert [float(row[4]) for row in cells] == pytest.approx([0.0409, 0.0313, 0.0385, 0.0455, 0.0129])


@pytest.mark.parametrize("form", ["terminal", "markdown", "latex"])
def test_the_printed_statistics_have_p_and_interval(
    form: Format, five: pd.DataFrame, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drawing = drawn(keep(tmp_path, five), form, capsys)
    (line,) = [line for line in drawing.splitlines() if "Nadeau-Bengio corrected t" in line]
    assert re.findall(r"[+-]?\d+\.\d+", line) == ["4.19", "0.0138", "+0.0114", "+0.0562"]
    (line,) = [line for line in drawing.splitlines() if "training seconds to that loss" in line]
    assert "4,380.0 against 1,170.0; saved" in line


def test_csv_has_every_number(five: pd.DataFrame) -> None:
    rows = kfold_rows(five)
    read = pd.read_csv(io.StringIO(kfold_csv(rows)))
    folds = read[read["fold"].notna()].pivot(index="fold", columns="quantity", values="value")
    assert list(folds["gain"]) == pytest.approx(list(rows["gain"]))
    assert list(folds["control_loss"]) == NONE
    over = read[read["fold"].isna()].set_index("quantity")["value"]
    (found,) = kfold_statistics(rows)
    assert over["corrected_p"] == pytest.approx(found.corrected.p)
    assert over["signed_rank_least_p"] == 0.0625
    assert over["rows_known"] == 1


@pytest.mark.parametrize("form", FORMATS)
def test_an_arm_whose_name_has_special_characters_is_printed(
    form: Format, five: pd.DataFrame, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drawing = drawn(keep(tmp_path, five.replace({"arm": {"linear 240": NASTY}})), form, capsys)
    if form == "csv":
        assert set(pd.read_csv(io.StringIO(drawing))["arm"]) == {NASTY}
    elif form == "latex":
        title = re.search(r"\\paragraph\{(.*) against", drawing)
        assert title is not None
        assert unescaped(title[1]) == NASTY
        assert not re.search(r"(?<!\\)[%#_]", drawing)
    else:
        assert NASTY in (re.sub(r"\\([^\w\s]|_)", r"\1", drawing) if form == "markdown" else drawing)


def unescaped(tex: str) -> str:
    """Turn escapes of LaTeX back into characters."""
    commands = {"textbackslash": "\\", "textasciitilde": "~", "textasciicircum": "^"}
    commands |= {"textless": "<", "textgreater": ">", "textbar": "|"}
    return re.sub(r"\\(?:(\w+)\{\}|(.))", lambda found: commands[found[1]] if found[1] else found[2], tex)


def test_a_run_folder_is_read_from_its_ledgers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run(tmp_path / "run")
    for fold, gain in enumerate((0.3, 0.2)):
        own = {"corpus__folds": 2, "corpus__fold": fold, "seed": fold}
        control = {0: 8.0, 60: 5.5, 120: 5.0}
        add_trial(run, names.CONTROL, control, **own)
        losses = {0: 8.0, 60: 5.5 - gain, 120: 5.0 - gain}
        add_trial(run, names.ARM, losses, control=control, teacher__schedule="linear", teacher__steps=60, **own)
    cells = fold_cells(drawn(run, "markdown", capsys), "markdown")
    assert cells == [["0", "1", "5.0000", "0.0100", "4.7000"], ["1", "1", "5.0000", "0.0100", "4.8000"]]


run_command = partial(run_module, "analysis.kfold_table")


def test_csv_names_what_it_leaves_out_on_stderr(five: pd.DataFrame, tmp_path: Path) -> None:
    five.loc[3, "state"] = names.FAILED
    done = run_command(str(keep(tmp_path, five)), "--format", "csv", "--arm", "linear 240")
    assert done.returncode == 0
    assert done.stderr == "Left out, failed: fold 1 linear-f1-s0.\n"
    assert set(pd.read_csv(io.StringIO(done.stdout))["fold"].dropna()) == {0, 2, 3, 4}


def test_mistakes_are_one_sentence_and_exit_with_2(five: pd.DataFrame, tmp_path: Path) -> None:
    for arguments in ([str(tmp_path / "nothing")], [str(keep(tmp_path, five)), "--arm", "linear 9"]):
        done = run_command(*arguments)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.endswith("has no complete fold of an arm 'linear 9': give one of linear 240.\n")


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason=f"needs the published tables in {PUBLISHED}")
def test_the_kept_tables_of_the_published_folds_give_the_published_statistics() -> None:
    done = run_command(str(PUBLISHED), "--format", "csv")
    read = pd.read_csv(io.StringIO(done.stdout))
    control = read[read["quantity"] == "control_loss"].set_index("fold")["value"]
    guided = read[read["quantity"] == "guided_loss"].set_index("fold")["value"]
    assert (list(control.round(4)), list(guided.round(4))) == (NONE, LINEAR_240)
    over = read[read["fold"].isna()].set_index("quantity")["value"].round(3)
    expected = {"gain_mean": 0.034, "gain_sd": 0.013, "corrected_p": 0.017, "corrected_low": 0.010}
    expected |= {"corrected_high": 0.058, "test_over_train": 0.25, "signed_rank_p": 0.062, "paired_p": 0.004}
    assert {name: over[name] for name in expected} == expected
