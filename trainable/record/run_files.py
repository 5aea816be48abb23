"""The files of a run as a folder that one process works in, wherever the run lies.

- On a file system that all nodes see, this is the run folder itself.
- In a store behind a URI, no file can be appended to: there each process works in a copy of its own.
- A file written through `RunFiles` is in the store when the call returns, so other processes can be told of it.
- Files that other code writes (checkpoints, TensorBoard's events, tables) belong in a `with files.writing()` block.
- Files are read through `fetched`, which first brings them up to date.

    files = run_files("s3://bucket/results/kfold/my_run")
    files.append_row("trials/none-L1-s0/metrics.jsonl", row)
    with files.writing():
        save_checkpoint(files.path / "trials/none-L1-s0/checkpoint.pt", ...)
    rows = read_lines(files.fetched("trials/none-L1-s0/metrics.jsonl"))
"""

import os
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from trainable import names
from trainable.errors import InputError
from trainable.record.cache import cache_folder
from trainable.record.files import fingerprint, write_json
from trainable.record.ledger import Row, append_row
from trainable.record.store import ADVICE, Store, StoreError, Version, is_uri

RECORDS = (names.TRIAL_FILE, names.STATUS_FILE, names.LEDGER_FILE)  # of a trial: all files but checkpoint and events
_AT_ONCE = 8  # transfers at once; they mostly wait


class RunFiles:
    """Files of a run on a file system that all nodes see: a file that is written needs no publishing."""

    def __init__(self, path: Path):
        self.path = path

    @property
    def address(self) -> str:
        """Path or URI by which a user calls the run."""
        return str(self.path)

    @property
    def called(self) -> str:
        """Name of the run in texts for users: its path from the working folder if it lies below, else its address."""
        below = self.path.is_relative_to(Path.cwd())
        return str(self.path.relative_to(Path.cwd())) if below else self.address

    def shown(self, text: str | Path) -> str:
        """Return a path, or a text with paths, with the run's address in place of the path of this process's copy."""
        return str(text)

    @contextmanager
    def naming(self) -> Iterator[None]:
        """Make an InputError that leaves the block name the run's address, not the path of this process's copy."""
        try:
            yield
        except InputError as error:
            error.args = tuple(map(self.shown, error.args))
            raise

    @property
    def lock(self) -> Path:
        """File that the run's driver locks."""
        return self.path / ".lock"

    def make(self, *, may_exist: bool) -> None:
        """Create the run folder. Raises FileExistsError if it exists, unless `may_exist`."""
        self.path.mkdir(parents=True, exist_ok=may_exist)

    def check_writable(self) -> None:
        """Raise InputError unless files can be created in the run folder."""
        if not os.access(self.path, os.W_OK):
            raise InputError(f"{self.path} cannot be written to: change its permissions or give --results DIR.")

    def leave_mark(self) -> str:
        """Create an empty file and return its name; a node that does not find it has another disk at the same path."""
        name = f".mark-{uuid.uuid4().hex}"
        (self.path / name).touch()
        return name

    def exist(self) -> bool:
        """Whether anything lies in the folder, be it a run or not; names that begin with a dot do not count."""
        return any(not path.name.startswith(".") for path in self.path.glob("*"))

    def has(self, name: str) -> bool:
        """Whether the run has a file of that name."""
        return (self.path / name).is_file()

    def fetched(self, name: str, only: Iterable[str] = ()) -> Path:
        """Bring a file or a folder of the run up to date and return its path.

        only: names of the files that are wanted below a folder; without any, all files below it.
        """
        self._fetch([name], only)
        return self.path / name

    def fetch_records(self) -> None:
        """Bring up to date the files that tables are made from and a resumed run needs."""
        self._fetch([names.RUN_FILE, names.RUNGS_FILE, names.RESTARTS_FILE, names.JOURNAL_FILE])
        self._fetch([names.TRIALS_TABLE, names.CURVES_TABLE])
        self._fetch([names.TRIALS_FOLDER], RECORDS)

    def write_json(self, name: str, tree: Mapping[str, Any]) -> None:
        """Replace a JSON file of the run (files.write_json)."""
        with self.writing():
            write_json(self.path / name, tree)

    def append_row(self, name: str, row: Row) -> None:
        """Append a row to a ledger (ledger.append_row)."""
        with self.writing():
            append_row(self.path / name, row)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Publish all that is written below `path` in the block, even if the block raises: others can then read it."""
        try:
            yield
        finally:
            self.publish()

    def publish(self) -> None:
        """Let others read what has been written below `path`: a no-op, for these files are the run's own."""

    def _fetch(self, wanted: Iterable[str], only: Iterable[str] = ()) -> None:
        """Bring files up to date: a no-op, for this process reads the run's own files."""

    def remove(self, name: str) -> None:
        """Remove a file; nothing happens if it does not exist."""
        (self.path / name).unlink(missing_ok=True)

    def trials_with(self, name: str) -> set[str]:
        """Names of the trials that have a file of that name."""
        return {path.parent.name for path in self.path.glob(f"{names.TRIALS_FOLDER}/*/{name}")}


