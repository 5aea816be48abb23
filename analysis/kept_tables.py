"""The two tables of a run that somebody kept without its ledgers, as parquet or as text (CSV).

Other programs put rows in any order, append a table to itself, cut it off, and write numbers as text: each of these
would become another mean, or a traceback. So a trial is one row and a report is one row, in order, numbers are numbers,
and finished trials have their last report; other tables are refused by name.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pandas as pd

from analysis.columns import (
    DERIVED,
    EVAL_ROWS,
    FOLD,
    FOLDS,
    LAST_REPORT,
    LAYERS,
    LEARNING_RATE,
    LOOP_STEPS,
    MIN_WEIGHT,
    ROLE,
    SCHEDULE,
    SEED,
    STATE,
    TEACHER_STEPS,
    TRAIN_ROWS,
    TRIAL,
    WHO,
)
from analysis.table_file import read_table
from trainable import names
from trainable.errors import DamagedFile

NUMBERS: Final = (
    *(*LAST_REPORT, *DERIVED, names.TRAIN_LOSS, LAYERS, TEACHER_STEPS, MIN_WEIGHT, SEED, LOOP_STEPS, LEARNING_RATE),
    *(FOLD, FOLDS, EVAL_ROWS, TRAIN_ROWS),
)


def read_kept(trials: Path, curves: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Both tables: a row a trial, and a row a report in the order of steps. Raises DamagedFile for other ones."""
    by_trial = _checked(trials, [TRIAL], [ROLE, STATE, names.STEP, names.EVAL_LOSS])
    by_step = _checked(curves, [TRIAL, names.STEP], [names.EVAL_LOSS])
    reported = set(zip(by_step[TRIAL], by_step[names.STEP], strict=True))
    finished = by_trial.loc[by_trial[STATE] == names.FINISHED, [TRIAL, names.STEP]]
    for trial, step in finished.itertuples(index=False, name=None):
        if (trial, step) not in reported:
            raise DamagedFile(
                curves, f"it lacks step {step:g}, the last one of trial {trial}", "restore it from a copy"
            )
    return by_trial, by_step.sort_values([TRIAL, names.STEP], kind="stable", ignore_index=True)


def _checked(path: Path, key: list[str], needed: Sequence[str]) -> pd.DataFrame:
    """A table with numbers as numbers, in which rows differ in the columns `key`."""
    table = _read_csv(path) if path.suffix == ".csv" else read_table(path)
    if lacking := [name for name in (*key, *needed) if name not in table]:
        raise DamagedFile(path, f"it has no column {', '.join(lacking)}", "see results/README.md for the columns")
    for name in NUMBERS:
        if name in table and not pd.api.types.is_numeric_dtype(table[name]) and table[name].notna().any():
            table[name] = _numbers(path, table[name])
    if (twice := table[table.duplicated(key)]).size:
        first = ", ".join(f"{name} {value}" for name, value in twice.iloc[0][key].items())
        raise DamagedFile(path, f"{first} is in it twice", "leave each row in it once")
    return table


def _numbers(path: Path, column: pd.Series) -> pd.Series:
    """A column of decimals, or of numbers written as text."""
    found = pd.to_numeric(column, errors="coerce").astype("float64")
    if (wrong := column[found.isna() & column.notna()]).size:
        remedy = "leave it empty where there is no value, and write inf where a loss diverged"
        raise DamagedFile(path, f"{column.name} is {wrong.iloc[0]!r} in row {wrong.index[0] + 1}, no number", remedy)
    return found


def _read_csv(path: Path) -> pd.DataFrame:
    """A table kept as text. An empty field is "" in a column of text, NaN in one of numbers; nothing else is missing.

    A column of numbers that is empty throughout is one of numbers still, so the columns of text are named here.
    """
    try:
        heading = pd.read_csv(path, nrows=0)
        text = [name for name in (*WHO, SCHEDULE) if name in heading]
        table = pd.read_csv(path, dtype=dict.fromkeys(text, "str"), keep_default_na=False, na_values=[""])
    except (ValueError, OSError) as error:
        raise DamagedFile(path, str(error), "restore it from a copy") from None
    return table.fillna(dict.fromkeys(text, ""))
