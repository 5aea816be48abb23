"""The split: it uses the published permutation, is a partition, and leaks no validation row into training."""

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from trainable.config import CorpusConfig
from trainable.errors import InputError
from trainable.text.split import permuted_rows, row_ids_digest, split_rows, teacher_parts


@pytest.mark.parametrize("rows", [10, 101, 1001])
@pytest.mark.parametrize("fraction", [0.2, 0.37])
def test_a_single_split_equals_that_of_the_library_datasets(rows: int, fraction: float) -> None:
    datasets = pytest.importorskip("datasets")
    published = datasets.Dataset.from_dict({"row": range(rows)}).train_test_split(test_size=fraction, seed=42)
    split = split_rows(rows, CorpusConfig(test_fraction=fraction))
    assert split.train.tolist() == published["train"]["row"][:]
    assert split.eval.tolist() == published["test"]["row"][:]


@pytest.mark.parametrize("rows", [10, 101, 1001])
def test_folds_are_fifths_of_the_rows_that_datasets_shuffles(rows: int) -> None:
    datasets = pytest.importorskip("datasets")
    shuffled = datasets.Dataset.from_dict({"row": range(rows)}).shuffle(seed=42)["row"][:]
    size = rows // 5
    for fold in range(5):
        split = split_rows(rows, CorpusConfig(folds=5, fold=fold))
        assert split.eval.tolist() == shuffled[fold * size : (fold + 1) * size]
        assert split.train.tolist() == shuffled[: fold * size] + shuffled[(fold + 1) * size :]


@st.composite
def splits(draw: st.DrawFn) -> tuple[int, dict[str, Any]]:
    """(rows of the corpus, settings of a single split or of k folds, with limits that the corpus has rows for)"""
    rows, folds = draw(st.integers(2, 300)), draw(st.none() | st.integers(2, 12))
    fraction = draw(st.floats(0.01, 0.99))
    held_out = rows // folds if folds else int(np.ceil(fraction * rows))
    assume(0 < held_out < rows)
    settings = {
        "test_fraction": fraction,
        "split_seed": draw(st.integers(0, 2**32 - 1)),
        "folds": folds,
        "train_rows": draw(st.none() | st.integers(1, rows - held_out)),
        "eval_rows": draw(st.none() | st.integers(1, held_out)),
    }
    return rows, settings


@given(splits())
def test_every_fold_is_a_partition_within_its_limits_and_no_validation_row_is_a_training_row(
    case: tuple[int, dict[str, Any]],
) -> None:
    rows, settings = case
    whole = settings | {"train_rows": None, "eval_rows": None}
    for fold in range(settings["folds"] or 1):
        every, split = (split_rows(rows, CorpusConfig(**s, fold=fold)) for s in (whole, settings))
        assert sorted([*every.train, *every.eval]) == sorted(split.row_ids(split.every_parts)) == list(range(rows))
        assert split.row_ids(split.train_split_parts).tolist() == every.train.tolist()
        assert set(split.train) <= set(every.train)
        assert set(split.eval) <= set(every.eval)
        assert len(split.train) == len(set(split.train)) == (settings["train_rows"] or len(every.train))
        assert len(split.eval) == len(set(split.eval)) == (settings["eval_rows"] or len(every.eval))
        for which in ("student", "train_split"):
            assert not set(split.row_ids(teacher_parts(split, which))) & set(every.eval)


@given(st.integers(2, 12), st.integers(0, 200), st.integers(0, 2**32 - 1))
def test_each_row_except_the_remainder_validates_in_one_fold(folds: int, more_rows: int, seed: int) -> None:
    rows = folds + more_rows
    configs = [CorpusConfig(folds=folds, fold=fold, split_seed=seed) for fold in range(folds)]
    evals = np.concatenate([split_rows(rows, config).eval for config in configs])
    assert len(evals) == len(set(evals)) == rows - rows % folds


def test_limits_take_the_first_rows_of_a_single_split() -> None:
    whole = split_rows(100, CorpusConfig())
    limited = split_rows(100, CorpusConfig(train_rows=7, eval_rows=3))
    assert limited.train.tolist() == whole.train[:7].tolist()
    assert limited.eval.tolist() == whole.eval[:3].tolist()
    assert limited.train_split_parts == whole.train_parts


def test_limited_folds_take_the_first_rows_of_each_training_fold_as_published() -> None:
    shuffled = np.random.default_rng(42).permutation(103)
    folds = shuffled[:100].reshape(5, 20)
    limited = split_rows(103, CorpusConfig(folds=5, fold=1, train_rows=10))
    expected = [*folds[0][:3], *folds[2][:3], *folds[3][:2], *folds[4][:2]]
    assert limited.train.tolist() == expected
    assert len(split_rows(103, CorpusConfig(folds=5, fold=1, train_rows=83)).train) == 83


