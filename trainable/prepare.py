"""From a config to everything a run reads: corpus -> split -> tokenizer -> blocks -> counts -> teacher table.

Each product is cached under a fingerprint of what shapes it, so preparing again costs a check. Free of Ray: this is
also how a run starts on a machine without it.
"""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from trainable.bigram import BigramTable, cross_entropy, shuffled
from trainable.bigram_file import load_table, save_table
from trainable.cache import Manifest, built_once, cache_folder
from trainable.config import TeacherConfig, TrialConfig
from trainable.corpus import Corpus, open_corpus
from trainable.counts import BigramCounts, count_blocks, count_stream
from trainable.errors import InputError
from trainable.files import fingerprint
from trainable.plan import data_key, table_key
from trainable.smoothing import estimate, uniform, unigram
from trainable.split import split_rows, teacher_rows
from trainable.tokenizer import TextTokenizer, corpus_tokenizer
from trainable.tokens import TokenBlocks, token_blocks
from trainable.train import RunData

BlocksByKey = dict[str, tuple[TokenBlocks, TokenBlocks]]  # training, validation; by data_key
TablesByKey = dict[str, BigramTable]  # by table_key
TABLE_FORMAT = 2  # raise when the same settings give another table
TABLE_FILE = "table.bigram"
SHUFFLE_SEED = 0


class Prepared(NamedTuple):
    """What the trials of a sweep read."""

    blocks: BlocksByKey
    tables: TablesByKey
    facts: dict[str, Any]  # for the record


def prepare_run(
    config: TrialConfig, cache: Path | None = None, say: Callable[[str], None] = lambda text: None
) -> tuple[RunData, dict[str, Any]]:
    """The data of a run with its teacher's table, and the facts about them for the record.

    `say` hears a line a product. Raises InputError for anything wrong with corpus, tokenizer or settings.
    """
    cache = cache or cache_folder()
    corpus = open_corpus(config.corpus)
    split = split_rows(corpus.rows, config.corpus)
    say(f"corpus {corpus.name}: {corpus.rows:,} rows" + (" (a demonstration)" if corpus.demonstration else ""))
    tokenizer = corpus_tokenizer(config.tokens.tokenizer, corpus, split.train, cache)
    train = token_blocks(corpus, split.train, tokenizer, config.tokens, cache, label="training rows")
    held_out = token_blocks(corpus, split.eval, tokenizer, config.tokens, cache, label="validation rows")
    _require_batch(config, train)
    say(_blocks_line("training", train) + "; " + _blocks_line("validation", held_out))
    counted = train
    if config.teacher.rows != "student":
        rows_R = teacher_rows(split, config.teacher.rows)
        counted = token_blocks(corpus, rows_R, tokenizer, config.tokens, cache, label="teacher's rows")
    table = teacher_table(config.teacher, counted, tokenizer, cache)
    facts = _facts(config, corpus, tokenizer, train, held_out, table)
    say(
        f"teacher {table.smoothing} on {table.rows} rows: {len(table.values):,} bigrams of "
        f"{table.counted_tokens:,} tokens; its own validation loss {_shown(facts['teacher']['eval_loss'])}"
    )
    return RunData(train=train, eval=held_out, table=table), facts


def prepare_runs(
    configs: Iterable[TrialConfig], cache: Path | None = None, say: Callable[[str], None] = lambda text: None
) -> Prepared:
    """The data of several runs, each set of blocks and each table once.

    The facts are those of the first config, with all tables listed under "tables". Raises InputError as `prepare_run`.
    """
    distinct = {table_key(config): config for config in reversed(list(configs))}
    blocks: BlocksByKey = {}
    tables: TablesByKey = {}
    facts: dict[str, Any] = {}
    listed: dict[str, Any] = {}
    heard: dict[str, None] = {}

    def say_once(text: str) -> None:
        if text not in heard:
            say(text)
        heard[text] = None

    for key, config in reversed(distinct.items()):
        data, facts_here = prepare_run(config, cache, say_once)
        assert data.table is not None
        blocks.setdefault(data_key(config), (data.train, data.eval))
        tables[key] = data.table
        facts = facts or facts_here
        listed[key] = facts_here["teacher"] | {"blocks": data_key(config)}
    return Prepared(blocks, tables, facts | {"tables": listed})


