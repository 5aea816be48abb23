"""Read the two tables of a run that were kept without its ledgers, as parquet or as text (CSV).

Other programs reorder rows, append a table to itself, truncate it, or write numbers as text; each of these would change
a mean or end in a traceback. So every trial and every report must have exactly one row, numbers must be numbers, and a
finished trial must have its last report. Rows are sorted; other faults are refused with the name of the file.
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
    """Read both tables: one row a trial, and one row a report, sorted by step. Raises DamagedFile for faulty tables."""
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
    """Read a table, convert numbers, and refuse two rows that are equal in the columns `key`."""
    table = _read_csv(path) if path.suffix == ".csv" else read_table(path)
    if lacking := [name for name in (*key, *needed) if name not in table]:
        raise DamagedFile(path, f"it has no column {', '.join(lacking)}", "see results/README.md for the columns")
    for name in NUMBERS:
        if name in table and not pd.api.types.is_numeric_dtype(table[name]) and table[name].notna().any():
            table[name] = _numbers(path, table[name])
    if (twice := table[table.duplicated(key)]).size:
        first = ", ".join(f"{name} {value}" for name, value in twice.iloc[0][key].items())
        raise DamagedFile(path, f"{first} is in it twice", "keep each row once")
    return table


def _numbers(path: Path, column: pd.Series) -> pd.Series:
    """A column of decimals, or of numbers written as text."""
    found = pd.to_numeric(column, errors="coerce").astype("float64")
    if (wrong := column[found.isna() & column.notna()]).size:
        remedy = "leave it empty where there is no value, and write inf where a loss diverged"
        raise DamagedFile(path, f"{column.name} is {wrong.iloc[0]!r} in row {wrong.index[0] + 1}, no number", remedy)
    return found


def _read_csv(path: Path) -> pd.DataFrame:
    """Read a table kept as text. An empty field is "" in a column of text and NaN in a column of numbers.

    No other value counts as missing. Columns of text are named here, because an empty column has no type of its own.
    """
    try:
        heading = pd.read_csv(path, nrows=0)
        text = [name for name in (*WHO, SCHEDULE) if name in heading]
        table = pd.read_csv(path, dtype=dict.fromkeys(text, "str"), keep_default_na=False, na_values=[""])
    except (ValueError, OSError) as error:
        raise DamagedFile(path, str(error), "restore it from a copy") from None
    return table.fillna(dict.fromkeys(text, ""))
