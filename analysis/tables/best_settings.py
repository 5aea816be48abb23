"""The best setting of each group of a search, arm of a comparison, or depth of an older search, a row each.

The report shows the same settings. Columns: the setting, and the numbers that it was chosen by.
"""

import pandas as pd

from analysis.columns import ARM, LAYERS, LOOP_STEPS, TRIAL
from analysis.results import Findings
from analysis.tables.arms import HIGH, LOSS_SD, LOW, N, compare_arms
from analysis.tables.best import best
from analysis.tables.group_search import FINISHED, OTHERS, STOPPED, winners
from analysis.tables.planned import planned_trials
from trainable import names


def best_of_groups(found: Findings) -> pd.DataFrame:
    """The winner of each group on the search's seed, by depth and in the order of the arms.

    Columns: model.layers, arm, every setting that some group searched (by dotted key), eval_loss and gain (which chose
    the setting, and flatter it), finished, stopped and others (trials of the group), trial.
    """
    searched = dict.fromkeys(key for group in found.record.groups for key in group.space)
    columns = [LAYERS, ARM, *searched, names.EVAL_LOSS, names.GAIN, FINISHED, STOPPED, OTHERS, TRIAL]
    return winners(found.results.trials, found.record).reindex(columns=columns)


def best_of_depths(found: Findings) -> pd.DataFrame:
    """The schedule with the largest gain at each depth, and its gain on fresh seeds: `analysis.tables.best`."""
    return best(found.results.trials, top=1)


def best_of_arms(found: Findings) -> pd.DataFrame:
    """Each arm at the best value of the tuned setting, by depth and budget.

    Columns: model.layers, loop.steps, arm, the tuned setting if there is one, n (seeds or folds), eval_loss and
    eval_loss_sd over them, gain with the ends of its 95 % interval (gain_low, gain_high).
    """
    record = found.record
    compared = compare_arms(found.results, record.arms, record.tuned, planned_trials(record))
    tuned = [record.tuned] if record.tuned else []
    columns = [LAYERS, LOOP_STEPS, ARM, *tuned, N, names.EVAL_LOSS, LOSS_SD, names.GAIN, LOW, HIGH]
    return compared.reindex(columns=columns)
