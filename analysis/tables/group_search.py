"""Tables of a search in groups: best setting of each group, search trials, and diagnostics of the confirmations.

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
