"""How much of a corpus a tokenizer reads, told to the user: of a sample before a run, of all rows once tokenised."""

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

SAMPLE_ROWS, SAMPLE_CHARACTERS = 1000, 512  # of each row: a fraction of a second in all
SPREAD_ROWS = 20_000  # of a corpus that is read to its end for a sample; of a larger one the first rows are taken
MOST_UNREAD = 0.5  # share of all rows beyond which a run is refused
SURELY_MOST = 0.55  # the same in a sample that is spread over all rows


class Reading(NamedTuple):
    """What a tokenizer made of some rows."""

    called: str  # "training rows"
    rows: int  # that are not empty
    unread: int  # that gave no token, or are mostly unknown (text/tokenizer/unread.py)
    eos: int  # whose own text gives an end-of-text token
    refused_above: float = MOST_UNREAD  # share of unread rows; first rows say too little of the others to refuse a run


def read_sample(tokenizer: TextTokenizer, corpus: Corpus) -> Reading:
    """Tokenise some rows of a corpus, twice. Raises InputError where the tokens are not the same both times."""
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
    """Lines for the plan. Raises InputError where most of all rows cannot be read."""
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
            f"reads as its end of text {tokenizer.special.eos!r}, so they end there too; name another with --set "
            f"{EOS_SETTING}=TOKEN."
        )


def tokenizer_lines(tokenizer: TextTokenizer) -> Iterator[str]:
    """What the plan says of a given tokenizer: the end of text and why it is that, and what is switched off."""
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
