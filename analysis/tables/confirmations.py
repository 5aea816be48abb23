"""The trials that make the answer of a run, and the class of each arm: control, rival or content.

The answer of a search in groups comes from the winners of its groups alone, on fresh seeds and the half of the
validation text that chose nothing; that of any other run from all its trials. Settings, not names, decide the class.
"""

from typing import Final

import pandas as pd

from analysis.columns import EVAL_HALF, KIND, OUTPUT_BIAS, ROLE, SCHEDULE, TRIAL
from analysis.results import Results
from trainable import names
from trainable.record.run_record import RunRecord

CHOOSING, REPORTING = "choosing", "reporting"  # values of corpus.eval_half
NO_TEACHER: Final = "none"  # value of teacher.schedule
CONTROL: Final = "control"
RIVAL: Final = "rival"  # an arm that knows nothing of which token follows which
CONTENT: Final = "content"  # every other arm with a teacher


def confirmed(results: Results, record: RunRecord | None) -> Results:
    """The tables of the trials that make the answer."""
    if record is None or not record.is_grouped:
        return results
    trials, curves = results
    reports = trials[EVAL_HALF] == REPORTING if EVAL_HALF in trials else pd.Series(False, trials.index)
    kept = trials[(trials[ROLE] == names.CONFIRM) | ((trials[ROLE] == names.CONTROL) & reports)]
    return Results(kept.reset_index(drop=True), curves[curves[TRIAL].isin(kept[TRIAL])].reset_index(drop=True))


def arm_classes(trials: pd.DataFrame) -> pd.Series:
    """CONTROL, RIVAL or CONTENT of each trial, by its teacher's kind and its output bias.

    A trial without a teacher is a rival if its output bias differs from the control's.
    """
    absent = pd.Series("", trials.index)
    bias, kind = trials.get(OUTPUT_BIAS, absent), trials.get(KIND, absent)
    is_plain, is_control = trials.get(SCHEDULE, absent) == NO_TEACHER, trials[ROLE] == names.CONTROL
    own_bias = bias.isin(bias[is_control]) if is_control.any() else bias.isin(["", "none"])
    classes = pd.Series(CONTENT, trials.index).mask(is_plain | kind.isin(names.CONTENT_FREE), RIVAL)
    return classes.mask(is_control | (is_plain & own_bias), CONTROL)
