"""Tables of a search in groups: best setting of each group, search trials, how far the loss of a best setting rises on
fresh seeds, and diagnostics of the confirmations.

A group is an arm at a depth. Losses on the search's seed choose a setting and flatter it; only confirmations report.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd

from analysis.columns import ARM, EVAL_HALF, LAYERS, LOOP_STEPS, ROLE, STATE, TEACHER_STEPS, TRIAL
from analysis.results import Results
from analysis.tables.confirmations import REPORTING
from trainable import names
from trainable.record.run_record import RunRecord

GROUP: Final = [LAYERS, ARM]
FINISHED, STOPPED, OTHERS = "finished", "stopped", "others"  # numbers of trials of a group by the way they ended
FRESH, FRESH_LOW, FRESH_HIGH = "fresh", "fresh_low", "fresh_high"  # loss on fresh seeds: mean, lowest, highest
RISE: Final = "rise"  # FRESH - the loss with which the setting won the search
EXCESS: Final = "excess"  # RISE - the median rise of the arms at this depth
DIAGNOSTICS: Final = (
    *(names.GRAD_NORM, names.CLIPPED_SHARE, names.OUTPUT_ENTROPY, names.HIDDEN_COSINE, names.UNIGRAM_KL),
)


def searched(trials: pd.DataFrame) -> pd.DataFrame:
    """The trials of the search, with the reference control of each depth."""
    halves = trials[EVAL_HALF] if EVAL_HALF in trials else pd.Series("", trials.index)
    reference = (trials[ROLE] == names.CONTROL) & (halves != REPORTING)
    return trials[reference | (trials[ROLE] == names.SEARCH)]


def winners(trials: pd.DataFrame, record: RunRecord) -> pd.DataFrame:
    """The finished trial of each group with the lowest loss, by depth and in the order of the arms.

    Columns: those of a trial, and the numbers of trials of its group that finished, were stopped, or neither.
    """
    tried = searched(trials)
    done = tried[(tried[STATE] == names.FINISHED) & np.isfinite(tried[names.EVAL_LOSS])]
    best = done.sort_values([names.EVAL_LOSS, TRIAL]).drop_duplicates(GROUP)
    order = best[ARM].map({arm: number for number, arm in enumerate(record.arms)})
    best = best.assign(_order=order).sort_values([LAYERS, "_order"]).drop(columns="_order")
    states = [tried[(tried[LAYERS] == row[LAYERS]) & (tried[ARM] == row[ARM])][STATE] for _, row in best.iterrows()]
    counts = {
        FINISHED: [int((own == names.FINISHED).sum()) for own in states],
        STOPPED: [int((own == names.STOPPED).sum()) for own in states],
        OTHERS: [int((~own.isin([names.FINISHED, names.STOPPED])).sum()) for own in states],
    }
    return best.assign(**counts).reset_index(drop=True)


def at_ends(winner: Mapping[Any, Any], tried: pd.DataFrame, space: Mapping[str, Sequence[Any]]) -> list[str]:
    """Dotted keys of numbers for which a winner has the smallest or largest value that its group tried.

    A better value may lie beyond. Values of 0, and scheduling steps over the whole run, do not count.
    """
    found = []
    for key, values in space.items():
        if len(values) < 2 or isinstance(values[0], str) or winner[key] == 0:
            continue
        ends = {min(*values, tried[key].min()), max(*values, tried[key].max())}
        whole = key == TEACHER_STEPS and winner[key] >= winner[LOOP_STEPS]
        found += [key] if winner[key] in ends and not whole else []
    return found


def rises(best: pd.DataFrame, confirmations: pd.DataFrame) -> pd.DataFrame:
    """Rise of the loss of each winner from the search to its finished confirmations, in nats per token.

    All rises at a depth share the difference between the two halves of the validation text. The median rise stands for
    that difference, so EXCESS is what the arm's own luck in the search made; NaN with fewer than three arms. Arms whose
    confirmations have another length than their search are left out.
    Columns: model.layers, arm, eval_loss (of the search), FRESH, FRESH_LOW, FRESH_HIGH, RISE, EXCESS.
    """
    done = confirmations[(confirmations[STATE] == names.FINISHED) & np.isfinite(confirmations[names.EVAL_LOSS])]
    spread = {
        FRESH: (names.EVAL_LOSS, "mean"),
        FRESH_LOW: (names.EVAL_LOSS, "min"),
        FRESH_HIGH: (names.EVAL_LOSS, "max"),
    }
    keys = [*GROUP, LOOP_STEPS]
    fresh = done.groupby(keys, sort=False).agg(**spread).reset_index()
    table = best[[*keys, names.EVAL_LOSS]].merge(fresh, on=keys).drop(columns=LOOP_STEPS)
    table[RISE] = table[FRESH] - table[names.EVAL_LOSS]
    by_depth = table.groupby(LAYERS)[RISE]
    table[EXCESS] = (table[RISE] - by_depth.transform("median")).where(by_depth.transform("size") >= 3)
    return table


def diagnostics(confirmations: Results, record: RunRecord) -> pd.DataFrame:
    """Mean of each diagnostic over the final reports of an arm's finished confirmations; NaN where no report has it.

    By depth and in the order of the arms.
    Columns: model.layers, arm, trials, and those of DIAGNOSTICS.
    """
    trials, curves = confirmations
    done = trials[trials[STATE] == names.FINISHED]
    last = curves.sort_values(names.STEP).drop_duplicates(TRIAL, keep="last").set_index(TRIAL)
    ends = last.reindex(columns=list(DIAGNOSTICS)).reindex(done[TRIAL]).astype("float64").set_axis(done.index)
    table = pd.concat([done[GROUP], ends], axis=1).groupby(GROUP, sort=False)
    means = table.mean().assign(trials=table.size()).reset_index()
    places = {arm: number for number, arm in enumerate(record.arms)}
    return means.sort_values(GROUP, key=lambda keys: keys.map(places) if keys.name == ARM else keys, ignore_index=True)
