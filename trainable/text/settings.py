"""Settings of the text: which rows, how they are split, how they become blocks of token ids."""

from dataclasses import dataclass
from typing import Literal

from trainable.errors import require, require_seed

TeacherRows = Literal["student", "train_split", "all"]  # rows that a teacher is counted on; all: to probe a leak
EvalHalf = Literal["whole", "choosing", "reporting"]
Packing = Literal["packed", "as_published"]


@dataclass(frozen=True, kw_only=True)
class CorpusConfig:
    """Which rows of text, and how they are split."""

    source: str = "builtin"  # "builtin", a path on disk or a pattern of paths, or a Hugging Face hub id
    revision: str | None = None  # of a hub id
    split: str = "train"  # official split to read, if the files, folders or data set have splits; all: all as one text
    column: str = "text"
    train_rows: int | None = None  # use only so many first rows of the training split; None: all
    eval_rows: int | None = None  # the same for the validation split (for each half); None: all
    eval_half: EvalHalf = "whole"  # choosing: the first half of the validation rows; reporting: the one after it
    test_fraction: float = 0.2  # share of all rows that validate, in a single split
    split_seed: int = 42
    folds: int | None = None  # None: one split; k: k contiguous folds of the shuffled rows
    fold: int = 0  # number of the fold that validates

    def __post_init__(self) -> None:
        require(bool(self.split), "corpus.split is empty: give the name of a split, such as train.")
        for name in ("train_rows", "eval_rows"):
            rows = getattr(self, name)
            require(
                rows is None or rows > 0, f"corpus.{name} is {rows}: give a positive number of rows, or none for all."
            )
        require(
            0 < self.test_fraction < 1,
            f"corpus.test_fraction is {self.test_fraction}: give a fraction between 0 and 1, such as 0.2.",
        )
        require_seed("corpus.split_seed", self.split_seed)
        if self.folds is None:
            require(self.fold == 0, f"corpus.fold is {self.fold} but corpus.folds is none: give corpus.folds too.")
        else:
            require(self.folds >= 2, f"corpus.folds is {self.folds}: give at least 2 folds, or none for one split.")
            require(
                0 <= self.fold < self.folds,
                f"corpus.fold is {self.fold} of {self.folds} folds: give a fold from 0 to {self.folds - 1}.",
            )


@dataclass(frozen=True, kw_only=True)
class TokensConfig:
    """Settings that turn text into blocks of token ids."""

    tokenizer: str = "train:4096"  # a folder with tokenizer.json, a hub id, or "train:<vocabulary size>"
    eos: str | None = None  # the token that ends a row; None: the one that a given tokenizer's own files name
    context: int = 128  # tokens in a block
    packing: Packing = "packed"

    def __post_init__(self) -> None:
        require(self.context >= 2, f"tokens.context is {self.context}: a block needs at least 2 tokens.")
        require(
            self.eos is None or not self.tokenizer.startswith("train:"),
            f"tokens.eos is {self.eos!r} but {self.tokenizer} makes an end of text of its own: leave tokens.eos out.",
        )
