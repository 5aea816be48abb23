"""The published study's numbers, digit for digit, from its event files and from what was kept; and spoilt files."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.text.summary_v2 import text_pb
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from analysis.published.event_files import read_run
from analysis.published.folder_names import Setting, parse_name
from analysis.published.studies import read, read_study
from analysis.published_runs import text, write_csv
from analysis.results import Results, load
from trainable import names
from trainable.errors import InputError

KEPT = Path(__file__).parents[1] / "results" / "published"
SOURCES = ("event files", "kept CSV files")

# DESIGN section 5: last validation loss by layers and arm.
SCHEDULES = {
    (1, "none"): "4.4458",
    (1, "linear 240"): "4.4139",
    (1, "linear 588"): "4.5006",
    (1, "exponential 588"): "4.4636",
    (1, "reciprocal 588"): "4.4440",
    (2, "none"): "4.2138",
    (2, "linear 240"): "4.1819",
    (2, "linear 300"): "4.1923",
    (2, "linear 360"): "4.1819",
    (3, "none"): "4.1323",
    (4, "none"): "4.1021",
    (5, "none"): "4.0812",
}
FOLDS = {
    "none": ["4.4371", "4.4340", "4.4403", "4.4550", "4.4235"],
    "linear 240": ["4.3962", "4.4027", "4.4018", "4.4095", "4.4106"],
}
VALIDATION_ROWS = {200_000: "4.4458", 1_000_000: "4.4324"}

CONTROL = "01_01_10-00-00_no_bigram_1"
GUIDED = "01_01_11-00-00_60_0.0_1_l"
LOSSES = {30: 6.8, 60: 5.7, 90: 5.2}


@pytest.fixture(params=SOURCES)
def published(request: pytest.FixtureRequest) -> dict[str, Results]:
    """The studies, from their source and as kept."""
    if request.param == SOURCES[1]:
        return {folder.name: load(folder) for folder in sorted(KEPT.iterdir()) if folder.is_dir()}
    return read(request.getfixturevalue("shared_data") / "seed_runs")


def finished(results: Results) -> pd.DataFrame:
    return results.trials[results.trials["state"] == names.FINISHED]


def add_run(
    study: Path, name: str, losses: Mapping[int, float], *, trained: float = 4.4, layers: int = 1, ends: bool = True
) -> Path:
    """Write the event file of a run: 2 s a step, 10 s an evaluation. Returns the file."""
    folder = study / "runs" / name
    folder.mkdir(parents=True, exist_ok=True)
    writer, wall = EventFileWriter(str(folder)), 1.7e9
    summary = text_pb("model_config/text_summary", json.dumps({"num_hidden_layers": layers}))
    writer.add_event(Event(wall_time=wall, step=0, summary=Summary.FromString(summary.SerializeToString())))
    for number, (step, loss) in enumerate(losses.items(), start=1):
        now = wall + 2 * step + 10 * number
        add_scalars(writer, now, step, {"train/loss": trained, "eval/loss": loss, "eval/runtime": 10.0})
    if ends:
        last = max(losses, default=0)
        add_scalars(
            writer, wall + 2 * last + 10 * len(losses), last, {"train/train_runtime": 2.0 * last + 10 * len(losses)}
        )
    writer.close()
    return next(folder.glob("*tfevents*"))


def add_scalars(writer: EventFileWriter, wall: float, step: int, values: Mapping[str, float]) -> None:
    for tag, value in values.items():
        summary = Summary(value=[Summary.Value(tag=tag, simple_value=value)])
        writer.add_event(Event(wall_time=wall, step=step, summary=summary))


def row_of(study: Path, name: str) -> pd.Series:
    return read_study(study).trials.set_index("trial").loc[name]


# ---- the published numbers -------------------------------------------------------------------------------------------


def test_the_last_losses_of_the_schedules_are_those_published(published: dict[str, Results]) -> None:
    trials = finished(published["schedules"])
    keys = zip(trials["model.layers"], trials["arm"], strict=True)
    assert dict(zip(keys, trials["eval_loss"].map("{:.4f}".format), strict=True)) == SCHEDULES
    assert set(trials["step"]) == {570}


def test_the_last_losses_of_the_folds_are_those_published(published: dict[str, Results]) -> None:
    trials = finished(published["k_fold"]).sort_values("corpus.fold")
    by_arm = {arm: list(rows["eval_loss"].map("{:.4f}".format)) for arm, rows in trials.groupby("arm")}
    assert by_arm == FOLDS
    assert set(trials["model.layers"]) == {1}


def test_the_last_losses_by_validation_rows_are_those_published(published: dict[str, Results]) -> None:
    trials = finished(published["validation_size"])
    shallow = trials[trials["model.layers"] == 1]
    losses = shallow["eval_loss"].map("{:.4f}".format)
    assert dict(zip(shallow["corpus.eval_rows"], losses, strict=True)) == VALIDATION_ROWS


def test_the_mean_gain_of_the_folds_and_its_spread_are_those_published(published: dict[str, Results]) -> None:
    trials = published["k_fold"].trials
    gains = trials.loc[trials["arm"] == "linear 240", "gain"]
    assert (f"{gains.mean():.4f}", f"{gains.std():.4f}") == ("0.0338", "0.0128")


def test_guided_reaches_the_controls_loss_by_step_480_but_takes_4_times_as_long(published: dict[str, Results]) -> None:
    """By the mean over folds: between evaluations 450 and 480 of 570; 5,200 s and 1,170 s, evaluations included."""
    means = published["k_fold"].trials.groupby("arm")[["steps_to_control", "wall_seconds"]].mean()
    assert 450 < means.loc["linear 240", "steps_to_control"] < 480
    assert means["wall_seconds"].round(-1).to_dict() == {"linear 240": 5200, "none": 1170}


def test_a_guided_step_took_20_times_a_plain_one(published: dict[str, Results]) -> None:
    """DESIGN section 1: 17.8 s against 0.885 s a step, evaluations not counted."""
    curves = published["k_fold"].curves
    spent = curves[curves["step"].isin([30, 240])].pivot(index="trial", columns="step", values="train_seconds")
    pace = ((spent[240] - spent[30]) / 210).groupby(curves.groupby("trial")["arm"].first()).mean()
    assert pace.to_dict() == {"linear 240": pytest.approx(17.8, abs=0.3), "none": pytest.approx(0.885, abs=0.01)}


def test_every_guided_run_has_its_control_and_its_gain_is_the_difference(published: dict[str, Results]) -> None:
    for results in published.values():
        trials = results.trials.set_index("trial")
        for _, row in trials.iterrows():
            control = trials.loc[row["control"]]
            assert (control["arm"], control["model.layers"]) == ("none", row["model.layers"])
            assert control["corpus.fold"] == row["corpus.fold"] or np.isnan(row["corpus.fold"])
            if row["state"] == names.FINISHED:
                assert row["gain"] == pytest.approx(control["eval_loss"] - row["eval_loss"], abs=2e-6)


def test_the_one_run_that_was_cut_short_has_an_unknown_type_and_says_both(published: dict[str, Results]) -> None:
    trials = published["schedules"].trials
    odd = trials[trials["reason"] != ""]
    assert list(odd["trial"]) == ["05_04_15-46-42_588_0.0_1_n"]
    assert odd["reason"].item() == (
        "type 'n' in the name is no schedule of the study; cut short: nothing after step 460"
    )
    assert (odd["state"].item(), odd["step"].item()) == (names.RUNNING, 450)


def test_what_is_kept_is_what_the_event_files_say(shared_data: Path) -> None:
    for study, results in read(shared_data / "seed_runs").items():
        kept = load(KEPT / study)
        assert_frame_equal(results.trials, kept.trials, check_dtype=False)
        assert_frame_equal(results.curves, kept.curves, check_dtype=False)


def test_the_readme_of_what_is_kept_documents_exactly_its_columns() -> None:
    parts = (KEPT / "README.md").read_text().split("\n## ")
    for part, table in zip(parts[-2:], load(KEPT / "k_fold"), strict=True):
        documented = [line.split("`")[1] for line in part.splitlines() if line.startswith("| `")]
        assert documented == list(table.columns)


# ---- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        (
            "16_04_18-07-45_240_0.0_1_l_4",
            Setting(schedule="linear", steps=240, min_weight=0.0, layers=1, fold=4, eval_rows=200_000),
        ),
        (
            "04_04_20-41-05_588_0.1_2_e",
            Setting(schedule="exponential", steps=588, min_weight=0.1, layers=2, fold=None, eval_rows=200_000),
        ),
        (
            "16_04_17-40-00_no_bigram_1_l_0",
            Setting(schedule="none", steps=0, min_weight=0.0, layers=1, fold=0, eval_rows=200_000),
        ),
        (
            "06_04_09-45-46_no_bigram_3_1m",
            Setting(schedule="none", steps=0, min_weight=0.0, layers=3, fold=None, eval_rows=1_000_000),
        ),
    ],
)
def test_a_folders_name_gives_its_settings(name: str, setting: Setting) -> None:
    assert parse_name(name) == (setting, "")


@pytest.mark.parametrize(
    "name", ["", "checkpoints", "16_04_18-07-45_240_0.0_1", "16_04_18-07-45_no_bigram_", "x" * 999]
)
def test_a_name_that_is_not_the_studys_is_kept_and_told(tmp_path: Path, name: str) -> None:
    setting, problem = parse_name(name)
    assert (setting, setting.arm) == (Setting(), "unknown")
    assert "not one of the study's" in problem


def test_a_floor_is_part_of_the_arms_name() -> None:
    assert parse_name("04_04_20-41-05_60_0.1_2_l")[0].arm == "linear 60 floor 0.1"


def test_a_run_with_a_malformed_name_is_kept_and_never_compared(tmp_path: Path) -> None:
    add_run(tmp_path, CONTROL, LOSSES)
    add_run(tmp_path, "my run", LOSSES)
    row = row_of(tmp_path, "my run")
    assert (row["control"], row["eval_loss"], row["arm"]) == ("", pytest.approx(5.2), "unknown")
    assert np.isnan(row["gain"]) and np.isnan(row["model.layers"])
    assert "! my run: the name of the folder is not one of the study's" in text("mine", read_study(tmp_path))


def test_a_name_that_disagrees_with_the_model_that_ran_is_told(tmp_path: Path) -> None:
    add_run(tmp_path, CONTROL, LOSSES, layers=2)
    assert "the name says 1 layers, the model in the event file has 2" in row_of(tmp_path, CONTROL)["reason"]


# ---- pairs and what follows ------------------------------------------------------------------------------------------


def test_seconds_of_training_leave_out_evaluations(tmp_path: Path) -> None:
    add_run(tmp_path, CONTROL, LOSSES)
    row = row_of(tmp_path, CONTROL)
    assert (row["train_seconds"], row["eval_seconds"], row["wall_seconds"]) == (180.0, 30.0, 210.0)


def test_steps_and_seconds_to_the_control_lie_on_the_line_between_evaluations(tmp_path: Path) -> None:
    add_run(tmp_path, CONTROL, LOSSES)
    add_run(tmp_path, GUIDED, {30: 7.0, 60: 5.4, 90: 5.0})
    row = row_of(tmp_path, GUIDED)
    assert row["gain"] == pytest.approx(0.2)
    assert (row["steps_to_control"], row["steps_saved"]) == (pytest.approx(75), pytest.approx(15))
    assert (row["seconds_to_control"], row["seconds_saved"]) == (pytest.approx(150), pytest.approx(30))


def test_a_run_without_a_control_has_no_gain_and_says_so(tmp_path: Path) -> None:
    add_run(tmp_path, CONTROL.replace("bigram_1", "bigram_1_l_3"), LOSSES)
    add_run(tmp_path, GUIDED, LOSSES)
    row = row_of(tmp_path, GUIDED)
    assert (row["control"], row["state"]) == ("", names.FINISHED)
    assert np.isnan(row["gain"])
    assert "no control of its depth, fold and validation rows" in row["reason"]


def test_a_finished_control_is_preferred_to_one_cut_short(tmp_path: Path) -> None:
    add_run(tmp_path, CONTROL, LOSSES, ends=False)
    again = CONTROL.replace("10-00", "12-00")
    add_run(tmp_path, again, LOSSES)
    add_run(tmp_path, GUIDED, LOSSES)
    assert row_of(tmp_path, GUIDED)["control"] == again


def test_a_run_evaluated_with_the_soft_loss_is_marked_and_never_compared(tmp_path: Path) -> None:
    add_run(tmp_path, CONTROL, LOSSES)
    add_run(tmp_path, GUIDED, {30: 7.3, 60: 7.0, 90: 6.8})
    row = row_of(tmp_path, GUIDED)
    assert row["state"] == names.FAILED
    assert "evaluated with the soft loss (ends at 6.8000)" in row["reason"]
    assert row[["eval_loss", "gain", "steps_to_control"]].isna().all()
    curves = read_study(tmp_path).curves
    assert curves.loc[curves["trial"] == GUIDED, ["eval_loss", "gain"]].isna().all(axis=None)


def test_a_control_with_high_losses_is_not_taken_for_one_evaluated_with_the_soft_loss(tmp_path: Path) -> None:
    add_run(tmp_path, CONTROL, {30: 7.3, 60: 7.0, 90: 6.8})
    assert row_of(tmp_path, CONTROL)["state"] == names.FINISHED


# ---- spoilt files ----------------------------------------------------------------------------------------------------


def test_a_file_cut_off_anywhere_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    file = add_run(tmp_path, CONTROL, LOSSES)
    whole = file.read_bytes()
    seen = set()
    for length in range(0, len(whole), 7):
        file.write_bytes(whole[:length])
        run = read_run(file.parent)
        assert run.state in (names.FAILED, names.RUNNING) and run.problems
        seen.add(len(run.evaluations))
    assert seen == {0, 1, 2, 3}


def test_a_file_cut_off_says_after_which_step(tmp_path: Path) -> None:
    add_run(tmp_path, GUIDED, {30: 6.8, 60: 5.7}, ends=False)
    row = row_of(tmp_path, GUIDED)
    assert (row["state"], row["step"]) == (names.RUNNING, 60)
    assert "cut short: nothing after step 60" in row["reason"]


@pytest.mark.parametrize("data", [b"", b"\0" * 500, b"not an event file" * 50])
def test_an_empty_or_foreign_file_is_kept_and_told(tmp_path: Path, data: bytes) -> None:
    add_run(tmp_path, CONTROL, LOSSES).write_bytes(data)
    row = row_of(tmp_path, CONTROL)
    assert (row["state"], row["step"]) == (names.FAILED, 0)
    assert "no evaluation in the event file" in row["reason"]


def test_damaged_bytes_within_a_file_end_its_reading_there(tmp_path: Path) -> None:
    file = add_run(tmp_path, CONTROL, LOSSES)
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 0xFF
    file.write_bytes(data)
    assert row_of(tmp_path, CONTROL)["state"] == names.RUNNING


def test_an_event_that_cannot_be_understood_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / CONTROL
    folder.mkdir(parents=True)
    writer = EventFileWriter(str(folder))
    config = text_pb("model_config/text_summary", "{not JSON")
    writer.add_event(Event(wall_time=1.0, summary=Summary.FromString(config.SerializeToString())))
    writer.close()
    assert "the event file is damaged (JSONDecodeError)" in row_of(tmp_path, CONTROL)["reason"]


def test_a_folder_without_an_event_file_is_kept_and_told(tmp_path: Path) -> None:
    (tmp_path / "runs" / CONTROL).mkdir(parents=True)
    results = read_study(tmp_path)
    assert results.trials["reason"].item() == "no event file in the folder"
    assert results.curves.empty


def test_of_two_event_files_the_one_with_more_evaluations_counts(tmp_path: Path) -> None:
    file = add_run(tmp_path, CONTROL, LOSSES)
    other = add_run(tmp_path / "elsewhere", CONTROL, {30: 1.0}, ends=False)
    (file.parent / f"{other.name}.again").write_bytes(other.read_bytes())
    row = row_of(tmp_path, CONTROL)
    assert row["eval_loss"] == pytest.approx(5.2)
    assert "2 event files in the folder: the one with the most evaluations counts" in row["reason"]


def test_tables_of_spoilt_runs_read_back_as_they_were_written(tmp_path: Path) -> None:
    add_run(tmp_path, CONTROL, LOSSES, ends=False)
    add_run(tmp_path, "my run", LOSSES)
    (tmp_path / "runs" / GUIDED).mkdir()
    results = read_study(tmp_path)
    write_csv(results, tmp_path / "kept")
    for table, kept in zip(results, load(tmp_path / "kept"), strict=True):
        assert_frame_equal(table, kept, check_dtype=False)


# ---- mistakes of a user ----------------------------------------------------------------------------------------------


def test_a_folder_without_studies_is_an_error_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no study"):
        read(tmp_path)
    with pytest.raises(InputError, match="is not a folder"):
        read(tmp_path / "nowhere")


def test_a_study_without_runs_has_tables_without_rows(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    results = read_study(tmp_path)
    assert (len(results.trials), len(results.curves)) == (0, 0)
    assert text("mine", results).startswith("mine: 0 runs")


def test_a_damaged_table_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "trials.csv").write_text("trial\na\n")
    (tmp_path / "curves.csv").write_bytes(b'\xff\xfe"')
    with pytest.raises(InputError, match=r"curves\.csv is damaged"):
        load(tmp_path)


def test_the_command_keeps_tables_and_answers_mistakes_in_a_sentence(tmp_path: Path) -> None:
    add_run(tmp_path / "study", CONTROL, LOSSES)
    done = run_command(str(tmp_path / "study"), "--keep", str(tmp_path / "kept"))
    assert done.returncode == 0 and "study: 1 runs" in done.stdout
    assert len(load(tmp_path / "kept" / "study").trials) == 1
    wrong = run_command(str(tmp_path / "nowhere"))
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)


def run_command(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "analysis.published_runs", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=KEPT.parents[1])
