"""The command `python -m trainable.teacher`: a teacher's table for one's own text and tokenizer, without a sweep.

    python -m trainable.teacher --corpus books.parquet --tokenizer my_tokenizer --order 3 --out table.bigram

Rows are chosen, tokenised and counted as for a sweep (prepare.py), in the same cache: a sweep of the same rows and
tokenizer finds them done. The file is written whole or not at all, and before the cost of a step is measured.
"""

import re
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import tyro

from trainable.config import Smoothing, TrialConfig, from_text, override
from trainable.errors import InputError, first_line, require
from trainable.record.cache import cache_folder, check_cache
from trainable.record.files import atomic_file, user_path
from trainable.record.home import ensure_home
from trainable.record.printing import steady_output
from trainable.text.corpus import open_corpus
from trainable.text.split import split_rows
from trainable.text.tokenizer.reading import read_sample, reading_lines, tokenizer_lines
from trainable.text.tokenizer.tokenizer import given_tokenizer, is_trained, known_vocab_size

if TYPE_CHECKING:
    from trainable.prepare import Preparation

DESCRIPTION: Final = (
    "Make a teacher's table of bigrams or longer n-grams for your own text and tokenizer. Says its size, its own loss "
    "on rows that were not counted, and what a guided step costs on this machine."
)
USAGE_ERROR, INTERRUPTED = 2, 130  # exit statuses
KNESER_NEY: Final = "modified_kneser_ney"
TOKENIZER_ENDING: Final = ".tokenizer.json"  # of the tokenizer that was trained for a table, beside it


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of the command."""

    # --- text ---
    corpus: str
    """builtin (four novels, 1 MB), a path (parquet, jsonl, csv, txt, folder, quoted 'pattern*'), or a hub id"""
    tokenizer: str
    """folder with tokenizer.json, such a file, a hub id, or train:<vocabulary size>, which trains one on the counted
    rows and writes it to OUT.tokenizer.json"""
    eos: str | None = None
    """the token that ends a row; None: the one that the tokenizer's own files name"""
    column: str = "text"
    """text column of the corpus"""
    split: str = "train"
    """official split to read, where files, folders or a data set are named by splits; all: as one"""
    revision: str | None = None
    """of a hub id"""
    train_rows: int | None = None
    """rows to count, from the training split; None: all"""
    eval_rows: int | None = None
    """rows to measure the table's own loss on, from the validation split, which is not counted; None: all"""
    test_fraction: float = 0.2
    """share of the corpus's rows in the validation split"""
    split_seed: int = 42
    """of the permutation that splits the rows"""
    context: int = 128
    """tokens in a block, for the loss on held-out rows and for the measured step; counts do not depend on it"""

    # --- table ---
    order: int = 2
    """tokens of an n-gram, the predicted one included: 2 makes a bigram table, 3 to 5 an n-gram table"""
    smoothing: Smoothing = KNESER_NEY
    """of order 2; longer n-grams know modified_kneser_ney alone"""
    strength: float | None = None
    """k of add_k, lambda of jelinek_mercer; None: the method's own"""
    min_count: str = "1"
    """n-grams seen fewer times leave the table; from order 3 on also a number for each order from 2, as in 1,2,2"""

    # --- what comes out ---
    out: Path
    """file to write; it must not exist yet"""
    cost: bool = True
    """measure what a guided step costs here, against a plain one: some seconds to half a minute"""


