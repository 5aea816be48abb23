"""Pairs by fold, what is left out of them, and the four ways they are drawn, against the published five folds."""

import io
import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from synthetic_run import add_trial, write_run

from analysis.kfold_table import Format, kfold_csv, main
from analysis.sections.fold_sections import kfold_sections
from analysis.sections.latex import latex
from analysis.tables.folds import kfold_rows, kfold_statistics, left_out
from trainable import names
from trainable.errors import InputError

ROOT = Path(__file__).resolve().parents[1]
PUBLISHED = ROOT / "results" / "published" / "k_fold"
NONE = [4.4371, 4.4340, 4.4403, 4.4550, 4.4235]
LINEAR_240 = [4.3962, 4.4027, 4.4018, 4.4095, 4.4106]
FORMATS: list[Format] = ["terminal", "csv", "markdown", "latex"]


def trial(name: str, control: str, loss: float, fold: int = 0, **changes: Any) -> dict[str, Any]:
    """A finished row of a trials table; a control if it is its own control."""
    guided = name != control
    return {
        "trial": name,
        "role": names.ARM if guided else names.CONTROL,
        "arm": "linear 240" if guided else "none",
        "control": control,
        "state": names.FINISHED,
        "reason": "",
        "teacher.schedule": "linear" if guided else "none",
        "teacher.steps": 240 if guided else 0,
        "teacher.min_weight": 0.0,
        "teacher.rows": "student",
        "corpus.folds": 5,
        "corpus.fold": fold,
        "corpus.train_rows": 1_000_000,
        "corpus.eval_rows": 200_000,
        "loop.steps": 570,
        "seed": 0,
        "eval_loss": loss,
        "eval_loss_se": math.nan,
        "step": 570,
        "train_seconds": 5200.0 if guided else 1170.0,
        "steps_to_control": 480.0,
        "steps_saved": 90.0,
        "seconds_to_control": 4380.0,
        "seconds_saved": -3210.0,
    } | changes


def pair(fold: int, control: float, guided: float, seed: int = 0, **changes: Any) -> list[dict[str, Any]]:
    own = {"seed": seed, **changes}
    name = f"none-f{fold}-s{seed}"
    return [trial(name, name, control, fold, seed=seed), trial(f"linear-f{fold}-s{seed}", name, guided, fold, **own)]


def table(*pairs: list[dict[str, Any]]) -> pd.DataFrame:
    return pd.DataFrame([row for one in pairs for row in one])


@pytest.fixture
def five() -> pd.DataFrame:
    return table(*(pair(fold, *losses) for fold, losses in enumerate(zip(NONE, LINEAR_240, strict=True))))


def text(trials: pd.DataFrame) -> str:
    """All that is said, tables too."""
    return latex(kfold_sections(kfold_rows(trials), left_out(trials))).replace("\\_", "_").replace("\\%", "%")


# ---- data ------------------------------------------------------------------------------------------------------------


def test_the_published_losses_give_the_published_statistics(five: pd.DataFrame) -> None:
    (found,) = kfold_statistics(kfold_rows(five.drop(columns="corpus.train_rows")))
    assert (round(found.gain_mean, 4), round(found.gain_sd, 4)) == (0.0338, 0.0128)
    assert (found.test_over_train, found.rows_known) == (1 / 4, False)
    assert round(found.corrected.p, 3) == 0.017
    assert (round(found.corrected.low, 3), round(found.corrected.high, 3)) == (0.010, 0.058)
    assert found.signed_rank.p == found.signed_rank.floor == 0.0625
    assert found.verdict == "guided is better"
    assert (found.steps_to_control, found.control_steps, found.seconds_saved) == (480, 570, -3210)


def test_row_counts_give_the_ratio_where_they_are_known(five: pd.DataFrame) -> None:
    (found,) = kfold_statistics(kfold_rows(five))
    assert (found.test_over_train, found.rows_known) == (0.2, True)
    assert round(found.corrected.p, 3) == 0.014


