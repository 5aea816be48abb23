"""Prepare everything that a run reads: corpus -> split -> tokenizer -> blocks -> counts -> teacher table.

Each product is cached on disk under a fingerprint of its inputs, so preparing it again only checks its files. A
`Preparation` also keeps each product in memory: the runs of a sweep open, hash, permute, tokenise and count nothing
twice, and the rows of all runs are read and tokenised in one pass over the corpus. This module does not need Ray, so a
run can also be prepared on a machine without Ray.
"""

import functools
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from trainable import names
from trainable.config import CorpusConfig, TeacherConfig, TokensConfig, TrialConfig, identity
from trainable.errors import InputError
from trainable.plan import data_key, placed, table_key, teacher_run
from trainable.record.cache import cache_folder
from trainable.record.files import fingerprint, user_path
from trainable.record.run_record import TeacherFacts
from trainable.student.precision import resolved
from trainable.student.run_data import RunData
from trainable.teacher.build import Counter, teacher_loss, teacher_table
from trainable.teacher.teacher import Table
from trainable.text.blocks import Rows, TokenBlocks, blocks_of_parts, joined_blocks, separable, token_blocks
from trainable.text.corpus import Corpus, open_corpus
from trainable.text.packing import RowCounts
from trainable.text.split import Parts, Split, permuted_rows, split_rows, teacher_parts
from trainable.text.tokenizer.reading import Reading, read_sample, reading_lines
from trainable.text.tokenizer.tokenizer import TextTokenizer, corpus_tokenizer, is_trained
from trainable.text.workers import LOCAL, Workers

if TYPE_CHECKING:
    from trainable.small_teacher import SmallTeacher

BlocksByKey = dict[str, tuple[TokenBlocks, TokenBlocks]]  # training, validation; by data_key
TablesByKey = dict[str, Table]  # by table_key
Product = TypeVar("Product")


class Prepared(NamedTuple):
    """All data that the trials of a sweep read."""

    blocks: BlocksByKey
    tables: TablesByKey
    facts: dict[str, Any]  # about text, tokens and teachers, for run.json

    def vocab_size(self, config: TrialConfig) -> int:
        """Vocabulary size of the tokens that a config reads."""
        return self.blocks[data_key(config)][0].vocab_size

    @property
    def nbytes(self) -> int:
        """Bytes that go into the object store; data that several keys share is stored once."""
        blocks = {id(block): block for pair in self.blocks.values() for block in pair}.values()
        tables = {id(table): table for table in self.tables.values()}.values()
        streams = sum(block.stream_N.nbytes for block in blocks)
        lengths = sum(block.lengths_B.nbytes for block in blocks if block.lengths_B is not None)
        return int(streams + lengths + sum(table.nbytes for table in tables))


def prepare_run(
    config: TrialConfig,
    cache: Path | None = None,
    say: Callable[[str], None] = lambda text: None,
    workers: Workers = LOCAL,
) -> tuple[RunData, dict[str, Any]]:
    """Prepare the blocks and the teacher table of a run; return them with the facts about them for run.json.

    `say` is called with a line about each product. `workers` tokenise and count; results do not depend on their number.
    Raises InputError for anything wrong with corpus, tokenizer or settings.
    """
    return Preparation(cache, say, workers).run(config)


def prepare_runs(
    configs: Iterable[TrialConfig],
    cache: Path | None = None,
    say: Callable[[str], None] = lambda text: None,
    workers: Workers = LOCAL,
    places: Mapping[str, str] | None = None,
) -> Prepared:
    """Prepare the data of several runs, each set of blocks and each table once.

    places: {place in a config: present place} of corpora and tokenizers that have moved since the configs were written.
    The facts are those of the first config, with all tables listed under "tables". Raises InputError as `prepare_run`.
    """
    preparation = Preparation(cache, say, workers)
    distinct: dict[str, TrialConfig] = {}
    for config in configs:
        distinct.setdefault(table_key(config), config)
    here = {key: placed(config, places or {}) for key, config in distinct.items()}
    preparation.expect(here.values())
    blocks: BlocksByKey = {}
    tables: TablesByKey = {}
    facts: dict[str, Any] = {}
    listed: dict[str, Any] = {}
    for key, config in distinct.items():
        blocks_key = data_key(config)
        data, facts_here = preparation.run(here[key])
        blocks[blocks_key] = (data.train, data.eval)
        if data.table is not None:
            tables[key] = data.table
        facts = facts or facts_here
        ours = {"blocks": blocks_key, "tokenizer": facts_here["tokenizer"]["fingerprint"]}
        ours |= {"eval_half": config.corpus.eval_half}
        listed[key] = facts_here["teacher"] | ours
    return Prepared(blocks, tables, facts | {"tables": listed})


