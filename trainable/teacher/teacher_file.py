"""A teacher from the file of its table, whichever kind of table that is: the first bytes of the file say so.

teacher = load_teacher("table.bigram")  # made by `python -m trainable.teacher`, save_table or save_ngrams
"""

from pathlib import Path
from typing import Final

import torch

from trainable.errors import InputError, require
from trainable.record.files import require_fetched, user_path
from trainable.teacher.answers import ANSWER_FILE
from trainable.teacher.kinds.bigram import BigramTeacher
from trainable.teacher.kinds.ngram import NgramTeacher
from trainable.teacher.ngram_table import NGRAM_FILE
from trainable.teacher.table import BIGRAM_FILE
from trainable.teacher.teacher import RowTeacher

TEACHERS: Final[dict[bytes, type[RowTeacher]]] = {BIGRAM_FILE.magic: BigramTeacher, NGRAM_FILE.magic: NgramTeacher}
MAGIC_BYTES: Final = 8
MAKING: Final = "make it with python -m trainable.teacher"


def load_teacher(
    path: Path | str,
    device: torch.device | str = "cpu",
    *,
    product: torch.dtype | None = None,
    expect_tokenizer: str | None = None,
) -> RowTeacher:
    """The teacher whose table lies in the file `path`, of bigrams or of longer n-grams, ready for `teacher.guide(...)`.

    device: where the student is. product: dtype of the teacher's matrix products on a GPU, such as torch.bfloat16 for
    a student under autocast; None: that of the student's output matrix. expect_tokenizer: fingerprint of the student's
    tokenizer, where it is known.
    `teacher.table` is the table, memory-mapped, after a check of every byte; its `vocab_size` is the least number of
    rows that the student's output matrix may have.
    Raises InputError if the file is missing, no such table, of another format version or of another tokenizer than the
    expected one, and DamagedFile where a byte is not what was written.
    """
    path = user_path(path)
    magic = _magic(path)
    require(
        magic != ANSWER_FILE.magic,
        f"{path} holds a model's answers to the training blocks of one run, which teach nobody else: give the table of "
        f"bigrams or n-grams, or {MAKING}.",
    )
    kind = TEACHERS.get(magic)
    if kind is None:
        raise InputError(f"{path} is no table of bigrams or n-grams, or its beginning is damaged: {MAKING}.")
    assert kind.table_file is not None
    return kind(kind.table_file.load(path, expect_tokenizer), device, product=product)


def _magic(path: Path) -> bytes:
    """The first bytes of a file. Raises InputError where it cannot be read."""
    try:
        require_fetched(path)
        with open(path, "rb") as stream:
            return stream.read(MAGIC_BYTES)
    except FileNotFoundError:
        raise InputError(f"the teacher's table {path} does not exist: correct the path, or {MAKING}.") from None
    except OSError as error:
        raise InputError(
            f"the teacher's table {path} cannot be read ({error.strerror or error}): correct the path, or {MAKING}."
        ) from None
