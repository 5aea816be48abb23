"""The cost of a teacher that is itself trained, and the time that an arm saves net of this cost.

Counting bigrams takes seconds and is left out of an arm's times; training a model teacher and computing its answers is
not. A single run pays the whole cost; in a sweep, each trial that the teacher taught pays a share.
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
    """Seconds to make the teachers of one arm; with folds, one teacher a fold."""

    train: float  # seconds of training, mean over the teachers
    answer: float  # seconds of answering, mean over the teachers
    trials: int  # number of trials that these teachers taught
    teachers: int  # number of teachers made

    @property
    def whole(self) -> float:
        """Seconds that a single run pays for its teacher."""
        return self.train + self.answer

    @property
    def shared(self) -> float:
        """Seconds that each taught trial of the sweep pays if they share the cost."""
        return self.whole * self.teachers / max(1, self.trials)


def making_of(row: Mapping[Any, Any], results: Results, record: RunRecord) -> Making | None:
    """The cost of an arm's teacher, from its row of `compare_arms`; None where run.json has no cost."""
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
    """Seconds that an arm saves to the control's final loss, net of the whole cost and net of one trial's share."""
    saved = float(row[SECONDS_SAVED])
    return saved - making.whole, saved - making.shared
