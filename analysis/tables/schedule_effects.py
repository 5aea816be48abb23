"""Numbers on the schedules of a search: effect and importance of each parameter, gain of each cell.

The search tries more settings where gains are large, so means by value do not replace an experiment: some values were
tried more often than others, and with other parameters. Every mean therefore comes with its number of trials and its
spread, and no importance is given from too few trials. The gains of trials that ASHA stopped are early ones and count
in no mean.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from analysis.columns import LAYERS, MIN_WEIGHT, ROLE, SCHEDULE, STATE, TEACHER_STEPS
from trainable import names
from trainable.errors import InputError
from trainable.record.run_record import RunRecord, read_record

Space = Mapping[str, Sequence[Any]]  # dotted key -> values that the search chose from
PARAMETER: Final = "parameter"
VALUE: Final = "value"
TRIALS: Final = "trials"  # number of finished trials
STOPPED: Final = "stopped"
SD, LOWEST, HIGHEST = "sd", "lowest", "highest"
IMPORTANCE: Final = "importance"
ENOUGH: Final = 10  # least number of finished trials of a depth for an importance
BETTER_SHARE: Final = 0.5  # PED-ANOVA: importance for being in this best share of the trials


def searched(trials: pd.DataFrame) -> pd.DataFrame:
    """The search's trials with a finite gain that finished or were stopped."""
    ended = trials[STATE].isin([names.FINISHED, names.STOPPED]) & np.isfinite(trials[names.GAIN])
    found: pd.DataFrame = trials[ended & (trials[ROLE] == names.SEARCH)].reset_index(drop=True)
    return found


def marginals(trials: pd.DataFrame, space: Space) -> pd.DataFrame:
    """One row a depth, parameter and value: the mean gain of the finished trials that had it.

    Columns: model.layers, parameter, value, trials (finished), gain (mean), sd, lowest, highest (over those; nats per
    token), stopped (number of trials with that value that ASHA stopped). Values without a trial have trials 0.
    """
    found = searched(trials)
    rows = [_marginal(here, depth, key, value) for depth, here, key, value in _values(found, space)]
    columns = [LAYERS, PARAMETER, VALUE, TRIALS, names.GAIN, SD, LOWEST, HIGHEST, STOPPED]
    return pd.DataFrame(rows, columns=columns)


def _values(found: pd.DataFrame, space: Space) -> Iterator[tuple[int, pd.DataFrame, str, Any]]:
    for depth, here in found.groupby(LAYERS):
        for key, values in space.items():
            yield from ((int(depth), here, key, value) for value in values)


def _marginal(here: pd.DataFrame, depth: int, key: str, value: Any) -> dict[str, Any]:
    same = here[equals(here[key], value)]
    gains = same.loc[same[STATE] == names.FINISHED, names.GAIN]
    spread = {SD: gains.std(ddof=1), LOWEST: gains.min(), HIGHEST: gains.max()}
    count = {TRIALS: len(gains), STOPPED: len(same) - len(gains)}
    return {LAYERS: depth, PARAMETER: key, VALUE: value, names.GAIN: gains.mean(), **count, **spread}


def equals(column: pd.Series, value: Any) -> pd.Series:
    """Mask of the rows with a value of the space; decimals may differ in their last digit."""
    if isinstance(value, str):
        return column == value
    return pd.Series(np.isclose(column.astype(float), value), column.index)


def importances(trials: pd.DataFrame, space: Space) -> pd.DataFrame:
    """Optuna's PED-ANOVA importance of each parameter at each depth, from the finished trials.

    Importance: how well the parameter predicts whether a trial is in the better half; shares that add up to 1. NaN
    where fewer than 10 trials have finished. Columns: model.layers, parameter, importance, trials. No random numbers
    are used.
    """
    found = searched(trials)
    rows = []
    for depth, here in found[found[STATE] == names.FINISHED].groupby(LAYERS):
        shares = _ped_anova(here, space) if len(here) >= ENOUGH else {}
        for key in space:
            rows.append({LAYERS: int(depth), PARAMETER: key, IMPORTANCE: shares.get(key, np.nan), TRIALS: len(here)})
    return pd.DataFrame(rows, columns=[LAYERS, PARAMETER, IMPORTANCE, TRIALS])


