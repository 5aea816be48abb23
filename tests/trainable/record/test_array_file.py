"""Files of arrays: a file is read back as it was written, or refused with advice on what to do."""

import hashlib
import json
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from trainable.errors import DamagedFile, InputError
from trainable.record import array_file
from trainable.record.array_file import Arrays, Facts, Format

KIND = Format(
    magic=b"\x89SMALL!\n",
    version=3,
    what="small table",
    making="knit the table",
    places=lambda facts: [(name, dtype, tuple(shape)) for name, dtype, shape in facts["arrays"]],
)
REMEDY = "delete it and knit the table again"


def facts_of(arrays: Arrays, **others: Any) -> Facts:
    return {"arrays": [[name, array.dtype.str, array.shape] for name, array in arrays.items()], **others}


def both(facts: Facts, arrays: Arrays) -> tuple[Facts, Arrays]:
    return facts, arrays


ARRAYS: Arrays = {"wide": np.arange(6.0).reshape(2, 3), "narrow": np.array([7, 8, 9], np.uint16)}
FACTS = facts_of(ARRAYS, rows="student")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    KIND.write(tmp_path / "t", FACTS, ARRAYS.values())
    return tmp_path / "t"


def resealed(content: bytes) -> bytes:
    """Content of a file with its digest replaced by the right one."""
    return content[:-32] + hashlib.sha256(content[:-32]).digest()


@given(
    st.lists(npst.arrays(st.sampled_from([np.int64, np.float32, np.uint16]), npst.array_shapes(min_side=0)), max_size=4)
)
@settings(max_examples=60)
def test_arrays_of_any_type_and_shape_are_read_back(tmp_path_factory: pytest.TempPathFactory, found: list[Any]) -> None:
    path = tmp_path_factory.getbasetemp() / "any"
    arrays = {str(i): array for i, array in enumerate(sorted(found, key=lambda array: -array.itemsize))}
    KIND.write(path, facts_of(arrays), arrays.values())
    _, again = KIND.read(path, both)
    assert list(again) == list(arrays)
    for name, array in again.items():
        np.testing.assert_array_equal(array, arrays[name])
        assert (array.dtype, array.shape) == (arrays[name].dtype, arrays[name].shape)
        assert array.flags.aligned and not array.flags.writeable


def test_facts_are_read_back_as_json_values(tmp_path: Path) -> None:
    KIND.write(tmp_path / "t", facts_of({}, pair=(1, None), name="Zürich"), [])
    assert KIND.read(tmp_path / "t", both) == ({"arrays": [], "pair": [1, None], "name": "Zürich"}, {})


def test_the_bytes_are_header_arrays_and_the_digest_of_both(path: Path) -> None:
    """The docstring of array_file.py shows this layout, by which files of other versions of this program are read."""
    content = path.read_bytes()
    length = int.from_bytes(content[12:16], "little")
    assert content[:12] == b"\x89SMALL!\n\x03\0\0\0"
    assert json.loads(content[16 : 16 + length]) == json.loads(json.dumps(FACTS))
    assert (16 + length) % 64 == 0
    assert content[16 + length : -32] == ARRAYS["wide"].tobytes() + ARRAYS["narrow"].tobytes()
    assert content[-32:] == hashlib.sha256(content[:-32]).digest()
    assert content[-32:].hex() == KIND.checksum(FACTS, ARRAYS.values())


def test_arrays_are_written_in_pieces_of_which_two_at_most_are_in_memory(path: Path, tmp_path: Path) -> None:
    made: list[weakref.ref[np.ndarray]] = []
    alive: list[int] = []

    def pieces() -> Iterator[np.ndarray]:
        for array in ARRAYS.values():
            for number in array.ravel():
                piece = np.array([number])
                made.append(weakref.ref(piece))
                alive.append(sum(one() is not None for one in made))
                yield piece

    KIND.write(tmp_path / "pieces", FACTS, pieces())
    assert (tmp_path / "pieces").read_bytes() == path.read_bytes()
    assert len(alive) == 9 and max(alive) <= 2


def test_an_array_that_is_a_view_with_gaps_is_written_whole(tmp_path: Path) -> None:
    gaps = {"gaps": np.arange(12).reshape(3, 4)[:, ::2]}
    KIND.write(tmp_path / "t", facts_of(gaps), gaps.values())
    np.testing.assert_array_equal(KIND.read(tmp_path / "t", both)[1]["gaps"], gaps["gaps"])


