"""The gate: a teacher's own validation loss compared with the final loss of the control, on the same text.

Only a run whose student has passed its teacher can show whether the teacher's effect lasts.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from analysis.columns import (
    ARM,
    EVAL_HALF,
    FOLDS,
    KIND,
    ORDER,
    SMOOTHING,
    STATE,
    TEACHER_FOLDER,
    TEACHER_LAYERS,
    TEACHER_ROWS,
    TEACHER_WIDTH,
    TRIAL,
)
from analysis.results import Results
from analysis.tables.confirmations import REPORTING
from trainable import names
from trainable.record.run_record import RunRecord, TableFacts, TeacherFacts, model_in_words

SMOOTHED: Final = (None, "bigram", "ngram")  # kinds whose tables are named by their smoothing; None: kind unknown
MODEL: Final = "model"
NGRAM: Final = "ngram"  # its tables are named by smoothing and order
# Settings that identify the table of an arm.
OF_TEACHER: Final = (KIND, ORDER, SMOOTHING, TEACHER_ROWS, TEACHER_LAYERS, TEACHER_WIDTH, TEACHER_FOLDER)


class Gate(NamedTuple):
    """Losses of a teacher and of its control, in nats per token."""

    arm: str
    own_loss: float  # of the teacher; for an unsmoothed one, of the Kneser-Ney estimate of its counts
    is_estimate: bool
    control_loss: float  # mean over units, at the end

    @property
    def passed(self) -> bool:
        """Whether the control ended below the teacher's own loss."""
        return self.control_loss < self.own_loss


def gate_of_controls(results: Results, record: RunRecord) -> Gate | None:
    """The gate of a run without a teacher: its best control against the bigram table of its settings.

    None where no control has finished, or run.json has no loss of that table.
    """
    ended = results.trials[results.trials[STATE] == names.FINISHED]
    tables = [one for one in tables_that_report(record) if one.own_loss is not None]
    if ended.empty or len(tables) != 1:
        return None
    best = ended.loc[ended[names.EVAL_LOSS].idxmin()]
    own = tables[0].own_loss
    assert own is not None
    return Gate(str(best[TRIAL]), own, tables[0].eval_loss is None, float(best[names.EVAL_LOSS]))


def gate_of(row: Mapping[Any, Any], record: RunRecord) -> Gate | None:
    """The gate of a content arm, from its row of `compare_arms`; None where run.json has no loss of its teacher.

    With folds, the mean over the folds' tables.
    """
    facts = own_tables(row, record)
    losses = [one.own_loss for one in facts]
    known = [loss for loss in losses if loss is not None]
    folds = names.dotted(record.base).get(FOLDS)
    if not known or len(known) < len(losses) or (len(set(known)) > 1 and not folds):
        return None
    is_estimate = any(one.eval_loss is None for one in facts)
    return Gate(row[ARM], sum(known) / len(known), is_estimate, row[names.EVAL_LOSS] + row[names.GAIN])


def own_tables(row: Mapping[Any, Any], record: RunRecord) -> list[TeacherFacts]:
    """The tables of an arm's teacher, found by its settings and by the validation half of their losses."""
    if not record.tables:  # the oldest records
        return [record.teacher] if record.teacher and _is_of(record.teacher, row) else []
    return [one for one in tables_that_report(record) if _is_of(one, row)]


def _is_of(table: TeacherFacts, row: Mapping[Any, Any]) -> bool:
    """Whether a table fits the settings of an arm's teacher; older records do not have the kind of a table."""
    if table.rows != row[TEACHER_ROWS] or table.kind not in (None, row.get(KIND)):
        return False
    if table.ngrams and str(row.get(ORDER, "")) not in ("", str(len(table.ngrams) + 1)):
        return False
    if table.kind == MODEL:
        size = int(row[TEACHER_LAYERS]), int(row[TEACHER_WIDTH])
        return table.smoothing == model_in_words(*size, str(row[TEACHER_FOLDER]))
    smoothing = f"{row[SMOOTHING]} of order {row[ORDER]}" if table.kind == NGRAM else row[SMOOTHING]
    return table.smoothing == smoothing or table.kind not in SMOOTHED


def tables_that_report(record: RunRecord) -> list[TableFacts]:
    """The tables whose losses were measured on the same validation text as the answer."""
    half = REPORTING if record.is_grouped else names.dotted(record.base).get(EVAL_HALF, "whole")
    return [one for one in record.tables.values() if one.eval_half in (half, None)]
