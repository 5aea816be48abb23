"""Files are whole or absent, and fingerprints are the same on every machine."""

import hashlib
import os
from pathlib import Path

import pytest

from trainable.errors import DamagedFile, InputError
from trainable.record.files import atomic_file, fingerprint, read_foreign_json, read_json, sha256_of_file, write_json


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    with atomic_file(path) as stream:
        stream.write(b"half")
        assert not path.exists()
    assert path.read_bytes() == b"half"
    assert names_in(path.parent) == ["file"]


def test_text_with_a_path_that_is_not_utf8_is_written(tmp_path: Path) -> None:
    """Other systems may have left such paths on a disk, for example with names in Latin-1."""
    with atomic_file(tmp_path / "file", "w") as stream:
        stream.write("run " + os.fsdecode(b"caf\xe9"))
    assert (tmp_path / "file").read_text(encoding="utf-8") == "run caf\\udce9"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_error_leaves_the_old_file_and_no_temporary_file(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def write() -> None:
        with atomic_file(path) as stream:
            stream.write(b"new")
            raise error

    with pytest.raises(error):
        write()
    assert path.read_bytes() == b"old"
    assert names_in(tmp_path) == ["file"]


def test_a_failed_rename_leaves_no_temporary_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="no"), atomic_file(tmp_path / "file") as stream:
        stream.write(b"new")
    assert names_in(tmp_path) == []


def test_two_writers_do_not_share_a_temporary_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with atomic_file(path) as first, atomic_file(path) as second:
        first.write(b"1" * 5)
        second.write(b"2")
        assert len(names_in(tmp_path)) == 2
    assert path.read_bytes() == b"1" * 5  # the outer block ends last


def test_json_is_read_back_and_nan_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "value.json"
    write_json(path, {"a": [1, 0.1, None, "ö"]})
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"a": float("nan")})
    assert read_json(path) == {"a": [1, 0.1, None, "ö"]}
    assert names_in(tmp_path) == ["value.json"]


@pytest.mark.parametrize(("content", "message"), [(None, "does not exist"), (b'{"a', "damaged"), (b"\xff", "damaged")])
def test_missing_or_damaged_json_is_named(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "value.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=f"value.json.*{message}"):
        read_json(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'{"a": 1}', "its checksum does not match"),
        (b'{"a": NaN, "checksum": ""}', "its checksum does not match"),
        (b"[1]", "it holds no JSON object"),
    ],
)
def test_an_error_about_damage_has_path_reason_and_remedy_as_fields(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    path = tmp_path / "value.json"
    path.write_bytes(content)
    with pytest.raises(DamagedFile) as told:
        read_json(path, "begin anew")
    assert (told.value.path, told.value.reason) == (path, reason)
    assert told.value.remedy == "restore it from a copy, or begin anew"


def test_a_fingerprint_is_stable_and_does_not_depend_on_the_order_of_keys() -> None:
    assert fingerprint({"b": 1, "a": [1.5, None, "x"]}) == fingerprint({"a": [1.5, None, "x"], "b": 1})
    expected = hashlib.sha256(b'{"a":[1.5,null,"x"],"b":1}').hexdigest()[:16]
    assert fingerprint({"b": 1, "a": [1.5, None, "x"]}) == expected


def test_different_values_have_different_fingerprints() -> None:
    values = [0, 0.0, "0", None, False, [], [0], {}, {"0": 0}]
    assert len({fingerprint(value) for value in values}) == len(values)


def test_sha256_of_file_is_the_digest_of_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    assert sha256_of_file(tmp_path / "file") == hashlib.sha256(b"abc").hexdigest()


def test_json_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(b"\xef\xbb\xbf" + b'{"vocab_size": 7}')
    assert read_foreign_json(tmp_path / "config.json") == {"vocab_size": 7}