# The setting that each option gives; messages name settings, and users know options.
SETTINGS: Final = {
    "corpus": "corpus.source",
    "tokenizer": "tokens.tokenizer",
    "eos": "tokens.eos",
    "column": "corpus.column",
    "split": "corpus.split",
    "revision": "corpus.revision",
    "train_rows": "corpus.train_rows",
    "eval_rows": "corpus.eval_rows",
    "test_fraction": "corpus.test_fraction",
    "split_seed": "corpus.split_seed",
    "context": "tokens.context",
    "order": "teacher.order",
    "smoothing": "teacher.smoothing",
    "strength": "teacher.smoothing_strength",
    "min_count": "teacher.min_count",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, check, make the table, say what it is. Returns the exit status: 0; 2 for bad input; 130 if interrupted."""
    with steady_output():
        if (said := ensure_home()) is not None:
            print(said)
        try:
            make_table(tyro.cli(Options, prog="python -m trainable.teacher", description=DESCRIPTION, args=arguments))
        except InputError as error:
            return _refuse(in_options(str(error)))
        except ImportError as error:
            return _refuse(f"a library cannot be imported ({first_line(error)}): mend the installation.")
        except OSError as error:
            return _refuse(f"{error.filename} cannot be used ({error.strerror or error}): change its permissions.")
        except KeyboardInterrupt:
            print("Interrupted; the same command goes on with what is prepared.")
            return INTERRUPTED
        return 0


def make_table(options: Options) -> None:
    """Write the table of the options, and print what it is. Raises InputError, before any work where it can be."""
    # 1 what can be wrong, before anything is tokenised
    config, out = config_of(options), user_path(options.out)
    beside = Path(f"{out}{TOKENIZER_ENDING}") if is_trained(options.tokenizer) else None
    for path in filter(None, (out, beside)):
        check_new_file(path)
    check_cache()
    known_vocab_size(options.tokenizer, options.eos)
    corpus = open_corpus(config.corpus)
    split_rows(corpus.rows, config.corpus)
    for line in corpus.notes:
        tell(f"corpus {corpus.name}: {line}")
    if beside is None:
        tokenizer = given_tokenizer(options.tokenizer, options.eos)
        for line in (*tokenizer_lines(tokenizer), *reading_lines(read_sample(tokenizer, corpus), tokenizer)):
            tell(line)

    # 2 the table
    from trainable.prepare import Preparation  # imports PyTorch
    from trainable.table_words import cost_line, loss_line, size_words, use_lines
    from trainable.teacher.kinds import teacher_class
    from trainable.teacher.teacher import RowTeacher
    from trainable.text.workers import LOCAL

    preparation = Preparation(cache_folder(), tell, LOCAL)
    data, facts = preparation.run(config)
    kind = teacher_class(config.teacher.kind)
    assert issubclass(kind, RowTeacher) and kind.table_file is not None and data.table is not None
    try:
        if beside is not None:
            write_tokenizer(preparation, config, beside)
        kind.table_file.save(data.table, out)
    except OSError as error:
        if beside is not None:
            beside.unlink(missing_ok=True)  # a tokenizer without its table is of no use
        raise InputError(
            f"--out {out} could not be written ({error.strerror or error}): give a file on a disk with room."
        ) from None

    # 3 what it is
    print(f"Wrote {out}: {size_words(data, out)}.")
    if beside is not None:
        print(f"Wrote {beside}: the tokenizer, trained on the counted rows.")
    print(loss_line(facts, data))
    if options.cost:
        print(cost_line(config, data))
    print(*use_lines(out), sep="\n")


def config_of(options: Options) -> TrialConfig:
    """The settings of the options. Raises InputError for a value out of range."""
    require(
        options.order == 2 or options.smoothing == KNESER_NEY,
        f"--smoothing is {options.smoothing} but n-grams of --order {options.order} know {KNESER_NEY} alone: leave "
        "--smoothing out.",
    )
    given = {setting: getattr(options, name) for name, setting in SETTINGS.items()}
    given["teacher.min_count"] = from_text("teacher.min_count", options.min_count)
    return override(
        TrialConfig(),
        given | {"teacher.kind": "bigram" if options.order == 2 else "ngram", "loop.batch_blocks": 1},
    )


def check_new_file(path: Path) -> None:
    """Raise InputError unless a file can be made there, and none is there yet; nothing stays behind."""
    require(not path.is_dir(), f"--out {path} is a folder: name a file in it, such as {path / 'table.bigram'}.")
    require(
        not path.exists() and not path.is_symlink(), f"{path} exists already: give another --out, or remove it first."
    )
    there = next(folder for folder in path.absolute().parents if folder.exists())
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise InputError(
            f"--out {path} cannot be written, for {there} takes no file ({error.strerror or error}): give a file in a "
            "folder that you can write to."
        ) from None


def write_tokenizer(preparation: "Preparation", config: TrialConfig, path: Path) -> None:
    """Write the tokenizer that was trained for a table as a tokenizer.json."""
    with atomic_file(path, "w") as stream:
        stream.write(preparation.tokenizer(config).encoder.to_str(pretty=True))


def in_options(text: str) -> str:
    """A message with the options of this command in place of the settings that it names."""
    by_setting = {setting: f"--{name.replace('_', '-')}" for name, setting in SETTINGS.items()}
    longest_first = sorted(by_setting, key=len, reverse=True)
    pattern = rf"(?:--set )?\b({'|'.join(map(re.escape, longest_first))})\b"
    return re.sub(pattern, lambda found: by_setting[found.group(1)], text)


def tell(line: str) -> None:
    """Print a line on what is prepared."""
    print(f"  {in_options(line)}", flush=True)


def _refuse(said: str) -> int:
    print(f"error: {said}", file=sys.stderr)
    return USAGE_ERROR
