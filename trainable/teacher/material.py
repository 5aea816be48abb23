"""What a teacher may be prepared from: settings that shape its table, and counts of the text, made when asked for."""

from collections.abc import Callable
from dataclasses import dataclass

from trainable.teacher.answers import Answers
from trainable.teacher.counts import BigramCounts
from trainable.teacher.ngram_counts import NgramCounts


@dataclass(frozen=True, kw_only=True)
class Material:
    """What a teacher's table may be made from."""

    counts: Callable[[], BigramCounts]  # counts bigrams when it is called: a teacher that needs none does not wait
    vocab_size: int
    tokenizer_fingerprint: str
    rows: str  # which rows of text are counted, e.g. "student"
    smoothing: str = "mle"  # a key of SMOOTHINGS
    strength: float | None = None  # of the smoothing; None: its default
    min_counts: tuple[int, ...] = (1,)  # of orders 2, 3, ..: n-grams seen fewer times leave the table
    ngrams: Callable[[int], NgramCounts] | None = None  # counts n-grams of an order
    order: int = 2  # of n-grams
    answers: Callable[[], Answers] | None = None  # trains a model and asks it; None: nobody does here
