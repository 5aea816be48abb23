"""The event files of one folder are one run, joined as TensorBoard joins them."""

from pathlib import Path

import pytest
from published_files import CONTROL, GUIDED, LOSSES, add_run, row_of
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from analysis.published.event_files import read_published_run
from trainable import names

JOINED = "2 event files, joined as TensorBoard joins them"


def curve(study: Path, name: str = CONTROL) -> dict[int, float]:
    run = read_published_run(study / "runs" / name)
    return {row["step"]: row[names.EVAL_LOSS] for row in run.evaluations.to_dict("records")}


def test_a_run_that_was_resumed_into_a_second_file_is_whole(tmp_path: Path) -> None:
    add_run(tmp_path, CONTROL, {30: 6.8, 60: 5.7}, ends=False)
    add_run(tmp_path, CONTROL, {90: 5.2, 120: 5.0}, wall=1.8e9, begins=60)
    row = row_of(tmp_path, CONTROL)
    assert curve(tmp_path) == pytest.approx({30: 6.8, 60: 5.7, 90: 5.2, 120: 5.0})
    assert (row["state"], row["step"], row["loop.steps"], row["reason"]) == (names.FINISHED, 120, 120, JOINED)


def test_a_repeated_step_counts_with_its_last_values(tmp_path: Path) -> None:
    add_run(tmp_path, CONTROL, {30: 6.8, 60: 5.7, 90: 5.5}, ends=False)
    add_run(tmp_path, CONTROL, {60: 5.6, 90: 5.2}, wall=1.8e9, begins=30)
    assert curve(tmp_path) == pytest.approx({30: 6.8, 60: 5.6, 90: 5.2})


def test_a_later_step_of_the_first_file_that_was_not_repeated_does_not_count(tmp_path: Path) -> None:
    add_run(tmp_path, CONTROL, {30: 6.8, 60: 5.7, 90: 5.5}, ends=False)
    add_run(tmp_path, CONTROL, {60: 5.6}, wall=1.8e9, begins=30, ends=False)
    row = row_of(tmp_path, CONTROL)
    assert curve(tmp_path) == pytest.approx({30: 6.8, 60: 5.6})
    assert row["state"] == names.RUNNING
    assert "3 values of steps 90 to 90 do not count, for a later event of theirs is at an earlier step" in row["reason"]


def test_an_evaluation_at_step_0_after_the_end_replaces_all_others_and_the_reason_says_so(tmp_path: Path) -> None:
    """An evaluation by Trainer.evaluate() of a loaded model, at step 0, is the only point left, as in TensorBoard."""
    add_run(tmp_path, CONTROL, LOSSES)
    add_run(tmp_path, CONTROL, {0: 4.9}, wall=1.8e9, ends=False)
    assert curve(tmp_path) == pytest.approx({0: 4.9})
    row = row_of(tmp_path, CONTROL)
    assert "values of steps 30 to 90 do not count" in row["reason"]
    assert row["state"] == names.RUNNING  # its last loss is not the one at the end of training


def test_the_end_of_a_run_does_not_count_if_training_went_on_after_it(tmp_path: Path) -> None:
    add_run(tmp_path, CONTROL, {30: 6.8, 60: 5.7})
    add_run(tmp_path, CONTROL, {90: 5.2}, wall=1.8e9, begins=60, ends=False)
    row = row_of(tmp_path, CONTROL)
    assert (row["state"], row["step"]) == (names.RUNNING, 90)
    assert "cut short: nothing after step 90" in row["reason"]


def test_the_end_of_a_run_does_not_count_if_training_began_again_at_an_earlier_step(tmp_path: Path) -> None:
    """A run of 90 steps that was resumed from step 30 and killed after step 60 has not finished."""
    add_run(tmp_path, CONTROL, LOSSES)
    add_run(tmp_path, GUIDED, LOSSES)
    add_run(tmp_path, GUIDED, {60: 5.1}, wall=1.8e9, begins=30, ends=False)
    row = row_of(tmp_path, GUIDED)
    assert (row["state"], row["step"]) == (names.RUNNING, 60)
    assert row["reason"].endswith("cut short: nothing after step 60")


