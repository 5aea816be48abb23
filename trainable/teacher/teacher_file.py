"""Load a teacher from the file of its table; the first bytes of the file say which kind of table it is.

teacher = load_teacher("table.bigram")  # a file of `python -m trainable.teacher`, save_table or save_ngrams
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
    """Load the teacher whose table of bigrams or longer n-grams is in the file `path`, ready for `teacher.guide(...)`.

    device: device of the student. product: dtype of the teacher's matrix products on a GPU, such as torch.bfloat16 for
    a student under autocast; None: dtype of the student's output matrix. expect_tokenizer: fingerprint of the student's
    tokenizer, if it is known.
    `teacher.table` is the table, memory-mapped, after a check of every byte. The student's output matrix needs at least
    `teacher.table.vocab_size` rows.
    Raises InputError if the file is missing, holds no such table, has another format version, or was counted with
    another tokenizer than the expected one. Raises DamagedFile if a byte differs from what was written.
    """
    path = user_path(path)
    magic = _magic(path)
    require(
        magic != ANSWER_FILE.magic,
        f"{path} holds a model's answers to the training blocks of one run and cannot teach another: give a table of "
        f"bigrams or n-grams, or {MAKING}.",
    )
    kind = TEACHERS.get(magic)
    if kind is None:
        raise InputError(f"{path} is no table of bigrams or n-grams, or its beginning is damaged: {MAKING}.")
    assert kind.table_file is not None
    return kind(kind.table_file.load(path, expect_tokenizer), device, product=product)


def _magic(path: Path) -> bytes:
    """First bytes of a file. Raises InputError if it cannot be read."""
    try:
        require_fetched(path)
        with open(path, "rb") as stream:
            return stream.read(MAGIC_BYTES)
    except FileNotFoundError:
        raise InputError(f"the teacher table {path} does not exist: correct the path, or {MAKING}.") from None
    except OSError as error:
        raise InputError(
            f"the teacher table {path} cannot be read ({error.strerror or error}): correct the path, or {MAKING}."
        ) from None
