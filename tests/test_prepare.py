"""What a run reads is made from the rows it may read, once."""

from pathlib import Path

import numpy as np
import pytest
from small_corpus import small_config, small_sentences

from trainable.bigram import BigramTable
from trainable.plan import data_key, table_key
from trainable.prepare import prepare_run, prepare_runs
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


def table_of_kind(folder: Path, kind: str) -> BigramTable:
    data, _ = prepare_run(small_config(folder, {"teacher.kind": kind}), folder / "cache")
    assert data.table is not None
    return data.table


def test_the_sceptics_teachers_know_less_than_bigrams(tmp_path: Path) -> None:
    """Uniform rows are equal and flat, unigram rows equal; shuffled rows are the bigram's own, of other contexts."""
    tables = {kind: table_of_kind(tmp_path, kind) for kind in ("bigram", "shuffled", "unigram", "uniform")}
    seen = np.flatnonzero(np.diff(tables["bigram"].indptr))
    rows = {kind: np.array([table.row(c) for c in seen]) for kind, table in tables.items()}
    for kind, row_CxV in rows.items():
        np.testing.assert_allclose(row_CxV.sum(1), 1, atol=1e-6, err_msg=kind)
    assert np.ptp(rows["uniform"]) < 1e-9
    assert np.ptp(rows["unigram"], axis=0).max() < 1e-9 and np.ptp(rows["unigram"][0]) > 0.01
    assert not np.allclose(rows["shuffled"], rows["bigram"])
    entropies = {k: np.sort(-(r * np.log(np.where(r > 0, r, 1))).sum(1)) for k, r in rows.items()}
    np.testing.assert_allclose(entropies["shuffled"], entropies["bigram"], atol=1e-9)
    assert len({table.checksum for table in tables.values()}) == 4


def test_several_runs_share_their_blocks_and_have_a_table_each(tmp_path: Path) -> None:
    configs = [
        small_config(tmp_path, changes)
        for changes in (
            {},
            {"seed": 3, "model.layers": 2, "optimizer.lr": 1e-2},
            {"teacher.smoothing": "witten_bell"},
            {"corpus.folds": 3, "corpus.fold": 1},
        )
    ]
    lines: list[str] = []
    prepared = prepare_runs(configs, tmp_path / "cache", lines.append)
    assert len(set(lines)) == len(lines), "what several runs share is said once"
    assert set(prepared.blocks) == {data_key(config) for config in configs} and len(prepared.blocks) == 2
    assert set(prepared.tables) == {table_key(config) for config in configs} and len(prepared.tables) == 3
    alone, facts = prepare_run(configs[0], tmp_path / "cache")
    assert alone.table is not None
    assert prepared.tables[table_key(configs[0])].checksum == alone.table.checksum
    assert prepared.facts["corpus"] == facts["corpus"]
    assert {key: table["checksum"] for key, table in prepared.facts["tables"].items()} == {
        key: table.checksum for key, table in prepared.tables.items()
    }


def test_the_teacher_of_a_fold_has_not_counted_that_fold(tmp_path: Path) -> None:
    """Tables of k folds: each counts the tokens of the others' rows only."""
    configs = [small_config(tmp_path, {"corpus.folds": 3, "corpus.fold": fold}) for fold in range(3)]
    prepared = prepare_runs(configs, tmp_path / "cache")
    for config in configs:
        train, _ = prepared.blocks[data_key(config)]
        assert prepared.tables[table_key(config)].counted_tokens == len(train.stream_N)
        rows = split_rows(600, config.corpus)
        assert not set(rows.train) & set(rows.eval)
