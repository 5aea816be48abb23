"""What it cost to make a teacher that was trained itself, and what an arm saves net of that.

Counting bigrams takes seconds and is left out of an arm's times, as it always was; training and asking a model is not.
Whoever trains one student pays all of it; in a sweep every trial that it taught bears a share.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from analysis.columns import SCHEDULE, SECONDS_SAVED
from analysis.results import Results
from analysis.tables.confirmations import NO_TEACHER
from analysis.tables.gate import OF_TEACHER, own_tables
from trainable.record.run_record import RunRecord


class Making(NamedTuple):
    """Seconds of making the teachers of one arm; over folds, one a fold."""

    train: float  # mean over the teachers: seconds of training
    answer: float  # mean over the teachers: seconds of answering
    trials: int  # taught by these teachers
    teachers: int  # how many were made

    @property
    def whole(self) -> float:
        """Seconds that one run alone pays for its teacher."""
        return self.train + self.answer

    @property
    def shared(self) -> float:
        """Seconds that each trial of the sweep pays, if all of them share the cost."""
        return self.whole * self.teachers / max(1, self.trials)


def making_of(row: Mapping[Any, Any], results: Results, record: RunRecord) -> Making | None:
    """The cost of an arm's teacher, from its row of `compare_arms`; None where run.json tells of none."""
    own = {one.checksum: one for one in own_tables(row, record)}.values()
    known = [(one.train_seconds, one.answer_seconds) for one in own]
    seconds = [(train, answer) for train, answer in known if train is not None and answer is not None]
    if not seconds:
        return None
    trials = results.trials
    alike = [trials[name].astype(str) == str(row[name]) for name in OF_TEACHER if name in trials]
    taught = np.logical_and.reduce([*alike, trials[SCHEDULE] != NO_TEACHER])
    train, answer = (sum(part) / len(seconds) for part in zip(*seconds, strict=True))
    return Making(train, answer, int(taught.sum()), len(seconds))


def net_seconds(row: Mapping[Any, Any], making: Making) -> tuple[float, float]:
    """Seconds that an arm saves to the control's final loss: net of the whole cost, and of one trial's share."""
    saved = float(row[SECONDS_SAVED])
    return saved - making.whole, saved - making.shared
