"""Tables kept without ledgers, by whatever program they were written, give the numbers of the run or are refused."""

import decimal
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from comparisons import comparison
from pandas.testing import assert_frame_equal
from paths import ROOT

from analysis.results import Results, load, write
from analysis.tables.arms import compare_arms
from trainable import names
from trainable.errors import DamagedFile

ARMS = ["none", "linear 588"]
Change = Callable[[pd.DataFrame, pd.DataFrame], tuple[pd.DataFrame, pd.DataFrame]]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    run = comparison(tmp_path / "run")
    write(run)
    return run


def kept(run: Path, change: Change) -> Path:
    """Delete the ledgers of a run and write its tables as another program would; return the run."""
    for file, table in zip((names.TRIALS_TABLE, names.CURVES_TABLE), change(*load(run)), strict=True):
        table.to_parquet(run / file)
    shutil.rmtree(run / names.TRIALS_FOLDER)
    return run


def as_decimals(column: pd.Series) -> pd.Series:
    return column.map(lambda value: decimal.Decimal(f"{value:.6f}")).astype("object")


@pytest.mark.parametrize(
    "change",
    [
        lambda trials, curves: (trials, curves.iloc[::-1]),
        lambda trials, curves: (trials, curves.sample(frac=1, random_state=0)),
        lambda trials, curves: (trials.convert_dtypes(), curves.convert_dtypes()),
        lambda trials, curves: (trials.astype({"trial": "category", "arm": "category"}), curves),
        lambda trials, curves: (trials, curves.astype({"step": "float64"})),
        lambda trials, curves: (trials, curves.astype({"eval_loss": "str", "step": "str"})),
        lambda trials, curves: (trials, curves.assign(eval_loss=as_decimals(curves["eval_loss"]))),
        lambda trials, curves: (trials.assign(eval_loss=as_decimals(trials["eval_loss"])), curves),
    ],
    ids=["backwards", "shuffled", "nullable", "categories", "steps as floats", "text", "decimals", "decimal losses"],
)
def test_order_and_kind_of_number_change_no_result(run: Path, change: Change) -> None:
    whole = compare_arms(load(run), ARMS)
    assert whole["steps_saved"].dropna().abs().max() > 0
    assert_frame_equal(compare_arms(load(kept(run, change)), ARMS), whole, check_dtype=False)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda trials, curves: (pd.concat([trials, trials]), curves), r"trials.parquet .*trial \S+ is in it twice"),
        (lambda trials, curves: (trials, pd.concat([curves, curves])), r"curves.parquet .*step 0 is in it twice"),
        (lambda trials, curves: (trials, curves.iloc[:-1]), r"curves.parquet .*it lacks step 120, the last one of"),
        (lambda trials, curves: (trials.set_index("trial"), curves), r"trials.parquet .*it has no column trial"),
        (
            lambda trials, curves: (trials, curves.assign(eval_loss="five")),
            r"curves.parquet .*eval_loss is 'five' in row 1, no number",
        ),
    ],
    ids=["trials twice", "reports twice", "cut off", "no trial column", "losses as words"],
)
def test_tables_with_repeated_or_missing_rows_or_columns_or_with_words_are_refused(
    run: Path, change: Change, said: str
) -> None:
    with pytest.raises(DamagedFile, match=said):
        load(kept(run, change))


@pytest.mark.parametrize("word", ["NaN", "nan", "NULL", "None", "-"])
def test_a_word_in_place_of_a_number_in_a_csv_table_is_refused(tmp_path: Path, word: str) -> None:
    """A word such as NaN is refused, for it may mean a step without an evaluation or a loss that diverged."""
    published = tmp_path / "k_fold"
    shutil.copytree(ROOT / "results" / "published" / "k_fold", published)
    curves = pd.read_csv(published / "curves.csv", dtype="str", keep_default_na=False)
    row = int((curves["eval_loss"] != "").to_numpy().nonzero()[0][3])
    curves.loc[row, "eval_loss"] = word
    curves.to_csv(published / "curves.csv", index=False)
    with pytest.raises(DamagedFile, match=rf"eval_loss is '{word}' in row {row + 1}, no number\): leave it empty"):
        load(published)


def test_csv_tables_with_the_line_ends_and_byte_order_mark_of_windows_are_read(tmp_path: Path) -> None:
    published = tmp_path / "k_fold"
    shutil.copytree(ROOT / "results" / "published" / "k_fold", published)
    whole: Results = load(published)
    for file in ("trials.csv", "curves.csv"):
        text = (published / file).read_text()
        (published / file).write_bytes(text.replace("\n", "\r\n").encode("utf-8-sig"))
    for found, expected in zip(load(published), whole, strict=True):
        assert_frame_equal(found, expected)
