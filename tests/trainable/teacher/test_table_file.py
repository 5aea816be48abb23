"""Claims about the file of a bigram table: it is loaded whole or refused; its content and its checksum."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
from small_tables import IDS, V, counted, random_stream

from trainable.errors import DamagedFile, InputError
from trainable.teacher.kinds.uniform import UniformTeacher
from trainable.teacher.material import Material
from trainable.teacher.smoothing import estimate_table
from trainable.teacher.table import ARRAYS, FACTS, BigramTable, load_table, save_table


@pytest.mark.parametrize("smoothing", ["mle", "add_k"])  # without a strength, and with one
def test_a_loaded_table_equals_the_saved_one(tmp_path, smoothing):
    table = estimate_table(counted(random_stream()), smoothing, **IDS)
    save_table(table, tmp_path / "teacher" / "table.bigram")
    loaded = load_table(tmp_path / "teacher" / "table.bigram", expect_tokenizer="abc")
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(loaded, name), getattr(table, name))
        assert getattr(loaded, name).dtype == getattr(table, name).dtype
        assert not getattr(loaded, name).flags.writeable
        assert getattr(loaded, name).flags.aligned
    assert [getattr(loaded, name) for name in FACTS] == [getattr(table, name) for name in FACTS]
    assert loaded.checksum == table.checksum


def test_a_table_without_sparse_rows_can_be_saved(tmp_path):
    table = UniformTeacher.prepare(Material(counts=lambda: counted([]), vocab_size=V, **IDS))
    save_table(table, tmp_path / "t")
    assert load_table(tmp_path / "t").checksum == table.checksum


def test_the_file_ends_with_the_checksum_and_equal_tables_make_equal_files(tmp_path):
    table = estimate_table(counted(random_stream()), "witten_bell", **IDS)
    save_table(table, tmp_path / "a")
    save_table(load_table(tmp_path / "a"), tmp_path / "b")
    content = (tmp_path / "a").read_bytes()
    assert content == (tmp_path / "b").read_bytes()
    assert content[-32:].hex() == table.checksum
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b"]


def test_the_checksum_of_a_fixed_table_stays():
    """The checksum of a fixed table stays. If not, raise the format's version: records name tables by checksum."""
    table = BigramTable(
        indptr=np.array([0, 2, 2, 3]),
        indices=np.array([0, 2, 1], np.uint16),
        values=np.array([0.5, 0.25, 0.5], np.float32),
        backoff_V=np.array([0.25, 1, 0.5], np.float32),
        base_V=np.array([0.5, 0.25, 0.25], np.float32),
        vocab_size=3,
        smoothing="by hand",
        strength=0.5,
        tokenizer_fingerprint="abc",
        counted_tokens=7,
        rows="student",
    )
    assert table.checksum == "4505b20a78f904b9b6364b704790f22bc0e5422a97ced0e8fac7f0d0b3f8457b"


def test_a_changed_array_or_fact_changes_the_checksum():
    table = estimate_table(counted(random_stream()), "jelinek_mercer", **IDS)
    changed = [replace(table, rows="all"), replace(table, strength=0.25), replace(table, counted_tokens=1)]
    for name in ARRAYS:
        array = getattr(table, name).copy()
        array[1] += 1
        changed.append(replace(table, **{name: array}))
    assert len({table.checksum, *(other.checksum for other in changed)}) == 1 + len(changed)


def test_the_checksum_survives_pickling():
    table = estimate_table(counted(random_stream()), "mle", **IDS)
    assert pickle.loads(pickle.dumps(table, protocol=5)).checksum == table.checksum


def test_a_flipped_bit_anywhere_is_refused(tmp_path):
    path = tmp_path / "table.bigram"
    save_table(estimate_table(counted(random_stream(length=60)), "mle", **IDS), path)
    content = path.read_bytes()
    for at in range(len(content)):
        path.write_bytes(content[:at] + bytes([content[at] ^ 1 << at % 8]) + content[at + 1 :])
        with pytest.raises(InputError, match=r"table\.bigram .*count the table again") as caught:
            load_table(path)
        if at >= 12:  # after the magic and the version, which decide how the file is read
            assert isinstance(caught.value, DamagedFile)
            assert (caught.value.path, caught.value.reason) == (path, "its checksum does not match")


def test_a_file_that_is_cut_off_or_too_long_is_refused(tmp_path):
    path = tmp_path / "table.bigram"
    save_table(estimate_table(counted(random_stream()), "mle", **IDS), path)
    content = path.read_bytes()
    for damaged in (*(content[:n] for n in range(0, len(content), 13)), content[:-1], content + b"\0"):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"table\.bigram .*count the table again"):
            load_table(path)


def test_foreign_files_are_refused_by_name(tmp_path):
    path = tmp_path / "table.bigram"
    np.savez(path.with_suffix(".npz"), np.arange(3))
    with pytest.raises(InputError, match=r"table\.npz is no bigram table"):
        load_table(path.with_suffix(".npz"))
    save_table(estimate_table(counted([1]), "mle", **IDS), path)
    path.write_bytes(path.read_bytes()[:8] + (2).to_bytes(4, "little") + path.read_bytes()[12:])
    with pytest.raises(InputError, match="version 2 of the bigram table format"):
        load_table(path)
    with pytest.raises(InputError, match=r"missing does not exist"):
        load_table(tmp_path / "missing")
    with pytest.raises(InputError, match="cannot be read"):
        load_table(tmp_path)


def test_a_table_of_another_tokenizer_is_refused(tmp_path):
    save_table(estimate_table(counted([1]), "mle", **IDS), tmp_path / "t")
    with pytest.raises(InputError, match="counted with tokenizer abc, this run has xyz"):
        load_table(tmp_path / "t", expect_tokenizer="xyz")


def test_a_failed_save_leaves_the_old_table(tmp_path, monkeypatch):
    path, table = tmp_path / "t", estimate_table(counted([1]), "mle", **IDS)
    save_table(table, path)

    def full_disk(_):
        raise OSError("no space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(OSError, match="no space"):
        save_table(replace(table, rows="all"), path)
    assert load_table(path).checksum == table.checksum
    assert [p.name for p in tmp_path.iterdir()] == ["t"]