def test_seconds_leave_out_the_pause_between_files(tmp_path: Path) -> None:
    add_run(tmp_path, CONTROL, {30: 6.8, 60: 5.7}, ends=False)
    add_run(tmp_path, CONTROL, {60: 5.6, 90: 5.2}, wall=1.8e9, begins=30)
    reports = read_published_run(tmp_path / "runs" / CONTROL).reports
    assert reports[names.TRAIN_SECONDS].tolist() == pytest.approx([60, 120, 180])  # 2 s a step
    assert reports[names.EVAL_SECONDS].tolist() == pytest.approx([10, 20, 30])
    assert row_of(tmp_path, CONTROL)["wall_seconds"] == pytest.approx(210)


def test_files_are_joined_in_the_order_of_their_names(tmp_path: Path) -> None:
    add_run(tmp_path, CONTROL, {60: 5.6, 90: 5.2}, wall=1.8e9, begins=30)
    add_run(tmp_path, CONTROL, {30: 6.8, 60: 5.7}, ends=False)
    assert curve(tmp_path) == pytest.approx({30: 6.8, 60: 5.6, 90: 5.2})


def test_an_empty_second_file_changes_nothing_and_is_told(tmp_path: Path) -> None:
    first = add_run(tmp_path, CONTROL, LOSSES)
    (first.parent / "events.out.tfevents.1800000000.host").write_bytes(b"")
    (first.parent / f"._{first.name}").write_bytes(b"\0\5\26\7" * 9)
    row = row_of(tmp_path, CONTROL)
    assert (row["state"], row["step"]) == (names.FINISHED, 90)
    assert row["reason"] == "1 of 2 event files hold nothing of the run"


def test_a_damaged_end_of_the_first_file_loses_only_steps_of_that_end(tmp_path: Path) -> None:
    first = add_run(tmp_path, CONTROL, {30: 6.8, 60: 5.7}, ends=False)
    first.write_bytes(first.read_bytes()[:-40])
    add_run(tmp_path, CONTROL, {90: 5.2, 120: 5.0}, wall=1.8e9, begins=60)
    assert {30, 90, 120} <= curve(tmp_path).keys()
    assert row_of(tmp_path, CONTROL)["state"] == names.FINISHED


def test_a_tag_that_is_in_one_file_alone_is_kept(tmp_path: Path) -> None:
    first = add_run(tmp_path, CONTROL, {30: 6.8, 60: 5.7}, ends=False)
    writer = EventFileWriter(str(first.parent), filename_suffix=".later")
    summary = Summary(value=[Summary.Value(tag="eval/loss", simple_value=5.2)])
    writer.add_event(Event(wall_time=1.8e9, step=90, summary=summary))
    writer.close()
    reports = read_published_run(first.parent).reports
    assert reports[names.EVAL_LOSS].tolist() == pytest.approx([6.8, 5.7, 5.2])
    assert reports[names.TRAIN_LOSS].isna().tolist() == [False, False, True]


def test_the_start_of_a_session_hides_earlier_values_at_or_after_its_step(tmp_path: Path) -> None:
    first = add_run(tmp_path, CONTROL, LOSSES, ends=False)
    writer = EventFileWriter(str(first.parent), filename_suffix=".later")
    writer.add_event(Event(wall_time=1.8e9, step=60, session_log=SessionLog(status=SessionLog.START)))
    summary = Summary(value=[Summary.Value(tag="train/loss", simple_value=4.0)])
    writer.add_event(Event(wall_time=1.8e9 + 1, step=65, summary=summary))
    writer.close()
    assert curve(tmp_path) == pytest.approx({30: 6.8})


def test_only_the_event_that_holds_no_number_is_left_out(tmp_path: Path) -> None:
    first = add_run(tmp_path, GUIDED, LOSSES)
    writer = EventFileWriter(str(first.parent), filename_suffix=".later")
    summary = Summary(value=[Summary.Value(tag="eval/runtime")])
    summary.value[0].tensor.dtype = 7  # a string
    summary.value[0].tensor.string_val.append(b"ten")
    writer.add_event(Event(wall_time=1.8e9, step=90, summary=summary))
    writer.close()
    row = row_of(tmp_path, GUIDED)
    assert (row["state"], row["step"]) == (names.FINISHED, 90)
    assert "an event of eval/runtime holds no number" in row["reason"]