def test_the_ratio_is_of_the_planned_folds_also_when_some_are_left_out(five: pd.DataFrame) -> None:
    (found,) = kfold_statistics(kfold_rows(five.iloc[:6].drop(columns=["corpus.train_rows", "corpus.eval_rows"])))
    assert (found.folds, found.planned, found.test_over_train) == (3, 5, 1 / 4)


@pytest.mark.parametrize(
    ("absent", "words"), [("corpus.train_rows", "p is if anything too large"), ("corpus.eval_rows", "p is too small")]
)
def test_an_assumed_ratio_says_which_way_it_errs(five: pd.DataFrame, absent: str, words: str) -> None:
    assert words in text(five.drop(columns=absent))


def test_seeds_are_averaged_within_their_fold_and_folds_are_the_units() -> None:
    seeds = [pair(0, 4.5, 4.4, 0), pair(0, 4.5, 4.2, 1), pair(1, 4.5, 4.4, 0)]
    rows = kfold_rows(table(*seeds))
    assert list(rows["seeds"]) == [2, 1]
    assert list(rows["gain"]) == pytest.approx([0.2, 0.1])
    assert rows["gain_se"][0] == pytest.approx(0.1)  # half of their distance
    assert kfold_statistics(rows)[0].corrected.df == 1
    assert "the 1 to 2 seeds of a fold are averaged first" in text(table(*seeds))


def test_a_fold_that_never_reached_its_control_leaves_no_mean(five: pd.DataFrame) -> None:
    five.loc[1, "steps_to_control"] = math.nan
    (found,) = kfold_statistics(kfold_rows(five))
    assert found.reached == 4
    assert math.isnan(found.steps_to_control)
    assert "reached in 4 of 5 folds" in text(five)


def test_trials_that_differ_in_more_than_the_seed_are_not_averaged() -> None:
    deep = [row | {"model.layers": 2} for row in pair(0, 4.2, 4.1, seed=1)]
    shallow = [row | {"model.layers": 1} for row in pair(0, 4.5, 4.2)]
    rows = kfold_rows(table(shallow, deep))
    assert dict(zip(rows["arm"], rows["gain"].round(6), strict=True)) == {
        "linear 240, model.layers 1": 0.3,
        "linear 240, model.layers 2": 0.1,
    }


def test_folds_may_differ_in_their_length_and_this_is_said(five: pd.DataFrame) -> None:
    five.loc[five["corpus.fold"] == 4, "loop.steps"] = 569
    assert kfold_statistics(kfold_rows(five))[0].folds == 5
    assert "Folds differ in loop.steps: 569 to 570." in text(five)


def test_a_run_without_arms_is_named_by_its_schedule(five: pd.DataFrame) -> None:
    old = five.drop(columns=["arm", "teacher.rows"]).replace({"role": {names.ARM: names.CONFIRM}})
    assert set(kfold_rows(old)["arm"]) == {"linear 240"}
    assert set(kfold_rows(old.assign(**{"teacher.min_weight": 0.1}))["arm"]) == {"linear 240 floor 0.1"}


def test_several_arms_stand_apart(five: pd.DataFrame) -> None:
    other = five[five["role"] == names.ARM].assign(arm="step 60", eval_loss=5.0, trial=lambda t: "step-" + t["trial"])
    both = pd.concat([five, other], ignore_index=True)
    found = {one.arm: one.verdict for one in kfold_statistics(kfold_rows(both))}
    assert found == {"linear 240": "guided is better", "step 60": "guided is worse"}
    assert "One of 2 arms" in text(both)


def test_an_interval_that_holds_zero_decides_nothing() -> None:
    trials = table(pair(0, 4.5, 4.4), pair(1, 4.5, 4.55))
    assert kfold_statistics(kfold_rows(trials))[0].verdict.startswith("undecided")