def test_an_interrupted_write_leaves_the_old_file(path: Path) -> None:
    def pieces() -> Iterator[np.ndarray]:
        yield ARRAYS["wide"]
        raise KeyboardInterrupt

    before = path.read_bytes()
    with pytest.raises(KeyboardInterrupt):
        KIND.write(path, FACTS, pieces())
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["t"]


def test_a_file_is_digested_once_when_it_is_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def counted(data: Any) -> Any:
        sizes.append(len(data))
        return hashlib.sha256(data)

    monkeypatch.setattr(array_file, "hashlib", type("Counted", (), {"sha256": staticmethod(counted)}))
    KIND.read(path, both)
    assert sizes == [path.stat().st_size - 32]


def test_every_damage_is_reported_with_a_remedy(path: Path, tmp_path: Path) -> None:
    content = path.read_bytes()
    flips = (content[:at] + bytes([content[at] ^ 1 << at % 8]) + content[at + 1 :] for at in range(len(content)))
    cuts = (content[:size] for size in range(len(content)))
    for damaged in (*flips, *cuts, content + b"\0"):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"/t .*knit the table again\.$") as caught:
            KIND.read(path, both)
        if damaged[:12] == content[:12]:
            assert isinstance(caught.value, DamagedFile)
            assert (caught.value.path, caught.value.reason) == (path, "its checksum does not match")
            assert caught.value.remedy == REMEDY


def test_missing_unreadable_and_foreign_files_are_reported_in_the_words_of_their_format(
    path: Path, tmp_path: Path
) -> None:
    for where, kind, words in (
        (tmp_path / "no", KIND, "the small table .*no does not exist: knit the table first, or correct the path"),
        (tmp_path, KIND, r"the small table .* cannot be read \(Is a directory\): correct the path, or knit the table"),
        (path, replace(KIND, magic=b"\x89OTHER!\n", what="rug"), ".*t is no rug, or its beginning is damaged: knit"),
        (path, replace(KIND, version=4), "version 3 of the small table format, this program reads 4: knit the table"),
    ):
        with pytest.raises(InputError, match=words) as caught:
            kind.read(where, both)
        assert not isinstance(caught.value, DamagedFile)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"[2, 3]", b"[2, 2]"),  # fewer items than the file holds
        (b"[2, 3]", b"[9, 9]"),  # more items than the file holds
        (b"[2, 3]", b'"234" '),
        (b"[2, 3]", b"[1e9] "),
        (b'"<f8"', b'"O"  '),
        (b'"<f8"', b'"no" '),
        (b'"arrays"', b'"others"'),
        (b'{"arr', b'["arr'),
        (b'"wide"', b"[[[]]]"),
    ],
)
def test_impossible_facts_are_damage_even_if_the_digest_is_right(path: Path, old: bytes, new: bytes) -> None:
    content = path.read_bytes()
    assert content.count(old) == 1 and len(old) == len(new)
    path.write_bytes(resealed(content.replace(old, new)))
    with pytest.raises(DamagedFile, match=REMEDY):
        KIND.read(path, both)


def test_a_header_longer_than_the_file_is_damage(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(resealed(content[:12] + b"\xff\xff\xff\xff" + content[16:]))
    with pytest.raises(DamagedFile, match=REMEDY):
        KIND.read(path, both)


def test_arrays_that_do_not_fill_the_file_are_damage(path: Path) -> None:
    path.write_bytes(resealed(path.read_bytes()[:-32] + bytes(8) + bytes(32)))
    with pytest.raises(DamagedFile, match="its arrays do not fill it"):
        KIND.read(path, both)


@pytest.mark.parametrize(
    "error", [ValueError, InputError, KeyError, IndexError, TypeError, AttributeError, OverflowError, RecursionError]
)
def test_content_of_which_no_object_can_be_built_is_damage(path: Path, error: type[Exception]) -> None:
    def make(facts: Facts, arrays: Arrays) -> None:
        raise error("a row reaches out of memory")

    with pytest.raises(DamagedFile, match="a row reaches out of memory"):
        KIND.read(path, make)


def test_a_memory_error_does_not_count_as_damage(path: Path) -> None:
    def make(facts: Facts, arrays: Arrays) -> None:
        raise MemoryError

    with pytest.raises(MemoryError):
        KIND.read(path, make)