def _ped_anova(finished: pd.DataFrame, space: Space) -> dict[str, float]:
    """Importance of each parameter; 0 for a parameter with a single value."""
    import optuna  # here, because it is slow to import and only needed here

    varied = {key: values for key, values in space.items() if finished[key].nunique() > 1}
    distributions = {key: _distribution(finished[key], values) for key, values in varied.items()}
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize")
    for _, row in finished.iterrows():
        params = {key: row[key] for key in varied}
        study.add_trial(optuna.create_trial(params=params, distributions=distributions, value=row[names.GAIN]))
    evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=BETTER_SHARE)
    shares = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return dict.fromkeys(space, 0.0) | dict(shares)


def _distribution(column: pd.Series, values: Sequence[Any]) -> Any:
    """Distribution of a parameter for Optuna: numbers are ordered, words are not."""
    import optuna

    if isinstance(values[0], str):
        return optuna.distributions.CategoricalDistribution(list(values))
    low, high = min(*values, column.min()), max(*values, column.max())
    whole = all(float(value).is_integer() for value in (*values, *column))
    return (optuna.distributions.IntDistribution if whole else optuna.distributions.FloatDistribution)(low, high)


def gain_cells(trials: pd.DataFrame) -> pd.DataFrame:
    """One row a depth, type, T and minimum weight that was tried.

    Columns: model.layers, teacher.schedule, teacher.steps, teacher.min_weight, gain (mean of the finished trials; where
    none finished, of the stopped ones at the step where each was stopped), trials (finished), stopped.
    """
    found = searched(trials)
    keys = [LAYERS, SCHEDULE, TEACHER_STEPS, MIN_WEIGHT]
    rows = [dict(zip(keys, key, strict=True)) | _cell(cell) for key, cell in found.groupby(keys)]
    return pd.DataFrame(rows, columns=[*keys, names.GAIN, TRIALS, STOPPED])


def _cell(cell: pd.DataFrame) -> dict[str, Any]:
    finished = cell[cell[STATE] == names.FINISHED]
    gain = (finished if len(finished) else cell)[names.GAIN].mean()
    return {names.GAIN: gain, TRIALS: len(finished), STOPPED: len(cell) - len(finished)}


def axis_values(cells: pd.DataFrame, space: Space, key: str) -> list[float]:
    """The values of the space along an axis, and other values that were tried."""
    extra = [value for value in cells[key].unique() if not np.isclose(value, list(space.get(key, ()))).any()]
    return sorted({float(value) for value in (*space.get(key, ()), *extra)})


def gain_text(cell: Any, form: str) -> str:
    text = format(cell[names.GAIN], form)
    return text if cell[TRIALS] else f"({text})"


def read_space(run: Path, arm: str | None = None) -> Space:
    """The values that a search chose from; for a search in groups, those of an arm.

    Raises InputError for a folder that is not a run or not a search, and for an unknown arm.
    """
    record = read_record(run)
    spaces: dict[str | None, Space] = {group.name: group.space for group in record.groups} or {None: record.space}
    if arm not in spaces:
        known = [name for name in spaces if name]
        said = f"give --arm {' or '.join(known)}" if known else "leave out --arm"
        raise InputError(f"{run} has no arm {arm}: {said}.")
    space = spaces[arm]
    if not space:
        raise InputError(
            f"{run} is not a search, because its {names.RUN_FILE} has no space: give a run of schedule_search."
        )
    if arm is not None and SCHEDULE not in space:
        raise InputError(f"the arm {arm} of {run} searches no schedule: give --arm with an arm that does.")
    return space


def default_arm(run: Path, record: RunRecord) -> str:
    """The last arm of a search in groups that searches schedules. Raises InputError where none does."""
    arms = [group.name for group in record.groups if SCHEDULE in group.space]
    if not arms:
        raise InputError(f"no arm of {run} searches schedules: give a run of schedule_search.")
    return arms[-1]