def test_one_fold_makes_no_claim(five: pd.DataFrame) -> None:
    (found,) = kfold_statistics(kfold_rows(five[:2]))
    assert found.verdict == "no claim from one fold"
    assert math.isnan(found.corrected.p)
    said = text(five[:2])
    assert "no claim from one fold: mean gain +0.0409" in said
    assert "Nadeau" not in said
    assert "fold 1, fold 2, fold 3, fold 4" in said


def test_a_leak_is_said(five: pd.DataFrame) -> None:
    assert "LEAK PROBE" in text(five.assign(**{"teacher.rows": "all"}))
    assert "is not recorded" in text(five.drop(columns="teacher.rows"))
    assert "LEAK PROBE" not in text(five)


# ---- left out --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "changes", "why"),
    [
        (3, {"state": names.FAILED, "reason": "out of memory"}, "failed (out of memory)"),
        (3, {"state": names.STOPPED, "step": 300}, "stopped"),
        (3, {"state": names.RUNNING}, "running"),
        (2, {"state": names.FAILED}, "its control none-f1-s0 is failed"),
        (3, {"control": "none-f9-s0"}, "its control none-f9-s0 is not in the results"),
        (3, {"control": "none-f0-s0"}, "its control none-f0-s0 is of fold 0"),
        (3, {"eval_loss": math.nan}, "it or its control has no finite loss"),
        (3, {"step": 540}, "it ended at step 540, its control at step 570"),
        (3, {"role": names.SEARCH}, "the search chose by it, so its gain flatters"),
    ],
)
def test_what_cannot_be_paired_is_left_out_and_named(
    five: pd.DataFrame, row: int, changes: dict[str, Any], why: str
) -> None:
    for name, value in changes.items():
        five.loc[row, name] = value
    assert list(kfold_rows(five)["corpus.fold"]) == [0, 2, 3, 4]
    outs = left_out(five)
    assert outs.to_dict("records") == [{"arm": "linear 240", "corpus.fold": 1, "trial": "linear-f1-s0", "why": why}]
    assert f"Left out, {why}: fold 1 linear-f1-s0." in text(five)
    assert "over 4 of 5 folds" in text(five)


def test_a_fold_without_a_trial_is_named(five: pd.DataFrame) -> None:
    assert "Left out, no trial of this arm: fold 3." in text(five.drop(index=[6, 7]))


def test_nothing_is_left_out_of_a_whole_run(five: pd.DataFrame) -> None:
    assert left_out(five).empty
    assert "Left out" not in text(five)


def test_an_arm_without_a_complete_fold_is_named_too(five: pd.DataFrame) -> None:
    trials = pd.concat([five, pd.DataFrame([trial("step-f0", "none-f0-s0", 4.4, arm="step 60", state="failed")])])
    assert "no claim: no fold is complete" in text(trials.reset_index(drop=True))


def test_no_control_at_all_is_an_error_that_names_one(five: pd.DataFrame) -> None:
    with pytest.raises(InputError, match="linear-f0-s0: its control none-f0-s0 is not in the results"):
        kfold_rows(five[five["role"] == names.ARM])


def test_controls_alone_are_an_error(five: pd.DataFrame) -> None:
    with pytest.raises(InputError, match="no guided trial"):
        kfold_rows(five[five["role"] == names.CONTROL])


@pytest.mark.parametrize("folds", [math.nan, "absent"])
def test_a_run_without_folds_is_an_error(five: pd.DataFrame, folds: Any) -> None:
    columns = {"corpus.folds": folds} if folds != "absent" else {}
    with pytest.raises(InputError, match=r"sweeps/kfold\.py"):
        kfold_rows(five.drop(columns="corpus.folds").assign(**columns))


# ---- drawing ---------------------------------------------------------------------------------------------------------

NASTY = r"50 % & more_{x} | a\b $1 #2 ~^<>"