def test_limited_folds_do_not_share_one_training_set() -> None:
    trains = [set(split_rows(1000, CorpusConfig(folds=5, fold=fold, train_rows=100)).train) for fold in range(5)]
    for first in range(5):
        for second in range(first):
            assert len(trains[first] & trains[second]) <= 75


def test_teacher_rows_are_the_students_rows_the_training_split_or_all_rows() -> None:
    split = split_rows(100, CorpusConfig(train_rows=7))
    student, train_split, every = (
        split.row_ids(teacher_parts(split, which)) for which in ("student", "train_split", "all")
    )
    assert student.tolist() == split.train.tolist()
    assert len(train_split) == 80
    assert sorted(every) == list(range(100))
    assert not set(train_split) & set(split.eval)


@pytest.mark.parametrize("limit", [None, 400])
def test_k_folds_train_on_k_parts_in_common_and_the_remainder(limit: int | None) -> None:
    splits = [split_rows(1003, CorpusConfig(folds=5, fold=fold, train_rows=limit)) for fold in range(5)]
    parts = [set(split.train_parts) for split in splits]
    remainder = {splits[0].train_parts[-1]} if limit is None else set()
    assert {len(own) for own in parts} == {4 + len(remainder)}
    assert len(set.union(*parts)) == 5 + len(remainder)
    assert set.intersection(*parts) == remainder


@given(splits())
def test_the_two_halves_of_the_validation_rows_have_no_row_in_common_and_one_training_set(
    case: tuple[int, dict[str, Any]],
) -> None:
    rows, settings = case
    whole = split_rows(rows, CorpusConfig(**settings | {"eval_rows": None}))
    wanted = settings["eval_rows"]
    assume(len(whole.eval) >= 2 * (wanted or 1))
    choosing, reporting = (
        split_rows(rows, CorpusConfig(**settings, eval_half=half)) for half in ("choosing", "reporting")
    )
    half = wanted or len(whole.eval) // 2
    assert choosing.eval.tolist() == whole.eval[:half].tolist()
    assert reporting.eval.tolist() == whole.eval[half : 2 * wanted if wanted else None].tolist()
    assert choosing.train_parts == reporting.train_parts == whole.train_parts


@pytest.mark.parametrize(
    ("rows", "config", "sentence"),
    [
        (
            100,
            CorpusConfig(train_rows=81),
            "train_rows needs 81 rows but the training split has 80 of",
        ),
        (100, CorpusConfig(eval_rows=21), "eval_rows needs 21 rows but the validation split has 20"),
        (
            100,
            CorpusConfig(eval_rows=11, eval_half="choosing"),
            "eval_half choosing needs 22 rows, 11 in each half, but the validation split has 20 of",
        ),
        (
            100,
            CorpusConfig(eval_rows=11, eval_half="reporting", folds=5),
            "eval_half reporting needs 22 rows, 11 in each half, but the validation split has 20 of",
        ),
        (5, CorpusConfig(eval_half="reporting"), "eval_half reporting needs 2 rows, 1 in each half, but .* has 1 of"),
        (1, CorpusConfig(), "train_rows needs 1 rows but the training split has 0"),
        (3, CorpusConfig(folds=5), "eval_rows needs 1 rows but the validation split has 0"),
    ],
)
def test_too_few_rows_are_refused_with_the_needed_and_the_found_number(
    rows: int, config: CorpusConfig, sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        split_rows(rows, config)


def test_another_seed_gives_another_split() -> None:
    assert row_ids_digest(split_rows(50, CorpusConfig()).train) != row_ids_digest(
        split_rows(50, CorpusConfig(split_seed=1)).train
    )


def test_the_rows_are_permuted_once_and_only_when_they_are_asked_for() -> None:
    """The check that there are enough rows does not permute them, which matters for a corpus of 74 M rows."""
    asked: list[tuple[int, int]] = []
    split = split_rows(50, CorpusConfig(), lambda *key: asked.append(key) or permuted_rows(*key))
    assert len(split.train_parts) == 1 and not asked
    assert sorted([*split.train, *split.eval]) == list(range(50))
    assert asked == [(50, 42)]


def test_row_ids_are_read_only() -> None:
    for config in (CorpusConfig(train_rows=5), CorpusConfig(folds=5, train_rows=5)):
        split = split_rows(50, config)
        for row_ids_R in (split.train, split.eval, split.row_ids(split.every_parts)):
            with pytest.raises(ValueError, match="read-only"):
                row_ids_R[0] = 0