# The use of the validation text of corpus.eval_half, in words that follow "validation".
_HALVES: Final = {"whole": "", "choosing": " for choosing", "reporting": " for the verdict"}


class _Text(NamedTuple):
    """Rows of text with their split, and how they become tokens."""

    corpus: Corpus
    split: Split
    seed: int  # of the permutation
    tokenizer: TextTokenizer
    tokens: TokensConfig

    @property
    def key(self) -> tuple[Hashable, ...]:
        """Key that is equal for two texts only if the same parts of both have the same tokens."""
        return (self.corpus.fingerprint, self.corpus.column, self.seed, self.tokens, self.tokenizer.fingerprint)


class Preparation:
    """Prepares the data of runs, and keeps each product for later runs with the same settings."""

    def __init__(self, cache: Path | None, say: Callable[[str], None], workers: Workers) -> None:
        self._cache, self._workers = cache or cache_folder(), workers
        self._say = functools.cache(say)  # says each line once
        self._open = functools.cache(open_corpus)
        self._permuted = functools.cache(permuted_rows)
        self._counter = Counter(workers)
        self._made: dict[Hashable, Any] = {}
        self._expected: dict[Hashable, dict[Parts, str]] = {}  # {text key: {parts: use of their rows}}

    def expect(self, configs: Iterable[TrialConfig]) -> None:
        """Note the rows that later calls of `run` will need: the first call tokenises all of them in one pass."""
        for config in configs:
            text = self._text(config)
            self._expected.setdefault(text.key, {}).update(_groups(text, config))  # of several labels the last is kept

    def run(self, config: TrialConfig) -> tuple[RunData, dict[str, Any]]:
        """Prepare one run; return its data and facts as `prepare_run` does."""
        config = resolved(config)  # a teacher model is trained in the precision of this machine

        # 1 the text: corpus, split of its rows, tokenizer
        text = self._text(config)
        corpus, split, tokenizer = text.corpus, text.split, text.tokenizer

        # 2 the blocks: each part is tokenised once, then parts are joined
        self._tokenise(text, _groups(text, config))
        train_parts = self._blocks(text, split.train_parts)
        train = self._joined(train_parts, f"training rows of {corpus.name}")
        held_out = self._joined(self._blocks(text, (split.eval_part,)), f"validation rows of {corpus.name}")
        _require_batch(config, train)
        use = _HALVES[config.corpus.eval_half]
        self._say(_blocks_line("training", train) + "; " + _blocks_line(f"validation{use}", held_out))
        rows, empty, unread, eos = (
            getattr(train, name) + getattr(held_out, name) for name in ("rows", *RowCounts._fields)
        )
        for line in reading_lines(Reading("training and validation rows", rows - empty, unread, eos), tokenizer):
            self._say(line)

        # 3 the teacher table
        small = self._small_teacher(config, train, tokenizer) if config.teacher.kind == "model" else None
        table = self._table(text, train_parts, config.teacher, small) if config.teacher.has_table else None
        facts = _facts(config, corpus, tokenizer, train, held_out)
        facts["teacher"] = _teacher_facts(config, table, held_out) | ({} if small is None else small.facts(held_out))
        has_content = config.teacher.kind not in names.CONTENT_FREE
        if table is not None and has_content and facts["teacher"]["eval_loss"] is None:
            facts["teacher"]["kneser_ney_loss"] = self._kneser_ney_loss(text, train_parts, config.teacher, held_out)
        self._say(_teacher_line(facts["teacher"], use))
        return RunData(train=train, eval=held_out, table=table), facts

    def tokenizer(self, config: TrialConfig) -> TextTokenizer:
        """Tokenizer of one run."""
        return self._text(config).tokenizer

    def _small_teacher(self, config: TrialConfig, train: TokenBlocks, tokenizer: TextTokenizer) -> "SmallTeacher":
        """Teacher model, shared by all runs with the same training rows and the same settings of this model."""
        from trainable.small_teacher import SmallTeacher  # imports transformers, which other teachers do not need

        shaping = [*config.teacher.table_settings, identity(teacher_run(config)), tokenizer.fingerprint]
        return self._once(
            ("small teacher", train.fingerprint, fingerprint(shaping)),
            lambda: SmallTeacher(config, train, tokenizer, self._cache),
        )

    def _kneser_ney_loss(
        self, text: "_Text", train_parts: list[TokenBlocks], teacher: TeacherConfig, held_out: TokenBlocks
    ) -> float | None:
        """Validation loss of the Kneser-Ney estimate of the same counts; None if there are too few rows for it.

        It takes the place of the loss of the teacher table in comparisons with a student, where that loss is infinite.
        """
        smoothed = replace(teacher, smoothing="modified_kneser_ney", smoothing_strength=None)
        try:
            return teacher_loss(self._table(text, train_parts, smoothed), held_out)
        except InputError:
            return None

    def _table(
        self,
        text: "_Text",
        train_parts: list[TokenBlocks],
        teacher: TeacherConfig,
        small: "SmallTeacher | None" = None,
    ) -> Table:
        """Make the table of a teacher from the counts of its parts, or from the answers of a model."""
        counted = train_parts
        if teacher.rows != "student":
            counted = self._blocks(text, teacher_parts(text.split, teacher.rows))
        asked = None if small is None else small.answers
        return self._once(
            ("table", fingerprint([*(part.fingerprint for part in counted), *teacher.table_settings]), small),
            lambda: teacher_table(teacher, counted, text.tokenizer, self._cache, self._counter, asked),
        )

    def _text(self, config: TrialConfig) -> "_Text":
        """Corpus, split and tokenizer of a run; the tokenizer is given, or trained on the run's own training rows."""
        if config.teacher.kind == "model" and config.teacher.model.folder:  # check this before reading any text
            from trainable.student.given_model import require_model_folder  # imports transformers

            require_model_folder(user_path(config.teacher.model.folder))
        wanted, spec, eos = config.corpus, config.tokens.tokenizer, config.tokens.eos
        corpus = self._open(
            CorpusConfig(source=wanted.source, revision=wanted.revision, column=wanted.column, split=wanted.split)
        )
        split = split_rows(corpus.rows, wanted, self._permuted)
        novels = " (four novels of 1 MB)" if corpus.demonstration else ""
        of_split = f" of split {corpus.split}" if corpus.split else ""
        self._say(f"corpus {corpus.name}: {corpus.rows:,} rows{novels}{of_split}")

        decided_by = (corpus.fingerprint, corpus.column, wanted.split_seed)
        tokenizer = self._once(
            ("tokenizer", spec, eos, (decided_by, split.train_parts) if is_trained(spec) else None),
            lambda: corpus_tokenizer(spec, corpus, split.train, self._cache, eos=eos),
        )
        if not is_trained(spec):
            self._once(("sample", spec, eos, decided_by), lambda: read_sample(tokenizer, corpus))
        return _Text(corpus, split, wanted.split_seed, tokenizer, config.tokens)

    def _tokenise(self, text: "_Text", wanted: dict[Parts, str]) -> None:
        """Make the missing blocks of the wanted and the expected groups; groups of one part are made in one pass."""
        every = self._expected.get(text.key, {}) | wanted
        missing = {group: label for group, label in every.items() if ("blocks", group, *text.key) not in self._made}
        if not missing:
            return
        rows = Rows(text.corpus, text.split.permuted(), ["permuted with seed", text.seed])
        single = {group[0]: label for group, label in missing.items() if len(group) == 1}
        made = blocks_of_parts(rows, single, text.tokenizer, text.tokens, self._cache, workers=self._workers)
        self._made |= {("blocks", (part,), *text.key): blocks for part, blocks in zip(single, made, strict=True)}
        for group, label in missing.items():
            if len(group) > 1:
                row_ids_R = text.split.row_ids(group)
                self._made["blocks", group, *text.key] = token_blocks(
                    text.corpus, row_ids_R, text.tokenizer, text.tokens, self._cache, label=label, workers=self._workers
                )

    def _blocks(self, text: "_Text", parts: Parts) -> list[TokenBlocks]:
        """Blocks of some parts of the split, which `_tokenise` has made."""
        return [self._made["blocks", group, *text.key] for group in separable(parts, text.tokens)]

    def _joined(self, parts: list[TokenBlocks], label: str) -> TokenBlocks:
        key = ("joined", *(part.fingerprint for part in parts))
        return self._once(key, lambda: joined_blocks(parts, self._cache, label))

    def _once(self, key: Hashable, make: Callable[[], Product]) -> Product:
        """Return the product of a key; make it when it is first asked for."""
        if key not in self._made:
            self._made[key] = make()
        product: Product = self._made[key]
        return product


