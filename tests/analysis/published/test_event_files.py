"""Published event files that are empty, foreign, cut off, damaged or diverged: the run is kept, the fault is told."""

import math
from pathlib import Path

import numpy as np
import pytest
from published_files import CONTROL, GUIDED, LOSSES, add_run, row_of
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.text.summary_v2 import text_pb
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from analysis.published.event_files import read_published_run
from analysis.published.studies import read_study
from analysis.published_runs import text
from trainable import names


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


def test_a_file_that_is_cut_off_is_read_up_to_its_end(tmp_path: Path) -> None:
    file = add_run(tmp_path, CONTROL, LOSSES)
    whole = file.read_bytes()
    seen = set()
    for length in range(0, len(whole), 7):
        file.write_bytes(whole[:length])
        run = read_published_run(file.parent)
        assert run.state in (names.FAILED, names.RUNNING) and run.problems
        seen.add(len(run.evaluations))
    assert seen == {0, 1, 2, 3}


def test_a_run_whose_file_is_cut_off_tells_its_last_step(tmp_path: Path) -> None:
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


def test_a_file_with_damaged_bytes_is_read_only_up_to_them(tmp_path: Path) -> None:
    file = add_run(tmp_path, CONTROL, LOSSES)
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 0xFF
    file.write_bytes(data)
    assert row_of(tmp_path, CONTROL)["state"] == names.RUNNING


def test_a_folder_without_an_event_file_is_kept_and_told(tmp_path: Path) -> None:
    (tmp_path / "runs" / CONTROL).mkdir(parents=True)
    results = read_study(tmp_path)
    assert results.trials["reason"].item() == "no event file in the folder"
    assert results.curves.empty


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("tag", ["eval/loss", "train/loss"])
def test_a_loss_that_is_no_number_fails_a_run_at_that_step_without_a_gain(
    tmp_path: Path, value: float, tag: str
) -> None:
    """A run fails at the step of its first loss that is not finite, even if later losses are finite."""
    add_run(tmp_path, CONTROL, LOSSES)
    spoilt = {30: 6.0, 60: value, 90: 4.0}
    losses, trained = (spoilt, dict.fromkeys(LOSSES, 5.9)) if tag == "eval/loss" else (LOSSES, spoilt)
    add_run(tmp_path, GUIDED, losses, trained=trained)
    row, curves = row_of(tmp_path, GUIDED), read_study(tmp_path).curves
    assert (row["state"], row["step"]) == (names.FAILED, 60)
    assert f"diverged: {tag} is {value} at step 60" in row["reason"]
    assert row[["eval_loss", "gain", "steps_to_control", "steps_saved"]].isna().all()
    own = curves[curves["trial"] == GUIDED]
    assert own["gain"].isna().all()
    assert own.loc[own["eval_loss"].notna(), "step"].tolist() == [30]


def test_a_run_beside_a_control_that_diverged_has_no_gain(tmp_path: Path) -> None:
    add_run(tmp_path, CONTROL, {30: 6.8, 60: math.nan})
    add_run(tmp_path, GUIDED, LOSSES)
    row = row_of(tmp_path, GUIDED)
    assert np.isnan(row["gain"]) and row["eval_loss"] == pytest.approx(5.2)
    assert f"its control {CONTROL} failed: it has no gain" in row["reason"]


def test_a_run_that_diverged_and_was_resumed_from_an_earlier_step_has_not_diverged(tmp_path: Path) -> None:
    add_run(tmp_path, CONTROL, {30: 6.8, 60: math.nan}, ends=False)
    add_run(tmp_path, CONTROL, {60: 5.7, 90: 5.2}, wall=1.8e9, begins=30)
    row = row_of(tmp_path, CONTROL)
    assert (row["state"], row["step"], row["eval_loss"]) == (names.FINISHED, 90, pytest.approx(5.2))


def test_whatever_a_model_config_lacks_costs_no_evaluation(tmp_path: Path) -> None:
    for config, said in [
        ({"n_layer": 1}, ""),
        ({"num_layers": 2}, "the name says 1 layers, the model in the event file has 2"),
        ({"hidden_size": 8}, "the event file does not say how many layers the model has: 1 by its name"),
        ({"num_hidden_layers": None}, "the event file does not say how many layers the model has: 1 by its name"),
    ]:
        study = tmp_path / str(len(list(tmp_path.iterdir())))
        add_run(study, CONTROL, LOSSES, config=config)
        row = row_of(study, CONTROL)
        assert (row["state"], row["step"], row["reason"]) == (names.FINISHED, 90, said)


@pytest.mark.parametrize("told", ["{not JSON", "[1]", ""])
def test_a_model_config_that_cannot_be_read_costs_no_evaluation(tmp_path: Path, told: str) -> None:
    folder = tmp_path / "runs" / CONTROL
    add_run(tmp_path, CONTROL, LOSSES)
    writer = EventFileWriter(str(folder))
    config = text_pb("model_config/text_summary", told)
    writer.add_event(Event(wall_time=1.0, summary=Summary.FromString(config.SerializeToString())))
    writer.close()
    row = row_of(tmp_path, CONTROL)
    assert (row["state"], row["step"], row["eval_loss"]) == (names.FINISHED, 90, pytest.approx(5.2))
