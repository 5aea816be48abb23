"""The command `python -m trainable.teacher`: make a teacher table for your own text and tokenizer, without a sweep.

    python -m trainable.teacher --corpus books.parquet --tokenizer my_tokenizer --order 3 --out table.bigram

Rows are chosen, tokenised and counted as for a sweep (prepare.py) and kept in the same cache, so a later sweep with
the same rows and tokenizer does not repeat this work. The file is written whole or not at all, and before the cost of
a step is measured.
"""

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import tyro

from trainable.config import Smoothing, TrialConfig, from_text, override
from trainable.errors import InputError, first_line, require
from trainable.record.cache import cache_folder, check_cache
from trainable.record.files import atomic_file, user_path
from trainable.record.home import ensure_home
from trainable.record.option import described, in_options, option
from trainable.record.printing import steady_output
from trainable.text.corpus import open_corpus
from trainable.text.split import split_rows
from trainable.text.tokenizer.reading import read_sample, reading_lines, tokenizer_lines
from trainable.text.tokenizer.tokenizer import given_tokenizer, is_trained, known_vocab_size

if TYPE_CHECKING:
    from trainable.prepare import Preparation

DESCRIPTION: Final = (
    "Make a teacher table of bigrams or longer n-grams for your own text and tokenizer. Prints its size, its own loss "
    "on rows that were not counted, and the cost of a guided step on this machine."
)
USAGE_ERROR, INTERRUPTED = 2, 130  # exit statuses
KNESER_NEY: Final = "modified_kneser_ney"
TOKENIZER_ENDING: Final = ".tokenizer.json"  # of the file, beside the table, with the tokenizer that was trained for it


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of the command."""

    # --- text ---
    corpus: str
    """builtin (four novels, 1 MB), a path (parquet, jsonl, csv, txt, folder, quoted 'pattern*'), or a hub id"""
    tokenizer: str
    """folder with tokenizer.json, such a file, a hub id, or train:SIZE to train one, written to OUT.tokenizer.json"""
    eos: Annotated[str | None, option("TOKEN", "the end-of-text token that the tokenizer's own files name")] = None
    """token that ends a row"""
    column: str = "text"
    """text column of the corpus"""
    split: str = "train"
    """official split to read, where files, folders or a data set are named by splits; all: all splits together"""
    revision: Annotated[str | None, option("STR", "the newest")] = None
    """revision (branch, tag or commit) of a hub id"""
    train_rows: Annotated[int | None, option("INT", "all")] = None
    """rows to count, from the training split"""
    eval_rows: Annotated[int | None, option("INT", "all")] = None
    """rows of the validation split, on which the table's own loss is measured and which are not counted"""
    test_fraction: float = 0.2
    """share of the corpus's rows in the validation split"""
    split_seed: int = 42
    """seed of the permutation that splits the rows"""
    context: int = 128
    """tokens in a block, for the loss on held-out rows and for the measured step; counts do not depend on it"""

    # --- table ---
    order: int = 2
    """tokens of an n-gram, the predicted one included: 2 makes a bigram table, 3 to 5 an n-gram table"""
    smoothing: Annotated[Smoothing, option("METHOD")] = KNESER_NEY
    """smoothing method of order 2 (trainable/teacher/smoothing.py); longer n-grams allow only modified_kneser_ney"""
    strength: Annotated[float | None, option("FLOAT", "the default of the method")] = None
    """k of add_k, or lambda of jelinek_mercer"""
    min_count: str = "1"
    """n-grams seen fewer times leave the table; from order 3 on also one number for each order from 2, such as 1,2,2"""

    # --- result ---
    out: Path
    """file to write; it must not exist yet"""
    cost: bool = True
    """measure the time of a guided step against a plain one on this machine: some seconds to half a minute"""


# {option: setting that it sets}; messages name the option.
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
    """Run the command with these arguments. Returns the exit status: 0; 2 for bad input; 130 if interrupted."""
    with steady_output():
        if (said := ensure_home()) is not None:
            print(said)
        try:
            make_table(
                tyro.cli(
                    Options, prog="python -m trainable.teacher", description=described(DESCRIPTION), args=arguments
                )
            )
        except InputError as error:
            return _refuse(in_options(str(error), SETTINGS))
        except ImportError as error:
            return _refuse(f"a library cannot be imported ({first_line(error)}): mend the installation.")
        except OSError as error:
            return _refuse(f"{error.filename} cannot be used ({error.strerror or error}): change its permissions.")
        except KeyboardInterrupt:
            print("Interrupted; the same command goes on with what is prepared.")
            return INTERRUPTED
        return 0


def make_table(options: Options) -> None:
    """Write the table that the options ask for, and describe it. Raises InputError, where possible before any work."""
    # 1 check all that can be checked before tokenising
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

    # 2 make the table
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
            beside.unlink(missing_ok=True)  # the tokenizer is of no use without its table
        raise InputError(
            f"--out {out} could not be written ({error.strerror or error}): give a file on a disk with room."
        ) from None

    # 3 describe the table
    print(f"Wrote {out}: {size_words(data, out)}.")
    if beside is not None:
        print(f"Wrote {beside}: the tokenizer, trained on the counted rows.")
    print(loss_line(facts, data))
    if options.cost:
        print(cost_line(config, data))
    print(*use_lines(out), sep="\n")


def config_of(options: Options) -> TrialConfig:
    """Settings that the options give. Raises InputError for a value out of range."""
    require(
        options.order == 2 or options.smoothing == KNESER_NEY,
        f"--smoothing is {options.smoothing} but n-grams of --order {options.order} allow only {KNESER_NEY}: leave "
        "out --smoothing.",
    )
    given = {setting: getattr(options, name) for name, setting in SETTINGS.items()}
    given["teacher.min_count"] = from_text("teacher.min_count", options.min_count)
    return override(
        TrialConfig(),
        given | {"teacher.kind": "bigram" if options.order == 2 else "ngram", "loop.batch_blocks": 1},
    )


def check_new_file(path: Path) -> None:
    """Raise InputError unless `path` is free and a file can be made there; no file is left behind."""
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
            f"--out {path} cannot be written ({there}: {error.strerror or error}): give a file in a folder that you "
            "can write to."
        ) from None


def write_tokenizer(preparation: "Preparation", config: TrialConfig, path: Path) -> None:
    """Write the tokenizer that was trained for a table, in the format of tokenizer.json."""
    with atomic_file(path, "w") as stream:
        stream.write(preparation.tokenizer(config).encoder.to_str(pretty=True))


def tell(line: str) -> None:
    """Print a line about prepared data."""
    print(f"  {in_options(line, SETTINGS)}", flush=True)


def _refuse(said: str) -> int:
    print(f"error: {said}", file=sys.stderr)
    return USAGE_ERROR
