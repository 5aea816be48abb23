"""Teacher from a file: the first bytes tell its kind, it guides as from memory does, and other files are refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_tables import IDS, V, counted, random_stream

from trainable.errors import DamagedFile, InputError
from trainable.teacher.answers import ANSWER_FILE
from trainable.teacher.kinds.bigram import BigramTeacher
from trainable.teacher.kinds.ngram import NgramTeacher
from trainable.teacher.kneser_ney import estimate_ngrams
from trainable.teacher.ngram_counts import count_ngrams
from trainable.teacher.ngram_table_file import save_ngrams
from trainable.teacher.smoothing import estimate_table
from trainable.teacher.table import save_table
from trainable.teacher.teacher import RowTeacher
from trainable.teacher.teacher_file import load_teacher


def saved(path: Path, order: int) -> RowTeacher:
    """Save a table to `path`, and return the teacher made from the table in memory."""
    if order == 2:
        table = estimate_table(counted(random_stream()), "modified_kneser_ney", **IDS)
        save_table(table, path)
        return BigramTeacher(table)
    ngrams = count_ngrams(random_stream().astype(np.uint16), V, order, eos_id=2)
    longer = estimate_ngrams(ngrams, **IDS)
    save_ngrams(longer, path)
    return NgramTeacher(longer)


def expected_rows(teacher: RowTeacher) -> torch.Tensor:
    """E of every position of two blocks, [positions, D]."""
    output_VxD = torch.randn(V, 4, generator=torch.Generator().manual_seed(0))
    guidance = teacher.guide(output_VxD, np.arange(2 * V).reshape(2, V) % V, 0.5)
    assert guidance.expected_RxD is not None and guidance.row is not None
    return guidance.expected_RxD[guidance.row.flatten()]


@pytest.mark.parametrize("order", [2, 3, 5])
def test_a_teacher_from_a_file_guides_as_the_teacher_in_memory(tmp_path: Path, order: int) -> None:
    """The name of the file does not matter: a table of any order may be in table.bigram."""
    made = saved(tmp_path / "table.bigram", order)
    loaded = load_teacher(str(tmp_path / "table.bigram"), expect_tokenizer="abc")
    assert type(loaded) is type(made)
    assert loaded.table.checksum == made.table.checksum
    assert torch.equal(expected_rows(loaded), expected_rows(made))


def test_device_and_product_reach_the_teacher(tmp_path: Path) -> None:
    saved(tmp_path / "table", 3)
    loaded = load_teacher(tmp_path / "table", torch.device("cpu"), product=torch.bfloat16)
    assert (loaded.device.type, loaded.product) == ("cpu", torch.bfloat16)


def test_a_table_of_another_tokenizer_is_refused(tmp_path: Path) -> None:
    saved(tmp_path / "table", 3)
    with pytest.raises(InputError, match="was counted with tokenizer abc, this run has def"):
        load_teacher(tmp_path / "table", expect_tokenizer="def")


@pytest.mark.parametrize("order", [2, 3])
def test_a_flipped_bit_is_found(tmp_path: Path, order: int) -> None:
    path = tmp_path / "table"
    saved(path, order)
    content = bytearray(path.read_bytes())
    content[-40] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedFile, match="its checksum does not match"):
        load_teacher(path)


REFUSED: dict[str, tuple[bytes | None, str]] = {
    "missing": (None, "the teacher table .* does not exist: correct the path, or make it with python -m"),
    "empty": (b"", "is no table of bigrams or n-grams, or its beginning is damaged: make it with"),
    "text": (b"Some text of a user", "is no table of bigrams or n-grams"),
    "answers": (ANSWER_FILE.magic + b"and so on", "holds a model's answers to the training blocks of one run"),
    "pointer": (b"version https://git-lfs.github.com/spec/v1\n", "is a pointer of Git LFS"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_file_that_is_no_table_is_refused_in_a_sentence(tmp_path: Path, case: str) -> None:
    content, said = REFUSED[case]
    path = tmp_path / "table"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=said):
        load_teacher(path)


@pytest.mark.parametrize("place", [".", "~nobody-of-that-name/table", "x" * 300])
def test_a_path_that_is_no_file_is_refused_in_a_sentence(tmp_path: Path, place: Any) -> None:
    with pytest.raises(InputError, match=r"cannot be read|cannot be a path"):
        load_teacher(tmp_path if place == "." else place)
