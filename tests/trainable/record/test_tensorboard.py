"""TensorBoard logs: one file for each attempt, with its scalars and settings, even within one second."""

import math
from pathlib import Path
from typing import Any

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from trainable import names
from trainable.config import TrialConfig, flatten
from trainable.record.tensorboard import TensorBoardLog


def report(step: int, loss: float) -> dict[str, Any]:
    return dict.fromkeys(names.REPORT_COLUMNS, math.nan) | {
        names.STEP: step,
        names.EVAL_LOSS: loss,
        names.GAIN: 0.0,
        names.TOKENS: None,
    }


def log(folder: Path, rows: dict[int, float]) -> None:
    """Write the log of one attempt at a trial."""
    board = TensorBoardLog(folder, flatten(TrialConfig()), first_step=min(rows))
    for step, loss in rows.items():
        board.write(report(step, loss))
    board.close()


def scalars(folder: Path, tag: str) -> dict[int, float]:
    return {event.step: event.value for event in EventAccumulator(str(folder)).Reload().Scalars(tag)}


def test_a_trial_of_less_than_a_second_keeps_both_its_scalars_and_its_settings(tmp_path: Path) -> None:
    log(tmp_path, {0: 5.0, 10: 4.0})
    events = EventAccumulator(str(tmp_path)).Reload()
    assert set(events.Tags()["scalars"]) == {names.EVAL_LOSS, names.GAIN}
    assert scalars(tmp_path, names.EVAL_LOSS) == {0: 5.0, 10: 4.0}
    start = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    assert b"optimizer.lr" in start and b"teacher.schedule" in start


def test_the_log_of_a_running_trial_has_its_settings_but_no_list_of_columns(tmp_path: Path) -> None:
    """TensorBoard puts settings that differ between trials first, but only if no trial lists columns."""
    TensorBoardLog(tmp_path, flatten(TrialConfig()), first_step=0).write(report(0, 5.0))
    tags = set(EventAccumulator(str(tmp_path)).Reload().summary_metadata)
    assert {tag for tag in tags if tag.startswith("_hparams_")} == {"_hparams_/session_start_info"}


def test_a_second_attempt_in_the_same_second_has_its_own_file(tmp_path: Path) -> None:
    log(tmp_path, {0: 5.0, 10: 4.0})
    log(tmp_path, {10: 4.5, 20: 3.0})
    assert len(list(tmp_path.glob("events.out.tfevents*"))) == 2


def test_missing_values_leave_no_point(tmp_path: Path) -> None:
    log(tmp_path, {0: 5.0})
    assert names.TOKENS not in EventAccumulator(str(tmp_path)).Reload().Tags()["scalars"]
