"""Tell the user how many rows a tokenizer cannot read: of a sample before a run, of all rows once tokenised."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from trainable.errors import InputError, require
from trainable.names import UNREAD_TOLD
from trainable.text.corpus import Corpus
from trainable.text.tokenizer.encode import encode_rows
from trainable.text.tokenizer.special_tokens import EOS_SETTING, TOKENIZER_FILE
from trainable.text.tokenizer.tokenizer import TextTokenizer

SAMPLE_ROWS, SAMPLE_CHARACTERS = 1000, 512  # rows, and characters of each: a fraction of a second in all
SPREAD_ROWS = 20_000  # the sample of a corpus of up to so many rows is spread over it; of a larger one, the first rows
MOST_UNREAD = 0.5  # share of unread rows above which a run is refused
SURELY_MOST = 0.55  # the same share, in a sample that is spread over all rows


class Reading(NamedTuple):
    """Counts of rows that a tokenizer read, could not read, or read as an end of text."""

    called: str  # what the rows are called, such as "training rows"
    rows: int  # number of rows that are not empty
    unread: int  # rows that gave no token, or are mostly unknown (text/tokenizer/unread.py)
    eos: int  # rows whose own text gives an end-of-text token
    refused_above: float = MOST_UNREAD  # share of unread; infinite for first rows, which say too little of the others


def read_sample(tokenizer: TextTokenizer, corpus: Corpus) -> Reading:
    """Tokenise some rows of a corpus twice. Raises InputError if the tokens are not the same both times."""
    rows = min(corpus.rows, SAMPLE_ROWS)
    is_spread = corpus.rows <= SPREAD_ROWS
    row_ids = np.linspace(0, corpus.rows - 1, rows).astype(np.int64) if is_spread else np.arange(rows)
    texts = [text[:SAMPLE_CHARACTERS] for text in corpus.texts(row_ids) if text.strip()]
    first, again = encode_rows(tokenizer, texts), encode_rows(tokenizer, texts)
    require(
        np.array_equal(first.ids_n, again.ids_n) and np.array_equal(first.length_R, again.length_R),
        f"tokenizer {tokenizer.name!r} makes other tokens of the same text each time: switch off in its "
        f"{TOKENIZER_FILE} what makes them random.",
    )
    called = "rows, the first of the corpus" if not is_spread else "sampled rows" if rows < corpus.rows else "rows"
    limit = math.inf if not is_spread else SURELY_MOST if rows < corpus.rows else MOST_UNREAD
    return Reading(called, len(texts), int(first.unread_R.sum()), int(first.eos_R.sum()), limit)


def reading_lines(reading: Reading, tokenizer: TextTokenizer) -> Iterator[str]:
    """Yield the plan's lines on a reading. Raises InputError if the share of unread rows is above `refused_above`."""
    share = reading.unread / max(1, reading.rows)
    if reading.unread:
        unknown = tokenizer.unk_id is not None and tokenizer.encoder.id_to_token(tokenizer.unk_id)
        told = f"tokenizer {tokenizer.name} cannot read {reading.unread:,} of {reading.rows:,} {reading.called}: " + (
            f"their text mostly becomes {unknown!r}, or nothing" if unknown else "it drops most of their characters"
        )
        remedy = "take a tokenizer made for this text, or train:4096"
        if share > reading.refused_above:
            raise InputError(f"{told}; {remedy}.")
        more = "; a run is refused where that holds for more than half of its rows" if share > MOST_UNREAD else ""
        yield f"warning: {told}{more}; {remedy}." if share > UNREAD_TOLD else f"{told}."
    if reading.eos:
        yield (
            f"warning: {reading.eos:,} of {reading.rows:,} {reading.called} hold text that tokenizer {tokenizer.name} "
            f"reads as its end of text {tokenizer.special.eos!r}, so these rows end there too; name another token with "
            f"--set {EOS_SETTING}=TOKEN."
        )


def tokenizer_lines(tokenizer: TextTokenizer) -> Iterator[str]:
    """Yield the plan's lines on a given tokenizer: its end of text, what names it, and what is switched off."""
    special = tokenizer.special
    why = {
        EOS_SETTING: f"from the setting {EOS_SETTING}",
        TOKENIZER_FILE: f"a special token of {TOKENIZER_FILE}, for no other file names one",
    }.get(special.eos_from, f"named by {special.eos_from}")
    others = f"; other candidates there: {', '.join(special.other_ends)} (--set {EOS_SETTING}=TOKEN)"
    yield (
        f"end of text: {special.eos!r}, {why}{others if special.other_ends else ''}; "
        f"{tokenizer.vocab_size:,} tokens in all"
    )
    if tokenizer.switched_off:
        yield f"switched off in the tokenizer: {', '.join(tokenizer.switched_off)}"
