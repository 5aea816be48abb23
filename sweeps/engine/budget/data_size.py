"""Estimate the data of a run before it is prepared: numbers of token blocks, and seconds of preparing them.

Data and teachers that are in the cache already are looked up there. For the rest, a sample of the rows is tokenised; if
the run will train its tokenizer, one is trained on the sample.
"""

import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from sweeps.engine.specs.spec import Spec
from trainable.config import CorpusConfig, TeacherConfig, TrialConfig
from trainable.plan import data_key, placed, table_key
from trainable.prepare import Preparation
from trainable.record.cache import NotBuilt, only_what_is_built
from trainable.text.corpus import Corpus, open_corpus
from trainable.text.split import split_rows
from trainable.text.tokenizer.tokenizer import given_tokenizer, is_trained, pieces_of, train_bpe
from trainable.text.workers import LOCAL

SAMPLE_ROWS, ROW_CHARACTERS = 2000, 1 << 12  # rows of a sample, and characters read of a longer row
SPREAD_ROWS = 1 << 20  # the sample comes from so many first rows of a corpus
WORD, TRAINED_ON = 128, 1 << 24  # most characters without a space, and in all, that train a tokenizer
FILLED = 0.73  # share of a block that holds tokens, not padding, with packing as_published
WITHOUT_TABLE = TeacherConfig(kind="ramp")  # to look up the blocks alone


@dataclass(frozen=True, kw_only=True)
class DataSize:
    """Data that trials read: the number of blocks of each set of data, and the time of preparing them."""

    vocab_size: int
    train_tokens: int  # training tokens of the first set
    blocks: Mapping[str, tuple[int, int]]  # numbers of training and validation blocks, by data_key
    seconds: float  # to check the text in the cache, and to prepare the rest
    teachers: Mapping[str, float]  # seconds of finding each teacher that is in the cache, by teacher_key

    @property
    def eval_blocks(self) -> int:
        """Smallest number of validation blocks of any trial."""
        return min(held_out for _, held_out in self.blocks.values())


def data_size(spec: Spec, places: Mapping[str, str]) -> DataSize:
    """Size of all data of a run; places: {path in the spec: path now} of files that have moved."""
    preparation = Preparation(None, lambda text: None, LOCAL)
    configs = {data_key(config): placed(config, places) for config in spec.configs()}
    built = _built(configs, preparation)
    left = {key: config for key, config in configs.items() if key not in built}
    teachers = _teachers(spec, places, preparation, set(built))
    if left:
        return _estimated(left, built, teachers)
    first = next(iter(built.values()))
    return DataSize(
        vocab_size=first.vocab_size,
        train_tokens=first.train_tokens,
        blocks={key: one.blocks for key, one in built.items()},
        seconds=sum(one.seconds for one in built.values()),
        teachers=teachers,
    )


def teacher_key(config: TrialConfig) -> str:
    """Fingerprint of a trial's teacher table, whatever text validates: equal keys mean one table on the disk."""
    corpus, own = config.corpus, CorpusConfig()
    return table_key(replace(config, corpus=replace(corpus, eval_rows=own.eval_rows, eval_half=own.eval_half)))


@dataclass(frozen=True, kw_only=True)
class _Built:
    """One set of data in the cache, and the seconds that checking it took."""

    vocab_size: int
    train_tokens: int
    blocks: tuple[int, int]
    seconds: float


def _built(configs: Mapping[str, TrialConfig], preparation: Preparation) -> dict[str, _Built]:
    """The sets of data that are in the cache."""
    found = {}
    for key, config in configs.items():
        begun = time.perf_counter()
        try:
            with only_what_is_built():
                data, _ = preparation.run(replace(config, teacher=WITHOUT_TABLE))
        except NotBuilt:
            continue
        found[key] = _Built(
            vocab_size=data.train.vocab_size,
            train_tokens=len(data.train.stream_N),
            blocks=(len(data.train.ids_BxT), len(data.eval.ids_BxT)),
            seconds=time.perf_counter() - begun,
        )
    return found


def _teachers(
    spec: Spec, places: Mapping[str, str], preparation: Preparation, built: Collection[str]
) -> dict[str, float]:
    """Seconds of finding each teacher that is in the cache, by teacher_key; built: data keys of text in the cache."""
    found = {}
    configs = [config for config in spec.configs() if data_key(config) in built]
    for key, config in {teacher_key(config): config for config in configs}.items():
        begun = time.perf_counter()
        with suppress(NotBuilt), only_what_is_built():
            preparation.run(placed(config, places))
            found[key] = time.perf_counter() - begun
    return found


def _estimated(left: Mapping[str, TrialConfig], built: Mapping[str, _Built], teachers: Mapping[str, float]) -> DataSize:
    """Estimate the size of data of which the sets `left` are not prepared, from a sample of rows of the first."""
    config = next(iter(left.values()))
    corpus, spec = open_corpus(config.corpus), config.tokens.tokenizer
    texts, characters_a_row = _sample(corpus)
    read = sum(map(len, texts))

    # 1 a tokenizer like that of the run, and the tokens that it makes of the sample
    begun = time.perf_counter()
    if is_trained(spec):
        encoder = train_bpe(pieces_of(texts, WORD, read), asked := int(spec.removeprefix("train:")))
        vocab_size = asked if corpus.rows > len(texts) else encoder.get_vocab_size()
    else:
        encoder = given_tokenizer(spec, config.tokens.eos).encoder
        vocab_size = encoder.get_vocab_size()
    training = (time.perf_counter() - begun) / read  # seconds per character
    begun = time.perf_counter()
    tokens = sum(len(encoding.ids) for encoding in encoder.encode_batch(texts)) / read  # per character
    encoding = (time.perf_counter() - begun) / read
    tokens_a_row = tokens * characters_a_row + 1

    # 2 the blocks of each set, and the rows that are still to be tokenised
    blocks = {key: one.blocks for key, one in built.items()}
    rows, seconds = 0, sum(one.seconds for one in built.values())
    for key, one in left.items():
        split = split_rows(corpus.rows, one.corpus)
        train_rows, eval_rows = sum(map(len, split.train_parts)), len(split.eval_part)
        per_block = one.tokens.context * (FILLED if one.tokens.packing == "as_published" else 1)
        blocks[key] = (
            max(1, int(train_rows * tokens_a_row / per_block)),
            max(1, int(eval_rows * tokens_a_row / per_block)),
        )
        rows += train_rows + eval_rows
        if is_trained(spec):  # each set trains its own tokenizer
            seconds += training * min(TRAINED_ON, train_rows * characters_a_row)
    if not is_trained(spec):  # rows that sets share are tokenised once
        rows = min(rows, corpus.rows)
    first_rows = sum(map(len, split_rows(corpus.rows, config.corpus).train_parts))
    return DataSize(
        vocab_size=vocab_size,
        train_tokens=int(first_rows * tokens_a_row),
        blocks=blocks,
        seconds=seconds + encoding * rows * characters_a_row,
        teachers=teachers,
    )


def _sample(corpus: Corpus) -> tuple[list[str], float]:
    """Beginnings of rows spread over the first SPREAD_ROWS, and the mean number of characters of a row."""
    among = min(corpus.rows, SPREAD_ROWS)
    row_ids = np.unique(np.linspace(0, among - 1, min(among, SAMPLE_ROWS)).astype(np.int64))
    whole = list(corpus.texts(row_ids))
    texts = [text[:ROW_CHARACTERS] for text in whole if text.strip()] or [" "]
    return texts, max(1.0, sum(map(len, whole)) / len(row_ids))
