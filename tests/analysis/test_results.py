"""Tables made from ledgers: which rows count, what is derived from them, and how a damaged file is told."""

import math
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal
from paths import ROOT
from synthetic_run import add_trial, realistic_run, spec, write_run

from analysis.results import Results, build, load, write
from analysis.tables.best import best
from analysis.tables.pairing import reach
from analysis.tables.schedule_effects import searched
from trainable import config, names
from trainable.errors import InputError
from trainable.record.files import write_json
from trainable.record.ledger import append_row, read_lines
from trainable.record.trial_files import write_status

README = ROOT / "results" / "README.md"
CONTROL = {0: 8.0, 20: 6.0, 40: 5.0}
GUIDED = {"teacher__schedule": "linear", "teacher__steps": 20}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run")


def add_control(run: Path, losses: dict[int, float] = CONTROL, **options: str) -> str:
    return add_trial(run, names.CONTROL, losses, **options)


def add_guided(run: Path, losses: dict[int, float], **options: object) -> str:
    return add_trial(run, names.SEARCH, losses, control=CONTROL, **GUIDED | options)


def row_of(run: Path, trial: str) -> pd.Series:
    return load(run).trials.set_index("trial").loc[trial]


def ledger(run: Path, trial: str) -> Path:
    return run / names.TRIALS_FOLDER / trial / names.LEDGER_FILE


def test_a_step_reported_twice_counts_once_as_last_written(run: Path) -> None:
    name = add_control(run)
    append_row(ledger(run, name), read_lines(ledger(run, name))[1] | {names.EVAL_LOSS: 5.75})
    curve = load(run).curves
    assert list(curve[names.STEP]) == [0, 20, 40]
    assert list(curve[names.EVAL_LOSS]) == [8.0, 5.75, 5.0]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_no_number_fails_a_trial_at_that_step_whatever_its_status_says(run: Path, value: float) -> None:
    """A trial with a loss that is not finite has failed and is never best, even with the largest gain at its end."""
    add_control(run)
    whole = add_guided(run, {0: 8.0, 20: 6.0, 40: 4.9})
    spoilt = add_guided(run, {0: 8.0, 20: value, 40: 1.0}, teacher__min_weight=0.1)
    trials, curves = load(run)
    row = trials.set_index("trial").loc[spoilt]
    assert (row["state"], row["reason"]) == (names.FAILED, "diverged: a loss is not finite at step 20")
    assert row[["eval_loss", "gain", "steps_to_control", "steps_saved", "seconds_saved"]].isna().all()
    own = curves[curves["trial"] == spoilt]
    assert own.loc[np.isfinite(own["eval_loss"]), "step"].tolist() == [0]
    assert set(own["state"]) == {names.FAILED}
    assert best(trials)["trial"].tolist() == [whole]
    assert searched(trials)["trial"].tolist() == [whole]


def test_a_trial_that_diverged_after_its_last_report_has_no_gain(run: Path) -> None:
    """A trial that diverged between two reports has no gain; a killed trial has the gain of its last report."""
    add_control(run)
    name = add_guided(run, {0: 8.0, 20: 1.0})
    write_status(run / names.TRIALS_FOLDER / name, names.FAILED, "training loss is nan at step 33", diverged_at=33)
    row = row_of(run, name)
    assert row[["eval_loss", "gain", "steps_to_control"]].isna().all()
    assert (row["step"], row["reason"]) == (20, "training loss is nan at step 33")
    killed = add_guided(run, {0: 8.0, 20: 1.0}, teacher__min_weight=0.1, state=names.FAILED, reason="killed")
    assert row_of(run, killed)["gain"] == 5.0, "a killed trial lacks the gain of its last report"


def test_a_control_that_diverged_gives_no_time_to_reach_it(run: Path) -> None:
    add_control(run, {0: 8.0, 20: math.nan, 40: 5.0})
    row = row_of(run, add_guided(run, {0: 8.0, 20: 6.0, 40: 4.9}))
    assert row[["steps_to_control", "steps_saved"]].isna().all()


def test_a_loss_that_is_no_number_in_kept_tables_fails_its_trial(run: Path) -> None:
    add_control(run)
    name = add_guided(run, {0: 8.0, 20: 6.0, 40: 4.9})
    trials, curves = build(run)
    curves.loc[(curves["trial"] == name) & (curves["step"] == 20), "eval_loss"] = math.nan
    for file, table in ((names.TRIALS_TABLE, trials), (names.CURVES_TABLE, curves)):
        table.to_parquet(run / file)
    shutil.rmtree(run / names.TRIALS_FOLDER)
    assert (row_of(run, name)["state"], np.isnan(row_of(run, name)["gain"])) == (names.FAILED, True)