def _groups(text: _Text, config: TrialConfig) -> dict[Parts, str]:
    """Return {group of parts: use of their rows} of all groups whose tokens a run needs."""
    split, teacher = text.split, config.teacher
    wanted = dict.fromkeys(separable(split.train_parts, text.tokens), "training rows")
    wanted |= dict.fromkeys(separable((split.eval_part,), text.tokens), "validation rows")
    if teacher.has_table and teacher.rows != "student":
        for group in separable(teacher_parts(split, teacher.rows), text.tokens):
            wanted.setdefault(group, "teacher's rows")
    return wanted


def _require_batch(config: TrialConfig, train: TokenBlocks) -> None:
    """Raise InputError if an optimizer step takes more blocks than an epoch has, so that it would repeat blocks."""
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
) -> dict[str, Any]:
    """Facts about a run's text and tokens."""
    return {
        "corpus": {
            "source": corpus.name,
            "fingerprint": corpus.fingerprint,
            "rows": corpus.rows,
            "split": corpus.split,
            "train_rows": train.rows,
            "eval_rows": held_out.rows,
            **{name: getattr(train, name) + getattr(held_out, name) for name in RowCounts._fields},
            "demonstration": corpus.demonstration,
        },
        "tokenizer": {
            "spec": config.tokens.tokenizer,
            "fingerprint": tokenizer.fingerprint,
            "vocab_size": tokenizer.vocab_size,
            "eos": tokenizer.special.eos,
            "eos_from": tokenizer.special.eos_from,
            "switched_off": tokenizer.switched_off,
        },
        "tokens": {
            "train_tokens": len(train.stream_N),
            "eval_tokens": len(held_out.stream_N),
            "train_blocks": len(train.ids_BxT),
            "eval_blocks": len(held_out.ids_BxT),
            "fingerprints": [train.fingerprint, held_out.fingerprint],
        },
    }


