"""Input of a teacher's `prepare`: settings that shape its table, and functions that count the text."""

from collections.abc import Callable
from dataclasses import dataclass

from trainable.teacher.answers import Answers
from trainable.teacher.counts import BigramCounts
from trainable.teacher.ngram_counts import NgramCounts


@dataclass(frozen=True, kw_only=True)
class Material:
    """Settings and counts from which a teacher table can be made."""

    counts: Callable[[], BigramCounts]  # counts the bigrams; a teacher that needs none does not call it
    vocab_size: int
    tokenizer_fingerprint: str
    rows: str  # which rows of text are counted, e.g. "student"
    smoothing: str = "mle"  # a key of SMOOTHINGS
    strength: float | None = None  # of the smoothing; None: its default
    min_counts: tuple[int, ...] = (1,)  # one for each order from 2: n-grams seen fewer times leave the table
    ngrams: Callable[[int], NgramCounts] | None = None  # counts the n-grams of an order
    order: int = 2  # order of the n-grams
    answers: Callable[[], Answers] | None = None  # trains a model and asks it; None: no model is available