def teacher_table(teacher: TeacherConfig, blocks: TokenBlocks, tokenizer: TextTokenizer, cache: Path) -> BigramTable:
    """The bigram table of `blocks` under the teacher's smoothing, from the cache or counted now."""
    shaping = [
        TABLE_FORMAT,
        blocks.fingerprint,
        teacher.kind,
        teacher.smoothing,
        teacher.smoothing_strength,
        teacher.rows,
    ]
    folder = cache / "tables" / fingerprint(shaping)

    def build(into: Path) -> Manifest:
        save_table(make_table(teacher, blocks, tokenizer.fingerprint), into / TABLE_FILE)
        return {"shaping": shaping}

    built_once(folder, build)
    return load_table(folder / TABLE_FILE, expect_tokenizer=tokenizer.fingerprint)


def make_table(teacher: TeacherConfig, blocks: TokenBlocks, tokenizer: str) -> BigramTable:
    """The teacher of the kind asked for; `tokenizer` is its fingerprint."""
    if teacher.kind == "uniform":
        return uniform(blocks.vocab_size, tokenizer_fingerprint=tokenizer)
    counts = count(blocks)
    if teacher.kind == "unigram":
        return unigram(counts, tokenizer_fingerprint=tokenizer, rows=teacher.rows)
    strength = teacher.smoothing_strength
    table = estimate(counts, teacher.smoothing, strength, tokenizer_fingerprint=tokenizer, rows=teacher.rows)
    return shuffled(table, SHUFFLE_SEED) if teacher.kind == "shuffled" else table


def count(blocks: TokenBlocks) -> BigramCounts:
    """All bigrams of the blocks' text; padding is not counted."""
    if blocks.lengths_B is not None:
        return count_blocks(blocks.ids_BxT, blocks.lengths_B, blocks.vocab_size)
    return count_stream(
        blocks.stream_N, blocks.vocab_size, first_context=blocks.eos_id, threads=min(4, os.cpu_count() or 1)
    )


def teacher_loss(table: BigramTable, blocks: TokenBlocks) -> float | None:
    """What the teacher itself scores on validation blocks, nats per token; None where it gives a target no chance."""
    ids_BxT = blocks.ids_BxT
    prev_BxT, next_BxT = ids_BxT[:, :-1], ids_BxT[:, 1:]
    if blocks.lengths_B is not None:
        real_BxT = np.arange(1, ids_BxT.shape[1]) < blocks.lengths_B[:, None]
        prev_BxT, next_BxT = prev_BxT[real_BxT], next_BxT[real_BxT]
    loss = cross_entropy(table, prev_BxT.ravel(), next_BxT.ravel())
    return loss if np.isfinite(loss) else None


def _require_batch(config: TrialConfig, train: TokenBlocks) -> None:
    """Raise InputError where an optimizer step is more than an epoch: it would repeat blocks within a batch."""
    wanted, found = config.loop.batch_blocks * config.loop.accumulation, len(train.ids_BxT)
    if wanted > found:
        raise InputError(
            f"a step takes loop.batch_blocks x loop.accumulation = {wanted:,} blocks but the training rows of "
            f"{config.corpus.source} give {found:,}: lower loop.batch_blocks, or give more rows."
        )


def _facts(
    config: TrialConfig,
    corpus: Corpus,
    tokenizer: TextTokenizer,
    train: TokenBlocks,
    held_out: TokenBlocks,
    table: BigramTable,
) -> dict[str, Any]:
    return {
        "corpus": {
            "source": corpus.name,
            "fingerprint": corpus.fingerprint,
            "rows": corpus.rows,
            "train_rows": train.rows,
            "eval_rows": held_out.rows,
            "empty_rows": train.empty_rows + held_out.empty_rows,
            "demonstration": corpus.demonstration,
        },
        "tokenizer": {
            "spec": config.tokens.tokenizer,
            "fingerprint": tokenizer.fingerprint,
            "vocab_size": tokenizer.vocab_size,
        },
        "tokens": {
            "train_tokens": len(train.stream_N),
            "eval_tokens": len(held_out.stream_N),
            "train_blocks": len(train.ids_BxT),
            "eval_blocks": len(held_out.ids_BxT),
            "fingerprints": [train.fingerprint, held_out.fingerprint],
        },
        "teacher": {
            "rows": table.rows,
            "smoothing": table.smoothing,
            "bigrams": len(table.values),
            "counted_tokens": table.counted_tokens,
            "checksum": table.checksum,
            "eval_loss": teacher_loss(table, held_out),
        },
    }


def _blocks_line(name: str, blocks: TokenBlocks) -> str:
    empty = f", {blocks.empty_rows:,} empty rows dropped" if blocks.empty_rows else ""
    return f"{name} {blocks.rows:,} rows -> {len(blocks.ids_BxT):,} blocks of {blocks.ids_BxT.shape[1]}{empty}"


def _shown(loss: float | None) -> str:
    return "infinite (mle gives unseen pairs no chance)" if loss is None else f"{loss:.4f}"
