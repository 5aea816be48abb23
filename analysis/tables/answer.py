"""The answer of a group of arms: the gain of a content arm, split into aid and content gain.

    gain = control - arm    aid = control - best rival    content gain = best rival - arm

in nats per token of validation loss, paired within a unit (a seed or a fold). The best rival has the lowest mean loss,
among the rivals with the most units, over the units that all of these have. `word` gives the verdict.
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

UNIT: Final = [SEED, FOLD]  # equal for a guided trial and its control
ALPHA: Final = 0.05  # level of every one-sided test
LEAKING_ROWS: Final = "all"  # value of teacher.rows with which validation rows are counted too
CLASS: Final = "class"  # class of an arm: control, rival or content
IS_LEAK: Final = "is_leak"  # whether the teacher of the arm counted validation rows too
BEST_RIVAL: Final = "best_rival"  # its name; "" where no rival shares two units with the arm
AID, AID_LOW, AID_HIGH = "aid", "aid_low", "aid_high"
CONTENT_GAIN, CONTENT_LOW, CONTENT_HIGH = "content_gain", "content_low", "content_high"
GAIN_P: Final = "gain_p"  # one-sided p that the arm is better than the control
GAIN_UPPER: Final = "gain_upper"  # one-sided 95 % upper bound of the gain
RIVALS_P: Final = "rivals_p"  # largest of the one-sided p that the arm is better than a rival
STEPS_TO_RIVAL, SECONDS_TO_RIVAL = "steps_to_rival", "seconds_to_rival"
Word = Literal[
    "the content helps", "an optimisation aid", "better than the control", "no effect", "undecided", "no claim"
]
_NO_TEST: Final = TTest(math.nan, math.nan, 0, math.nan, math.nan, math.nan)


def answer_of(arm: pd.DataFrame, group: pd.DataFrame, curves: Mapping[str, pd.DataFrame]) -> dict[str, Any]:
    """The columns above for one arm of a group, from trials with gains; only content arms are compared with rivals.

    curves: the reports of each trial. STEPS_TO_RIVAL and SECONDS_TO_RIVAL: until the arm reached the final loss of the
    best rival; means over units, NaN unless every unit reached that loss.
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
    """The verdict on a guided arm; at best `better than the control` where no rival ran beside it.

    The content helps: better than the control and than every rival (each one-sided, 5 %), and the mean gain over the
    control and over the best rival is at least the margin. An optimisation aid: that holds against the control, not
    against the rivals. No effect: the one-sided 95 % upper bound of the gain is below the margin. Undecided: none of
    these. One unit allows no claim.
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
    """One-sided p of a t test; 1 where all differences are 0 and the test is not defined."""
    p = one_sided(test)
    return 1.0 if test.df and math.isnan(p) else p


def _against(group: pd.DataFrame, rival: str, arm: str) -> TTest:
    pairs = beside_arm(group, rival, arm, UNIT)
    return nadeau_bengio(*unit_values(pairs, DIFFERENCE)) if len(pairs) else _NO_TEST


def _best(rivals: pd.DataFrame) -> str:
    """The rival with the lowest mean loss, among those with the most units, over the units that all of these have."""
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
    """Mean step and training seconds at which the units of an arm reached the rival's final loss in the same unit."""
    ends = rival.set_index(UNIT)[names.EVAL_LOSS].to_dict()
    units = arm[UNIT].itertuples(index=False, name=None)
    pairs = [(trial, ends[unit]) for trial, unit in zip(arm[TRIAL], units, strict=True) if unit in ends]
    if not pairs:
        return math.nan, math.nan
    steps, seconds = np.mean([reach(curves[trial], loss) for trial, loss in pairs], axis=0)
    return float(steps), float(seconds)
