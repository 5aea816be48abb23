"""The answer of a group of arms: what a content arm gains, and how much of it a teacher without content gives too.

    gain = control - arm    aid = control - best rival    content gain = best rival - arm

in nats per token of validation loss, paired within a unit (a seed or fold). The best rival is the one with the lowest
mean loss over the units that all rivals with the most units have. `word` says what the numbers allow to claim.
"""

import math
from collections.abc import Mapping
from typing import Any, Final, Literal

import numpy as np
import pandas as pd

from analysis.columns import ARM, FOLD, SEED, TEACHER_ROWS, TRIAL
from analysis.tables.confirmations import CONTENT, RIVAL, arm_classes
from analysis.tables.folds import unit_values
from analysis.tables.gate import OF_TEACHER
from analysis.tables.pairing import DIFFERENCE, beside_arm, reach
from analysis.tables.statistics import DECIMALS, TTest, nadeau_bengio, one_sided, upper_bound
from trainable import names

UNIT: Final = [SEED, FOLD]  # what a guided trial and its control share
ALPHA: Final = 0.05  # of every one-sided test
LEAKING_ROWS: Final = "all"  # value of teacher.rows: the validation rows are counted too
CLASS: Final = "class"  # of an arm: control, rival or content
IS_LEAK: Final = "is_leak"  # whether its teacher has counted the validation rows too
BEST_RIVAL: Final = "best_rival"  # name of it; "" where no two units allow a comparison with any
AID, AID_LOW, AID_HIGH = "aid", "aid_low", "aid_high"
CONTENT_GAIN, CONTENT_LOW, CONTENT_HIGH = "content_gain", "content_low", "content_high"
GAIN_P: Final = "gain_p"  # one-sided, that the arm is better than the control
GAIN_UPPER: Final = "gain_upper"  # one-sided 95 % upper bound of the gain
RIVALS_P: Final = "rivals_p"  # one-sided, that it is better than each rival: the largest of them
STEPS_TO_RIVAL, SECONDS_TO_RIVAL = "steps_to_rival", "seconds_to_rival"
Word = Literal[
    "the content helps", "an optimisation aid", "better than the control", "no effect", "undecided", "no claim"
]
_NO_TEST: Final = TTest(math.nan, math.nan, 0, math.nan, math.nan, math.nan)


def answer_of(arm: pd.DataFrame, group: pd.DataFrame, curves: Mapping[str, pd.DataFrame]) -> dict[str, Any]:
    """The columns above for one arm of a group, from trials with their gain; rivals matter to content arms alone.

    curves: the reports of each trial. STEPS_TO_RIVAL and SECONDS_TO_RIVAL: until the arm had the best rival's final
    loss, means over units, NaN unless every unit got there.
    """
    classes = arm_classes(group)
    own_class = str(classes[arm.index[0]])
    gain = nadeau_bengio(*unit_values(arm, names.GAIN))
    row: dict[str, Any] = {CLASS: own_class, GAIN_P: _p(gain), GAIN_UPPER: upper_bound(gain)}
    row |= {name: str(arm[name].iloc[0]) if name in arm else "" for name in OF_TEACHER}
    row |= {IS_LEAK: own_class == CONTENT and row[TEACHER_ROWS] == LEAKING_ROWS}
    rivals = group[classes == RIVAL] if own_class == CONTENT else group.iloc[:0]
    name = str(arm[ARM].iloc[0])
    tests = {rival: _against(group, rival, name) for rival in rivals[ARM].unique()}
    tested = {rival for rival, test in tests.items() if test.df or not (gain.df or math.isnan(test.mean))}
    best = _best(rivals[rivals[ARM].isin(tested)])
    content = tests.get(best, _NO_TEST)
    aided = rivals[(rivals[ARM] == best) & _has_unit_of(rivals, arm)]
    aid = nadeau_bengio(*unit_values(aided, names.GAIN)) if len(aided) else _NO_TEST
    steps, seconds = _reached(arm, rivals[rivals[ARM] == best], curves)
    return row | {
        BEST_RIVAL: best,
        **{AID: aid.mean, AID_LOW: aid.low, AID_HIGH: aid.high},
        **{CONTENT_GAIN: content.mean, CONTENT_LOW: content.low, CONTENT_HIGH: content.high},
        RIVALS_P: max((_p(tests[rival]) for rival in tested), default=math.nan),
        **{STEPS_TO_RIVAL: steps, SECONDS_TO_RIVAL: seconds},
    }


def word(row: Mapping[Any, Any], margin: float) -> Word:
    """What the numbers of a guided arm allow to say; `better than the control` where no rival ran beside it.

    The content helps: better than the control and than every rival (one-sided 5 %), and the mean over the
    control and over the best rival at least the margin. An optimisation aid: that of the control alone. No effect: the
    one-sided 95 % upper bound of the gain is below the margin. One unit allows no claim.
    """
    if not math.isfinite(row[GAIN_UPPER]):
        return "no claim"
    if row[GAIN_P] < ALPHA and round(row[names.GAIN], DECIMALS) >= margin:
        if not row[BEST_RIVAL]:
            return "better than the control"
        helps = row[RIVALS_P] < ALPHA and round(row[CONTENT_GAIN], DECIMALS) >= margin
        return "the content helps" if helps else "an optimisation aid"
    return "no effect" if row[GAIN_UPPER] < margin else "undecided"


def _p(test: TTest) -> float:
    """One-sided p; 1 where all differences are 0, so that a t test has nothing to weigh."""
    p = one_sided(test)
    return 1.0 if test.df and math.isnan(p) else p


def _against(group: pd.DataFrame, rival: str, arm: str) -> TTest:
    pairs = beside_arm(group, rival, arm, UNIT)
    return nadeau_bengio(*unit_values(pairs, DIFFERENCE)) if len(pairs) else _NO_TEST


def _best(rivals: pd.DataFrame) -> str:
    """The rival with the lowest mean loss, of those with the most units, over the units that all of these have."""
    if rivals.empty:
        return ""
    sizes = rivals.groupby(ARM).size()
    fullest = rivals[rivals[ARM].isin(sizes[sizes == sizes.max()].index)]
    shared = fullest.groupby(UNIT)[ARM].transform("nunique") == fullest[ARM].nunique()
    means = (fullest[shared] if shared.any() else fullest).groupby(ARM)[names.EVAL_LOSS].mean()
    return str(means.idxmin())


def _has_unit_of(trials: pd.DataFrame, arm: pd.DataFrame) -> pd.Series:
    have = set(arm[UNIT].itertuples(index=False, name=None))
    return pd.Series([unit in have for unit in trials[UNIT].itertuples(index=False, name=None)], trials.index, "bool")


def _reached(arm: pd.DataFrame, rival: pd.DataFrame, curves: Mapping[str, pd.DataFrame]) -> tuple[float, float]:
    """Mean step and training seconds at which the units of an arm had the final loss of the rival in the same unit."""
    ends = rival.set_index(UNIT)[names.EVAL_LOSS].to_dict()
    units = arm[UNIT].itertuples(index=False, name=None)
    pairs = [(trial, ends[unit]) for trial, unit in zip(arm[TRIAL], units, strict=True) if unit in ends]
    if not pairs:
        return math.nan, math.nan
    steps, seconds = np.mean([reach(curves[trial], loss) for trial, loss in pairs], axis=0)
    return float(steps), float(seconds)
