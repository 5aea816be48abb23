"""Read from the Hugging Face hub; without network, an error says so within two seconds.

Why: without network each hub call stalls for some 24 s, while a data set or tokenizer that was downloaded before could
be used at once. So the local cache comes first, then a quick probe, and only then the hub itself.
"""

import os
import re
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from ssl import SSLError
from typing import Any, Final, Literal

from trainable.errors import InputError

PROBE_SECONDS = 1.5
SHORT_NAMES = {"bookcorpus": "bookcorpus/bookcorpus"}
# Its main revision holds a loading script, which `datasets` no longer runs; the hub keeps a converted copy.
READABLE_REVISIONS = {"bookcorpus/bookcorpus": "refs/convert/parquet"}
_ID = re.compile(r"[\w.-]+(/[\w.-]+)?", re.ASCII)
_OFFLINE_VARIABLES = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE")
ABSENT: Final = "absent"
_PROXY_CANNOT = (407, 502, 503, 504)  # statuses with which a proxy says that the hub does not answer


def is_hub_id(source: str) -> bool:
    """Whether `source` can be `name` or `org/name`; what starts with ".", "/" or "~" is a path."""
    return _ID.fullmatch(source) is not None and not source.startswith(".")


def hub_splits(hub_id: str, revision: str | None) -> dict[str, Any]:
    """Load the splits of a data set (each a datasets.Dataset, memory-mapped) from the local cache or from the hub.

    Raises InputError if the hub is out of reach (within 2 s), or has no such data set or revision.
    """
    if ".." in Path(revision or "").parts or Path(revision or "").is_absolute():
        raise InputError(f"corpus.revision is {revision!r}: give a branch, a tag or a commit of {hub_id!r}.")
    if _dataset_folders(hub_id) and (cached := _cached_splits(hub_id, revision)) is not None:
        return cached
    _require_hub(f"data set {hub_id!r}", "give corpus.source a parquet, jsonl or text file on disk")
    from datasets import load_dataset

    revision = revision or READABLE_REVISIONS.get(hub_id)
    try:
        return dict(load_dataset(hub_id, revision=revision))
    except Exception as error:  # a dozen kinds of errors, from four libraries
        raise InputError(
            f"cannot load the data set {hub_id!r} (revision {revision or 'main'}) from the hub: {_first_line(error)} "
            "Check the id, or give corpus.source a file on disk."
        ) from error


class UnknownFile(InputError):
    """Raised for an optional file of a repository if it is not known whether the repository has it."""


def hub_file(hub_id: str, name: str, *, optional: bool = False) -> Path | None:
    """Path of a file of a model repository, downloaded unless it is in the local cache; None if there is no such file.

    Raises InputError if the hub is out of reach (within 2 s) or has no such repository. optional: the repository need
    not have the file; raises UnknownFile if the hub is out of reach and the cache does not say whether there is one.
    """
    cached = _cached_file(hub_id, name)
    if isinstance(cached, Path):
        return cached
    if optional and cached is ABSENT:
        return None
    if optional and (reason := _why_unreachable()) is not None:
        raise UnknownFile(
            f"{name} of {hub_id!r}, which names its end of text, is not in the local Hugging Face cache, and {reason}: "
            "run once with network, or give --set tokens.eos=TOKEN."
        )
    _require_hub(f"tokenizer {hub_id!r}", "give tokens.tokenizer a folder with tokenizer.json, or train:4096")
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    try:
        return Path(hf_hub_download(hub_id, name))
    except EntryNotFoundError:
        return None
    except Exception as error:
        raise InputError(
            f"cannot load {name} of {hub_id!r} from the hub: {_first_line(error)} "
            "Check the id, or give tokens.tokenizer a folder with tokenizer.json."
        ) from error


def hub_reachable(seconds: float = PROBE_SECONDS) -> bool:
    """Whether anything at HF_ENDPOINT answers in time, through the proxies of the environment."""
    if "all" in urllib.request.getproxies():
        return True  # perhaps SOCKS, which this probe cannot speak: let the hub library try
    answers: list[bool] = []
    probe = threading.Thread(target=lambda: answers.append(_probe(seconds)), daemon=True)
    probe.start()
    probe.join(seconds)  # looking up a name has no timeout of its own
    return answers == [True]