def test_an_infinite_loss_in_tables_kept_as_csv_fails_its_trial(tmp_path: Path) -> None:
    published = tmp_path / "k_fold"
    shutil.copytree(ROOT / "results" / "published" / "k_fold", published)
    trials, curves = load(published)
    name = trials.loc[trials["role"] == names.ARM, "trial"].iloc[0]
    curves.loc[(curves["trial"] == name) & (curves["step"] == 300), "eval_loss"] = math.inf
    curves.to_csv(published / "curves.csv", index=False)
    row = row_of(published, name)
    assert (row["state"], row["reason"]) == (names.FAILED, "diverged: a loss is not finite at step 300")
    assert row[["eval_loss", "gain", "steps_saved"]].isna().all()
    assert set(load(published).trials["state"]) == {names.FINISHED, names.FAILED}


def test_an_incomplete_last_line_is_not_read(run: Path) -> None:
    name = add_control(run)
    with ledger(run, name).open("a") as stream:
        stream.write('{"step": 60, "eval_l')
    assert row_of(run, name)[names.STEP] == 40


@pytest.mark.parametrize("bad", ["{", "[1]", '{"eval_loss": 5.0}', '{"step": "20"}', '{"step": 20, "gain": "much"}'])
def test_a_damaged_line_is_an_error_that_names_file_and_line(run: Path, bad: str) -> None:
    name = add_control(run)
    first, *others = ledger(run, name).read_text().splitlines()
    ledger(run, name).write_text("\n".join([first, bad, *others]) + "\n")
    with pytest.raises(InputError, match=rf"{name}/metrics\.jsonl is damaged \(line 2: "):
        load(run)


def test_an_incomplete_trial_file_is_an_error_that_names_it(run: Path) -> None:
    name = add_control(run)
    write_json(run / names.TRIALS_FOLDER / name / names.TRIAL_FILE, {"name": name})
    with pytest.raises(InputError, match=f"{name}/trial.json is not that of trial {name}"):
        load(run)


@pytest.mark.parametrize("missing", [True, False])
def test_a_folder_that_is_not_a_run_is_an_error_that_says_so(tmp_path: Path, missing: bool) -> None:
    with pytest.raises(InputError, match="not a run folder"):
        load(tmp_path / "nowhere" if missing else tmp_path)


def test_null_in_the_ledger_is_nan_in_the_table(run: Path) -> None:
    add_control(run)
    assert np.isnan(load(run).curves[names.TRAIN_LOSS].iloc[0])


def test_a_trial_without_a_status_is_running_and_one_without_a_report_is_at_step_0(run: Path) -> None:
    name = add_control(run, {}, state=names.RUNNING)
    row = row_of(run, name)
    assert (row["state"], row[names.STEP], row["reason"]) == (names.RUNNING, 0, "")
    assert np.isnan(row[names.EVAL_LOSS])
    assert np.isnan(row["seconds_per_step"])


def test_steps_and_seconds_to_the_controls_final_loss_lie_on_the_line_between_evaluations(run: Path) -> None:
    add_control(run)  # ends at 5.0 at step 40, after 4.0 s
    row = row_of(run, add_guided(run, {0: 8.0, 20: 5.5, 40: 4.5}, seconds_per_step=0.2))
    assert row["steps_to_control"] == pytest.approx(30)  # 5.0 is halfway from 5.5 to 4.5
    assert row["steps_saved"] == pytest.approx(10)
    assert row["seconds_to_control"] == pytest.approx(6.0)
    assert row["seconds_saved"] == pytest.approx(-2.0)


def test_a_control_saves_no_steps_against_itself_unless_it_reached_its_final_loss_early(run: Path) -> None:
    assert row_of(run, add_control(run))["steps_saved"] == 0
    overfit = add_control(run, {0: 8.0, 20: 5.0, 40: 5.0}, seed=1)
    assert row_of(run, overfit)["steps_saved"] == 20


def test_a_trial_that_never_reaches_its_control_has_no_steps_to_control(run: Path) -> None:
    add_control(run)
    row = row_of(run, add_guided(run, {0: 8.0, 20: 6.0, 40: 5.1}))
    assert np.isnan(row[["steps_to_control", "steps_saved", "seconds_to_control", "seconds_saved"]].astype(float)).all()


