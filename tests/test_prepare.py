"""What a run reads is made from the rows it may read, once."""

from pathlib import Path

import numpy as np
import pytest
from small_corpus import small_config, small_sentences

from trainable.bigram import BigramTable
from trainable.prepare import prepare_run
from trainable.split import split_rows

SECRET = "xylophone quartz xylophone quartz xylophone."


def prepared(folder: Path, rows: str) -> tuple[BigramTable, int, int]:
    """(table, counted bigrams, tokens of the training rows) where only validation rows hold the secret."""
    config = small_config(folder, {"teacher.rows": rows, "corpus.train_rows": 200})
    split = split_rows(600, config.corpus)
    sentences = small_sentences()
    for row in split.eval:
        sentences[row] = SECRET
    Path(config.corpus.source).write_text("".join(f"{s}\n" for s in sentences), encoding="utf-8")
    data, facts = prepare_run(config, folder / "cache")
    assert data.table is not None
    return data.table, facts["teacher"]["counted_tokens"], len(data.train.stream_N)


def test_the_teacher_counts_the_students_rows_and_no_others(tmp_path: Path) -> None:
    _, counted, tokens = prepared(tmp_path, "student")
    assert counted == tokens


def test_no_validation_row_is_counted_unless_the_leak_is_asked_for(tmp_path: Path) -> None:
    contexts = {}
    for rows in ("student", "train_split", "all"):
        (tmp_path / rows).mkdir()
        table, counted, tokens = prepared(tmp_path / rows, rows)
        contexts[rows] = (np.diff(table.indptr) > 0).sum()
        assert (counted > tokens) == (rows != "student")
        assert table.rows == rows
    assert contexts["all"] > contexts["train_split"], "the words of validation rows are contexts of the probe alone"


def test_the_table_is_counted_once_for_a_smoothing_and_anew_for_another(tmp_path: Path) -> None:
    config = small_config(tmp_path)
    cache = tmp_path / "cache"
    first, _ = prepare_run(config, cache)
    tables = set((cache / "tables").glob("*/table.bigram"))
    stamps = {path: path.stat().st_mtime_ns for path in tables}
    again, _ = prepare_run(config, cache)
    assert {path: path.stat().st_mtime_ns for path in tables} == stamps
    assert first.table is not None
    assert again.table is not None
    assert again.table.checksum == first.table.checksum
    other, facts = prepare_run(small_config(tmp_path, {"teacher.smoothing": "witten_bell"}), cache)
    assert other.table is not None
    assert other.table.checksum != first.table.checksum
    assert facts["teacher"]["smoothing"] == "witten_bell"


def test_a_damaged_table_is_counted_again(tmp_path: Path) -> None:
    config, cache = small_config(tmp_path), tmp_path / "cache"
    first, _ = prepare_run(config, cache)
    (path,) = (cache / "tables").glob("*/table.bigram")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.unlink()
    path.write_bytes(content)
    again, _ = prepare_run(config, cache)
    assert first.table is not None
    assert again.table is not None
    assert again.table.row(5) == pytest.approx(first.table.row(5))


def test_empty_rows_are_counted_and_said(tmp_path: Path) -> None:
    config = small_config(tmp_path)
    path = Path(config.corpus.source)
    path.write_text(path.read_text(encoding="utf-8") + "\n \n\n", encoding="utf-8")
    said: list[str] = []
    _, facts = prepare_run(config, tmp_path / "cache", said.append)
    assert facts["corpus"]["empty_rows"] == 3
    assert "empty rows dropped" in " ".join(said)
