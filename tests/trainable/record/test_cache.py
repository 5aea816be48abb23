"""The cache: a folder is built once and used only if it is whole; an error about damage has its facts as fields."""

import json
import os
from pathlib import Path

import pytest

from trainable.errors import DamagedFile, InputError
from trainable.record.cache import (
    CACHE_VARIABLE,
    Manifest,
    NotBuilt,
    built_once,
    check_cache,
    only_what_is_built,
    read_manifest,
)
from trainable.record.files import read_json, write_json


def build(folder: Path) -> Manifest:
    (folder / "data.bin").write_bytes(b"data")
    return {"what": "data"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    built_once(tmp_path / "folder", build)
    return tmp_path / "folder"


def test_a_whole_folder_is_not_built_again(folder: Path) -> None:
    assert built_once(folder, lambda _: pytest.fail("built again")) == read_manifest(folder)


def test_no_folder_is_built_within_only_what_is_built(folder: Path) -> None:
    with only_what_is_built():
        assert built_once(folder, lambda _: pytest.fail("built again")) == read_manifest(folder)
        with pytest.raises(NotBuilt):
            built_once(folder.with_name("other"), lambda _: pytest.fail("built"))
    assert [path.name for path in folder.parent.iterdir() if path.is_dir()] == ["folder"]
    assert built_once(folder.with_name("other"), build)["what"] == "data"


@pytest.mark.parametrize("content", [b"dat", b"dada", None])
def test_a_missing_or_changed_file_is_reported_in_fields_and_built_again(
    folder: Path, content: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "data.bin").unlink()
    if content is not None:
        (folder / "data.bin").write_bytes(content)
    with pytest.raises(DamagedFile) as told:
        read_manifest(folder)
    assert (told.value.path, told.value.remedy) == (folder / "data.bin", f"delete {folder} so that it is built again")
    built_once(folder, build)
    assert str(told.value) in caplog.text
    assert (folder / "data.bin").read_bytes() == b"data"


def test_a_manifest_without_a_list_of_files_in_its_own_folder_is_damaged(folder: Path) -> None:
    manifest = read_json(folder / "manifest.json")
    for files in (None, ["data.bin"], {"../data.bin": manifest["files"]["data.bin"]}):
        write_json(folder / "manifest.json", manifest | {"files": files})
        with pytest.raises(DamagedFile):
            read_manifest(folder)


def test_a_missing_manifest_is_reported_and_the_folder_is_built_again(folder: Path) -> None:
    (folder / "manifest.json").unlink()
    with pytest.raises(InputError, match=r"manifest\.json does not exist"):
        read_manifest(folder)
    built_once(folder, build)
    assert json.loads((folder / "manifest.json").read_text())["what"] == "data"


def test_a_cache_that_cannot_be_written_is_reported_before_any_folder_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    check_cache()
    assert not (tmp_path / "cache").exists()
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)
    with pytest.raises(InputError, match=r"cannot write .*\(Permission denied; .*or set BIGRAM_CACHE"):
        check_cache()