def _teacher_facts(config: TrialConfig, table: Table | None, held_out: TokenBlocks) -> dict[str, Any]:
    """Facts about a run's teacher: its table, if it has one, and its own loss on the validation blocks."""
    if table is None:
        facts = {"rows": "none", "smoothing": config.teacher.kind, "bigrams": 0, "counted_tokens": 0}
        return facts | {"checksum": "", "eval_loss": None, "kind": config.teacher.kind}
    return table.facts | {"eval_loss": teacher_loss(table, held_out), "kind": config.teacher.kind}


def _blocks_line(name: str, blocks: TokenBlocks) -> str:
    empty = f", {blocks.empty_rows:,} empty rows dropped" if blocks.empty_rows else ""
    return f"{name} {blocks.rows:,} rows -> {len(blocks.ids_BxT):,} blocks of {blocks.ids_BxT.shape[1]}{empty}"


def _teacher_line(facts: Mapping[str, Any], use: str) -> str:
    if not facts["checksum"]:
        return f"teacher {facts['smoothing']}: no table, so no loss of its own"
    own = f"; its own loss on the validation text{use}:" if use else "; its own validation loss"
    loss, smoothed = facts["eval_loss"], facts.get("kneser_ney_loss")
    if loss is not None:
        own += f" {loss:.4f}"
    else:
        own += " infinite, because with mle an unseen pair has probability 0"
        own += "" if smoothed is None else f" ({smoothed:.4f} with modified Kneser-Ney, which smooths the same counts)"
    cut = ", ".join(f"{k}: {cut:.4f}" for k, cut in (facts.get("truncated_losses") or {}).items())
    known = TeacherFacts(**facts)
    if not known.counted_tokens and known.making_seconds is None:
        return f"teacher {known.smoothing} (no text is counted for it){own}"
    from_rows = f"on {known.rows} rows: {known.holds}"
    if known.making_seconds is None:
        return f"teacher {known.smoothing} {from_rows} of {known.counted_tokens:,} tokens{own}"
    return (
        f"teacher {known.smoothing}, trained {from_rows}{own} (by tokens kept {cut}); "
        f"{known.train_seconds:,.0f} s of training, {known.answer_seconds:,.0f} s of asking it"
    )
