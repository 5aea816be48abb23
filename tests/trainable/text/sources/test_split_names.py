"""Names of splits: those that the library datasets knows are recognised, but not words in a title."""

import pytest

from trainable.errors import InputError
from trainable.text.sources.split_names import chosen_split, split_note, splits_of


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (["train", "validation", "test"], ["train", "validation", "test"]),
        (["Train", "dev", "Testing"], ["train", "validation", "test"]),
        (["trainset", "devset_0", "TestSplit"], ["train", "validation", "test"]),
        (["split=train", "split=heldout", "split=val"], ["train", "heldout", "validation"]),
        (["en_trainset", "en_testset"], ["train", "test"]),
        (["training", "valid", "evaluation"], ["train", "validation", "test"]),
        (["train-00000-of-00002", "train-00001-of-00002", "val_1"], ["train", "train", "validation"]),
        (["train_part_01", "train2", "eval"], ["train", "train", "test"]),
        (["wiki.train", "wiki.valid", "wiki.test"], ["train", "validation", "test"]),
        (["c4-train.00000-of-01024", "c4-validation.00000-of-00008"], ["train", "validation"]),
        (["train-v1.1", "dev-v1.1"], ["train", "validation"]),
        (["train-v1.1", "dev"], ["train", "validation"]),
        (["train_en", "train_fr", "test_en"], ["train", "train", "test"]),
        (
            ["train-00000-of-00001", "test-00000-of-00001", "unsupervised-00000-of-00001"],
            ["train", "test", "unsupervised"],
        ),
        (["train_sft-00000-of-00001", "test_sft-00000-of-00001"], ["train_sft", "test_sft"]),
        (["validation_matched-00000-of-00001", "train-00000-of-00001"], ["validation_matched", "train"]),
        (["c4-validation.00000-of-00008", "c4-validation.00001-of-00008"], ["validation", "validation"]),
    ],
)
def test_names_of_splits_are_known(names: list[str], splits: list[str]) -> None:
    assert [splits_of(names)[name] for name in names] == splits


@pytest.mark.parametrize(
    "names",
    [
        ["part-0", "part-1"],
        ["part-00000-of-00002", "part-00001-of-00002"],
        ["en-00000-of-00001", "fr-00000-of-00001"],
        ["training_notes", "part-0"],
        ["training_notes"],
        ["test_results_2024"],
        ["contest", "latest", "retrain", "trainspotting", "devil", "evaluate", "value"],
        ["contest", "retrain"],
        ["tester", "trainspotting"],
        ["photo of a cat", "photo of a train", "photo of test tubes"],  # huggingface/datasets issue 5021
        ["the-night-train", "moby_dick"],
    ],
)
def test_words_in_other_names_are_no_splits(names: list[str]) -> None:
    assert splits_of(names) == {}


def test_other_names_beside_whole_names_of_splits_are_of_no_split() -> None:
    assert splits_of(["train", "test", "extra", "training_notes"]) == {"train": "train", "test": "test"}


def test_the_wanted_split_is_found_by_any_of_its_names_and_a_missing_split_is_refused() -> None:
    assert chosen_split(["test", "dev"], "validation", "books") == "dev"
    assert chosen_split(["train", "train_sft"], "train_sft", "books") == "train_sft"
    with pytest.raises(
        InputError, match=r"books has no split 'train': set corpus.split to one of 'test', 'validation', or all\."
    ):
        chosen_split(["validation", "test", "test"], "train", "books")


def test_the_note_names_the_split_that_is_read_and_those_that_are_not() -> None:
    assert (
        split_note("train", ["train", "validation", "test"])
        == "split train is read, not test, validation (corpus.split)"
    )
    assert split_note("train", ["train"]) == "split train"
    assert split_note("all", ["train", "test"]) == "splits test, train are read as one text"