def keep(folder: Path, trials: pd.DataFrame) -> Path:
    """A folder of kept tables."""
    folder.mkdir(exist_ok=True)
    trials.to_parquet(folder / names.TRIALS_TABLE)
    pd.DataFrame({"trial": []}).to_parquet(folder / names.CURVES_TABLE)
    return folder


def drawn(folder: Path, form: Format, capsys: pytest.CaptureFixture[str]) -> str:
    main(folder, format=form)
    return capsys.readouterr().out


def fold_cells(drawing: str, form: Format) -> list[list[str]]:
    """The first columns of the rows of folds, as strings: fold, seeds, control, guided, gain."""
    split = {"terminal": r"\s+", "markdown": r"\s*\|\s*", "latex": r"\s*&\s*"}[form]
    lines = [re.split(split, line.strip().strip("|").strip()) for line in drawing.splitlines()]
    return [cells[:5] for cells in lines if re.fullmatch(r"\d", cells[0])]


@pytest.mark.parametrize("form", ["terminal", "markdown", "latex"])
def test_drawn_folds_parse_back(
    form: Format, five: pd.DataFrame, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cells = fold_cells(drawn(keep(tmp_path, five), form, capsys), form)
    assert [row[:2] for row in cells] == [[str(fold), "1"] for fold in range(5)]
    assert [float(row[2]) for row in cells] == NONE
    assert [float(row[3]) for row in cells] == LINEAR_240
    assert [float(row[4]) for row in cells] == pytest.approx([0.0409, 0.0313, 0.0385, 0.0455, 0.0129])


@pytest.mark.parametrize("form", ["terminal", "markdown", "latex"])
def test_drawn_tests_have_the_p_and_the_interval(
    form: Format, five: pd.DataFrame, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drawing = drawn(keep(tmp_path, five), form, capsys)
    (line,) = [line for line in drawing.splitlines() if "Nadeau-Bengio corrected t" in line]
    assert re.findall(r"[+-]?\d+\.\d+", line) == ["4.19", "0.0138", "+0.0114", "+0.0562"]
    (line,) = [line for line in drawing.splitlines() if "training seconds to it" in line]
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
    assert over["signed_rank_floor"] == 0.0625
    assert over["rows_known"] == 1


@pytest.mark.parametrize("form", FORMATS)
def test_any_name_of_an_arm_is_drawn(
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
        assert NASTY in drawing


def unescaped(tex: str) -> str:
    """Back from LaTeX."""
    commands = {"textbackslash": "\\", "textasciitilde": "~", "textasciicircum": "^"}
    commands |= {"textless": "<", "textgreater": ">", "textbar": "|"}
    return re.sub(r"\\(?:(\w+)\{\}|(.))", lambda found: commands[found[1]] if found[1] else found[2], tex)


def test_latex_braces_and_rows_are_balanced(five: pd.DataFrame) -> None:
    tex = latex(kfold_sections(kfold_rows(five), left_out(five)))
    assert tex.count("{") == tex.count("}")
    for tabular in re.findall(r"\\begin\{tabular\}\{(\w+)\}\n(.*?)\\end\{tabular\}", tex, re.DOTALL):
        columns, body = tabular
        rows = [line for line in body.splitlines() if line.endswith("\\\\")]
        assert {len(re.findall(r"(?<!\\)&", row)) + 1 for row in rows} == {len(columns)}


def test_a_minus_is_a_minus_in_latex(five: pd.DataFrame) -> None:
    assert "saved $-$3,210.0" in latex(kfold_sections(kfold_rows(five), left_out(five)))


def test_standard_errors_are_drawn_where_there_are_any(five: pd.DataFrame) -> None:
    assert "& control se &" not in text(five)
    assert "& control se &" in text(five.assign(eval_loss_se=0.01))


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


# ---- the command -----------------------------------------------------------------------------------------------------


def run_command(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "analysis.kfold_table", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)


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
