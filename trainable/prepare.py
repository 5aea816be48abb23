"""From a config to everything a run reads: corpus -> split -> tokenizer -> blocks -> counts -> teacher table.

Each product is cached under a fingerprint of what shapes it, so preparing again costs a check. Free of Ray: this is
also how a run starts on a machine without it.
"""

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from trainable.config import TrialConfig
from trainable.errors import InputError
from trainable.plan import data_key, table_key
from trainable.record.cache import cache_folder
from trainable.student.train import RunData
from trainable.teacher.build import Counter, teacher_loss, teacher_table
from trainable.teacher.table import BigramTable
from trainable.text.blocks import TokenBlocks, joined_blocks, separable, token_blocks
from trainable.text.corpus import Corpus, open_corpus
from trainable.text.split import Parts, split_rows, teacher_parts
from trainable.text.tokenizer import TextTokenizer, corpus_tokenizer
from trainable.text.workers import LOCAL, Workers

BlocksByKey = dict[str, tuple[TokenBlocks, TokenBlocks]]  # training, validation; by data_key
TablesByKey = dict[str, BigramTable]  # by table_key


class Prepared(NamedTuple):
    """What the trials of a sweep read."""

    blocks: BlocksByKey
    tables: TablesByKey
    facts: dict[str, Any]  # for the record

    @property
    def nbytes(self) -> int:
        """What goes into the object store: each set of blocks and each table once."""
        blocks = [block for pair in self.blocks.values() for block in pair]
        streams = sum(block.stream_N.nbytes for block in blocks)
        lengths = sum(block.lengths_B.nbytes for block in blocks if block.lengths_B is not None)
        arrays = [a for table in self.tables.values() for a in vars(table).values() if hasattr(a, "nbytes")]
        return int(streams + lengths + sum(array.nbytes for array in arrays))


def prepare_run(
    config: TrialConfig,
    cache: Path | None = None,
    say: Callable[[str], None] = lambda text: None,
    workers: Workers = LOCAL,
    counter: Counter | None = None,
) -> tuple[RunData, dict[str, Any]]:
    """The data of a run with its teacher's table, and the facts about them for the record.

    `say` hears a line a product; `workers` tokenise and count, with the same results whoever they are; a `counter` that
    several runs share counts for each only what no other had counted.
    Raises InputError for anything wrong with corpus, tokenizer or settings.
    """
    cache = cache or cache_folder()
    corpus = open_corpus(config.corpus)
    split = split_rows(corpus.rows, config.corpus)
    say(f"corpus {corpus.name}: {corpus.rows:,} rows" + (" (four novels of 1 MB)" if corpus.demonstration else ""))
    tokenizer = corpus_tokenizer(config.tokens.tokenizer, corpus, split.train, cache)

    def tokenised(parts: Parts, label: str) -> list[TokenBlocks]:
        rows = separable(parts, config.tokens)
        of = partial(token_blocks, corpus, tokenizer=tokenizer, config=config.tokens, cache=cache, workers=workers)
        return [of(rows_R, label=label) for rows_R in rows]

    train_parts = tokenised(split.train_parts, "training rows")
    train = joined_blocks(train_parts, cache, f"training rows of {corpus.name}")
    held_out = joined_blocks(tokenised((split.eval,), "validation rows"), cache, f"validation rows of {corpus.name}")
    _require_batch(config, train)
    say(_blocks_line("training", train) + "; " + _blocks_line("validation", held_out))
    counted = train_parts
    if config.teacher.rows != "student":
        counted = tokenised(teacher_parts(split, config.teacher.rows), "teacher's rows")
    table = teacher_table(config.teacher, counted, tokenizer, cache, counter or Counter(workers))
    facts = _facts(config, corpus, tokenizer, train, held_out, table)
    say(
        f"teacher {table.smoothing} on {table.rows} rows: {len(table.values):,} bigrams of "
        f"{table.counted_tokens:,} tokens; its own validation loss {_shown(facts['teacher']['eval_loss'])}"
    )
    return RunData(train=train, eval=held_out, table=table), facts


def prepare_runs(
    configs: Iterable[TrialConfig],
    cache: Path | None = None,
    say: Callable[[str], None] = lambda text: None,
    workers: Workers = LOCAL,
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
    counter = Counter(workers)

    def say_once(text: str) -> None:
        if text not in heard:
            say(text)
        heard[text] = None

    for key, config in reversed(distinct.items()):
        data, facts_here = prepare_run(config, cache, say_once, workers, counter)
        assert data.table is not None
        blocks.setdefault(data_key(config), (data.train, data.eval))
        tables[key] = data.table
        facts = facts or facts_here
        ours = {"blocks": data_key(config), "tokenizer": facts_here["tokenizer"]["fingerprint"]}
        listed[key] = facts_here["teacher"] | ours
    return Prepared(blocks, tables, facts | {"tables": listed})


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
