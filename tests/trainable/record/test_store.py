"""Store of objects behind a URI, with a server of the S3 protocol (moto) and with a file system that fails."""

import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from s3_server import BUCKET, s3_server

from trainable.errors import InputError
from trainable.record.store import Store, StoreError, below, is_uri


@pytest.fixture(scope="module", autouse=True)
def server() -> Iterator[dict[str, str]]:
    with s3_server() as environment:
        yield environment


@pytest.fixture
def store() -> Store:
    """Store that only this test uses."""
    return Store(f"s3://{BUCKET}/{uuid.uuid4().hex}")


def file(folder: Path, content: bytes) -> Path:
    path = folder / "file"
    path.write_bytes(content)
    return path


def read(store: Store, name: str, folder: Path) -> bytes:
    target = folder / "read" / "back"
    store.get(name, target, 0)
    return target.read_bytes()


def test_an_object_is_read_back_as_it_was_put(store: Store, tmp_path: Path) -> None:
    content = os.urandom(40 * 2**20)  # larger than one part of an upload
    store.put(file(tmp_path, content), "trials/a/checkpoint.pt")
    assert read(store, "trials/a/checkpoint.pt", tmp_path) == content


def test_a_shorter_object_takes_the_place_of_a_longer_one(store: Store, tmp_path: Path) -> None:
    store.put(file(tmp_path, b"a long line\n"), "ledger")
    store.put(file(tmp_path, b"short\n"), "ledger")
    assert read(store, "ledger", tmp_path) == b"short\n"


def test_an_object_comes_with_the_time_of_its_change(store: Store, tmp_path: Path) -> None:
    before = time.time_ns() - 10**9  # S3 tells whole seconds
    store.put(file(tmp_path, b""), "one")
    (version,) = store.list("one").values()
    store.get("one", tmp_path / "copy", version.changed_ns)
    assert before <= (tmp_path / "copy").stat().st_mtime_ns == version.changed_ns <= time.time_ns()


def test_a_folder_lists_all_below_it_and_a_file_itself(store: Store, tmp_path: Path) -> None:
    for name in ("run.json", "trials/a/metrics.jsonl", "trials/a/deep/er", "trials2/b"):
        store.put(file(tmp_path, name.encode()), name)
    assert set(store.list("trials")) == {"trials/a/metrics.jsonl", "trials/a/deep/er"}
    assert set(store.list()) == {"run.json", "trials/a/metrics.jsonl", "trials/a/deep/er", "trials2/b"}
    assert {name: version.size for name, version in store.list("run.json").items()} == {"run.json": 8}
    assert store.list("absent") == {}


def test_a_removed_object_is_gone_and_removing_it_again_is_no_error(store: Store, tmp_path: Path) -> None:
    store.put(file(tmp_path, b"x"), "trials/a/checkpoint.pt")
    store.remove("trials/a/checkpoint.pt")
    store.remove("trials/a/checkpoint.pt")
    assert store.list("trials") == {}


def test_a_missing_bucket_is_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail("waited"))
    with pytest.raises(StoreError, match=r"^s3://no-such-bucket/x: .*bucket does not exist"):
        Store("s3://no-such-bucket/x").put(file(tmp_path, b"x"), "one")


@pytest.mark.parametrize("uri", ["ftp://host/x", "s3:///x", "memory://x"])
def test_a_uri_that_cannot_be_opened_is_refused(uri: str) -> None:
    with pytest.raises(InputError, match=rf"^{uri} cannot be opened \(.*: give a path, or a URI such as s3://"):
        Store(uri)


def test_a_password_in_a_uri_is_refused_and_not_printed() -> None:
    with pytest.raises(InputError, match=r"^the URI of bucket has a password in it") as told:
        Store("s3://me:planted@bucket/x")
    assert "planted" not in str(told.value)


class Faulty:
    """File system whose first calls fail."""

    def __init__(self, real: Any, failures: int, error: OSError):
        self._real, self._failures, self._error = real, failures, error
        self.calls = 0

    def get_file_info(self, *words: Any) -> Any:
        self.calls += 1
        if self.calls <= self._failures:
            raise self._error
        return self._real.get_file_info(*words)


def faulty(store: Store, failures: int, error: OSError | None = None) -> Faulty:
    store._filesystem = Faulty(store._filesystem, failures, error or OSError("AWS Error NETWORK_CONNECTION\nmore"))
    return store._filesystem


def test_a_store_that_has_answered_is_asked_again_when_it_fails(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    store.put(file(tmp_path, b"x"), "one")
    faulty(store, failures=3)
    assert set(store.list("one")) == {"one"}
    assert waited == [1, 4, 10]


def test_a_store_that_keeps_failing_is_given_up_with_the_reason(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    store.list()
    system = faulty(store, failures=1000)
    with pytest.raises(StoreError) as told:
        store.list()
    assert str(told.value) == f"{store.uri}: AWS Error NETWORK_CONNECTION"
    assert system.calls == 6


def test_a_store_that_is_not_reached_is_told_without_the_words_of_libraries(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = "When listing: AWS Error NETWORK_CONNECTION during ListObjectsV2: curlCode: 6, Couldn't resolve host name"
    faulty(store, failures=1, error=OSError(said))
    with pytest.raises(StoreError) as told:
        store.list()
    assert str(told.value) == f"{store.uri}: the store cannot be reached: Couldn't resolve host name"


@pytest.mark.parametrize("error", [OSError("AWS Error ACCESS_DENIED"), PermissionError("no")])
def test_a_store_that_denies_access_is_not_asked_again(
    store: Store, error: OSError, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail("waited"))
    store.list()
    system = faulty(store, failures=1000, error=error)
    with pytest.raises(StoreError):
        store.list()
    assert system.calls == 1


def test_a_store_that_never_answered_is_asked_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail("waited"))
    system = faulty(store, failures=1000)
    with pytest.raises(StoreError):
        store.list()
    assert system.calls == 1


def test_a_name_that_leads_out_of_the_folder_is_not_listed(store: Store, tmp_path: Path) -> None:
    store.put(file(tmp_path, b"x"), "trials/a")
    folder = store.uri.removeprefix(f"s3://{BUCKET}/")
    for name in ("trials/../../../evil", "../evil"):
        boto3.client("s3").put_object(Bucket=BUCKET, Key=f"{folder}/{name}", Body=b"evil")
    assert set(store.list()) == {"trials/a"}


def test_options_of_a_uri_stay_at_its_end() -> None:
    assert below("s3://bucket/results/?region=eu-1", "study", "run") == "s3://bucket/results/study/run?region=eu-1"
    assert below("s3://bucket", "study") == "s3://bucket/study"


@pytest.mark.parametrize(("text", "uri"), [("s3://b/x", True), ("GS://b", True), ("/a/b", False), ("c:/x", False)])
def test_a_uri_is_distinguished_from_a_path(text: str, uri: bool) -> None:
    assert is_uri(text) == uri