def test_there_are_no_steps_saved_against_a_control_that_has_not_finished(run: Path) -> None:
    add_control(run, state=names.RUNNING)
    assert np.isnan(row_of(run, add_guided(run, {0: 8.0, 20: 5.5, 40: 4.5}))["steps_saved"])


def test_losses_that_are_not_finite_are_skipped() -> None:
    curve = pd.DataFrame({"step": [0, 20, 40], "eval_loss": [8.0, np.nan, 4.0], "train_seconds": [0.0, 2.0, 4.0]})
    assert reach(curve, 6.0) == (20.0, 2.0)
    assert reach(curve, 9.0) == (0.0, 0.0)


def test_totals_are_those_of_the_last_report(run: Path) -> None:
    row = row_of(run, add_control(run))
    assert row[names.TRAIN_SECONDS] == pytest.approx(4.0)
    assert row[names.TOKENS] == 40 * 2048
    assert row[names.TOKENS_PER_SECOND] == pytest.approx(20480)
    assert row["seconds_per_step"] == pytest.approx(0.1)
    assert row[names.PEAK_MEMORY_MIB] == 400


def test_every_setting_of_a_trial_is_a_column_under_its_dotted_key(run: Path) -> None:
    name = add_guided(run, CONTROL, teacher__min_weight=0.05)
    row = row_of(run, name)
    assert set(config.flatten(config.TrialConfig())) <= set(row.index)
    assert (row["teacher.schedule"], row["teacher.steps"], row["teacher.min_weight"]) == ("linear", 20, 0.05)


def test_a_run_without_trials_has_the_same_columns_and_types_without_rows(run: Path, tmp_path: Path) -> None:
    full = load(realistic_run(tmp_path / "full"))
    for empty, whole in zip(load(run), full, strict=True):
        assert len(empty) == 0
        assert_frame_equal(empty, whole.iloc[:0])


def test_tables_are_read_where_ledgers_and_run_file_were_not_kept(tmp_path: Path) -> None:
    run = realistic_run(tmp_path / "run")
    written = write(run)
    shutil.rmtree(run / names.TRIALS_FOLDER)
    (run / names.RUN_FILE).unlink()
    for read, made in zip(load(run), written, strict=True):
        assert_frame_equal(read, made)


def test_ledgers_are_read_in_place_of_older_tables(run: Path) -> None:
    write(run)
    add_control(run)
    assert len(load(run).trials) == 1


def test_writing_leaves_nothing_but_the_two_tables(run: Path) -> None:
    before = set(run.iterdir())
    write(run)
    assert {path.name for path in set(run.iterdir()) - before} == {names.TRIALS_TABLE, names.CURVES_TABLE}


def documented(table: str) -> list[tuple[str, str]]:
    """Return (column, type) for each column of a table that results/README.md documents."""
    part = README.read_text().split(f"## {table}")[1].split("\n## ")[0]
    return re.findall(r"^\| `([^`]+)` \| (\w+) \|", part, flags=re.MULTILINE)


@pytest.mark.parametrize("table", ["trials", "curves"])
def test_the_readme_documents_exactly_the_columns_that_are_produced(tmp_path: Path, table: str) -> None:
    results: Results = build(realistic_run(tmp_path / "run"))
    assert [name for name, _ in documented(f"{table}.parquet")] == list(getattr(results, table).columns)


@pytest.mark.parametrize("table", ["trials", "curves"])
def test_the_readme_documents_the_types_that_are_produced(tmp_path: Path, table: str) -> None:
    kinds = {"text": {"str", "object"}, "integer": {"int64"}, "float": {"float64"}, "boolean": {"bool"}}
    kinds["number"] = {"object", "int64", "float64"}
    frame = getattr(build(realistic_run(tmp_path / "run")), table)
    wrong = [name for name, kind in documented(f"{table}.parquet") if str(frame[name].dtype) not in kinds[kind]]
    assert wrong == []


def test_a_setting_that_only_some_trials_have_is_missing_in_the_others(run: Path) -> None:
    add_control(run)
    add_guided(run, CONTROL, teacher__tau=3.0)
    tau = load(run).trials["teacher.tau"]
    assert sorted(tau.isna()) == [False, True]


def test_a_run_file_without_settings_is_an_error(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", spec={key: value for key, value in spec().items() if key != "base"})
    with pytest.raises(InputError, match=r"spec\.base"):
        load(run)


def test_the_analysis_imports_neither_ray_nor_torch() -> None:
    code = "import sys, analysis.summary; assert not {'ray', 'torch', 'transformers'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