class StoredRunFiles(RunFiles):
    """Files of a run in a store: a local copy, removed when the process ends. All methods raise StoreError."""

    def __init__(self, uri: str):
        """Raises InputError for a URI that cannot be opened."""
        self._store = Store(uri)
        self._folder = tempfile.TemporaryDirectory(prefix="bigram-run-", ignore_cleanup_errors=True)
        super().__init__(Path(self._folder.name).joinpath("copy", *_study_and_run(uri)))
        self.path.mkdir(parents=True)
        self._fetched: dict[str, Version] = {}
        self._known: dict[str, tuple[int, ...]] = {}  # name -> stamp of the local file when it equalled the stored one

    @property
    def address(self) -> str:
        """URI of the run."""
        return self._store.uri

    @property
    def called(self) -> str:
        """URI of the run."""
        return self.address

    def shown(self, text: str | Path) -> str:
        """A path, or a text with paths, with the run's URI in place of the copy that this process works in."""
        return str(text).replace(str(self.path), self.address)

    @property
    def lock(self) -> Path:
        """File on this machine that the driver locks: a store has no locks, so a driver elsewhere is not seen."""
        return cache_folder() / f"run-{fingerprint(self.address)}.lock"

    def make(self, *, may_exist: bool) -> None:
        """Create nothing: a store has no folders. Raises FileExistsError if the run has files, unless `may_exist`."""
        if not may_exist and self.exist():
            raise FileExistsError(self.address)

    def check_writable(self) -> None:
        """Raise InputError unless files can be created in the store."""
        try:
            self.remove(self.leave_mark())
        except StoreError as error:
            raise InputError(f"cannot write to {error}: {ADVICE}.") from None

    def leave_mark(self) -> str:
        """Create an empty file and return its name; other nodes look for it."""
        name = super().leave_mark()
        self._store.put(self.path / name, name)
        return name

    def exist(self) -> bool:
        """Whether the store has any file of the run."""
        return bool(self._store.list())

    def has(self, name: str) -> bool:
        """Whether the run has a file of that name in the store."""
        return name in self._store.list(name)

    def _fetch(self, wanted: Iterable[str], only: Iterable[str] = ()) -> None:
        """Download the new and changed files among `wanted` and below it; with `only`, just files of these names."""
        kinds = set(only)
        found = {name: version for one in wanted for name, version in self._store.list(one).items()}
        chosen = {name: version for name, version in found.items() if not kinds or PurePosixPath(name).name in kinds}
        new = {name: version for name, version in chosen.items() if self._fetched.get(name) != version}
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(lambda name: self._store.get(name, self.path / name, new[name].changed_ns), new))
        self._fetched |= new
        self._known |= {name: _stamp(self.path / name) for name in new}

    def publish(self) -> None:
        """Upload the files that have changed in this copy, oldest change first."""
        stamps = {path.relative_to(self.path).as_posix(): _stamp(path) for path in self._own_files()}
        changed = {name: stamp for name, stamp in stamps.items() if self._known.get(name) != stamp}
        for name in sorted(changed, key=lambda name: changed[name]):
            self._store.put(self.path / name, name)
            self._known[name] = changed[name]
            self._fetched.pop(name, None)

    def remove(self, name: str) -> None:
        """Remove a file; nothing happens if it does not exist."""
        super().remove(name)
        self._store.remove(name)

    def trials_with(self, name: str) -> set[str]:
        """Names of the trials that have a file of that name."""
        paths = map(PurePosixPath, self._store.list(names.TRIALS_FOLDER))
        return {path.parent.name for path in paths if path.name == name}

    def _own_files(self) -> Iterable[Path]:
        """Files of the run in this copy, without Ray Tune's own and without those that are being written."""
        for place in self.path.iterdir():
            if place.name != names.TUNE_FOLDER:
                found = [place, *place.rglob("*")]
                yield from (p for p in found if p.is_file() and not p.is_symlink() and not p.name.startswith("."))


def run_files(address: str | Path) -> RunFiles:
    """Files of the run at a path or a URI; none is fetched yet. Raises InputError for a URI that cannot be opened."""
    return StoredRunFiles(str(address)) if is_uri(str(address)) else RunFiles(Path(address))


def _study_and_run(uri: str) -> list[str]:
    """Last two parts of the URI's path: labels of metrics and journals are made from them."""
    return [part for part in PurePosixPath(urlsplit(uri).path).parts if part not in ("/", "..")][-2:]


def _stamp(path: Path) -> tuple[int, ...]:
    found = path.stat()
    return found.st_mtime_ns, found.st_size, found.st_ino