def _probe(seconds: float) -> bool:
    endpoint = os.environ.get("HF_ENDPOINT") or "https://huggingface.co"
    try:
        with urllib.request.urlopen(urllib.request.Request(endpoint, method="HEAD"), timeout=seconds):
            return True
    except urllib.error.HTTPError as error:
        return error.code not in _PROXY_CANNOT
    except urllib.error.URLError as error:
        return isinstance(error.reason, SSLError)  # somebody answered; the hub library has certificates of its own
    except (OSError, ValueError):
        return False


def _require_hub(what: str, instead: str) -> None:
    if (reason := _why_unreachable()) is not None:
        raise InputError(
            f"{what} is neither on this disk nor in the local Hugging Face cache, and {reason}: "
            f"{instead}, or run once with network."
        )


def _why_unreachable() -> str | None:
    if any(os.environ.get(name, "").upper() in {"1", "ON", "YES", "TRUE"} for name in _OFFLINE_VARIABLES):
        return "HF_HUB_OFFLINE is set"
    return None if hub_reachable() else "the Hugging Face hub is out of reach"


def _cached_file(hub_id: str, name: str) -> Path | Literal["absent"] | None:
    """The path of a file in the cache; ABSENT where the hub was asked and has none; None where that is not known."""
    if not (_hub_cache() / f"models--{hub_id.replace('/', '--')}").is_dir():
        return None  # importing the hub library for the same answer can take seconds
    from huggingface_hub import try_to_load_from_cache

    path = try_to_load_from_cache(hub_id, name)
    return None if path is None else Path(path) if isinstance(path, str) else ABSENT


def _cached_splits(hub_id: str, revision: str | None) -> dict[str, Any] | None:
    """Load the splits from the local cache; None if the data set is not there in the wanted revision."""
    from datasets import load_dataset

    try:
        with _datasets_offline():
            splits = dict(load_dataset(hub_id))
    except Exception:  # whatever the error, the hub is asked next
        return None
    return splits if revision is None or _is_revision(next(iter(splits.values())), hub_id, revision) else None


def _is_revision(dataset: Any, hub_id: str, revision: str) -> bool:
    """Whether a cached data set is of the revision, by its commit, which is the name of a folder.

    Offline, `datasets` takes its newest copy, whatever the revision.
    """
    ref = _hub_cache() / f"datasets--{hub_id.replace('/', '--')}" / "refs" / revision
    commit = ref.read_text().strip() if ref.is_file() else revision
    return any(commit in Path(file["filename"]).parts for file in dataset.cache_files)


@contextmanager
def _datasets_offline() -> Iterator[None]:
    import datasets

    before = datasets.config.HF_HUB_OFFLINE, datasets.logging.get_verbosity()
    datasets.config.HF_HUB_OFFLINE = True
    datasets.logging.set_verbosity_error()
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE = before[0]
        datasets.logging.set_verbosity(before[1])


def _dataset_folders(hub_id: str) -> list[Path]:
    """Folders of the `datasets` cache that may hold this data set; importing `datasets` takes over a second."""
    name = hub_id.replace("/", "___").replace("_", "").lower()  # the library turns CamelCase into snake_case
    cache = _datasets_cache()
    return [path for path in cache.glob("*") if path.is_dir() and path.name.replace("_", "").lower() == name]


def _datasets_cache() -> Path:
    if "datasets" in sys.modules:
        return Path(sys.modules["datasets"].config.HF_DATASETS_CACHE)
    return Path(os.environ.get("HF_DATASETS_CACHE") or _hub_home() / "datasets").expanduser()


def _hub_cache() -> Path:
    return Path(os.environ.get("HF_HUB_CACHE") or _hub_home() / "hub").expanduser()


def _hub_home() -> Path:
    xdg = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.environ.get("HF_HOME") or f"{xdg}/huggingface").expanduser()


def _first_line(error: Exception) -> str:
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return line if line.endswith(".") else f"{line}."
