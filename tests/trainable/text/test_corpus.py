"""The corpus: every source gives the same rows, changes are noticed, and mistakes are reported in one sentence."""

import gzip
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from paths import ROOT

from trainable.config import CorpusConfig
from trainable.errors import InputError
from trainable.text import corpus as corpus_module
from trainable.text.corpus import Corpus, open_corpus
from trainable.text.sources import hub, rows_parquet

ROWS = ["the first row", None, "", "  ", "naïve “quotes” 🙂", "tab\tand \u2028 separator", "the last row"]


def texts_of(corpus: Corpus, batch_rows: int = 3) -> list[str | None]:
    return [text for batch in corpus.batches(batch_rows) for text in batch.to_pylist()]


def opened(source: Path | str, **settings: Any) -> Corpus:
    return open_corpus(CorpusConfig(source=str(source), **settings))


def write_parquet(path: Path, rows: Any, column: str = "text", kind: Any = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(
        pa.table({"id": range(len(rows)), column: pa.array(rows, kind or pa.string())}), path, row_group_size=2
    )
    return path


def write_jsonl(path: Path, rows: list[str | None]) -> Path:
    path.write_text("".join(json.dumps({"text": row}) + "\n" for row in rows), encoding="utf-8")
    return path


# ---- the same rows from every source -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())]
)
def test_parquet_of_any_string_type_gives_its_rows(tmp_path: Path, kind: Any) -> None:
    corpus = opened(write_parquet(tmp_path / "a.parquet", pa.array(ROWS).cast(kind), kind=kind))
    assert (texts_of(corpus), corpus.rows, corpus.demonstration) == (ROWS, 7, False)


def test_a_folder_of_parquet_files_gives_their_rows_in_the_order_of_names(tmp_path: Path) -> None:
    write_parquet(tmp_path / "data" / "b.parquet", ROWS[4:])
    write_parquet(tmp_path / "data" / "a.parquet", ROWS[:4])
    corpus = opened(tmp_path / "data")
    assert (texts_of(corpus), corpus.rows) == (ROWS, 7)


def test_jsonl_gives_its_rows_and_a_blank_line_is_an_empty_row(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", ROWS)
    path.write_text(path.read_text() + "\n" + '{"text": "no newline at the end"}')
    corpus = opened(path)
    assert texts_of(corpus) == [*ROWS, None, "no newline at the end"]
    assert corpus.rows == 9


def test_text_file_gives_one_row_a_line(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("\ufefffirst\r\n\nsep\u2028arator\rreturn\nlast".encode())
    corpus = opened(path)
    assert texts_of(corpus, 2) == ["first", "", "sep\u2028arator\rreturn", "last"]
    assert corpus.rows == 4


@pytest.mark.parametrize("wrap", [False, True])
def test_saved_data_set_gives_its_rows(tmp_path: Path, wrap: bool) -> None:
    datasets = pytest.importorskip("datasets")
    saved = datasets.Dataset.from_dict({"other": range(7), "text": ROWS})
    (datasets.DatasetDict(train=saved, test=saved.select([0])) if wrap else saved).save_to_disk(tmp_path / "saved")
    corpus = opened(tmp_path / "saved")
    assert (texts_of(corpus), corpus.rows) == (ROWS, 7)
    assert opened(tmp_path / "saved").fingerprint == corpus.fingerprint


WITHOUT = """
import importlib, pkgutil, sys
from pathlib import Path
for name in ("datasets", "huggingface_hub", "ray", "torch", "transformers"):
    sys.modules[name] = None
import trainable.text
for module in pkgutil.iter_modules(trainable.text.__path__):
    importlib.import_module(f"trainable.text.{module.name}")
from trainable.config import CorpusConfig, TokensConfig
from trainable.text.blocks import token_blocks
from trainable.text.corpus import open_corpus
from trainable.text.split import split_rows
from trainable.text.tokenizer.tokenizer import corpus_tokenizer
cache, *sources = sys.argv[1:]
for source in sources:
    corpus = open_corpus(CorpusConfig(source=source))
    row_ids_R = split_rows(corpus.rows, CorpusConfig()).train
    tokenizer = corpus_tokenizer("train:512", corpus, row_ids_R, Path(cache))
    print(len(token_blocks(corpus, row_ids_R, tokenizer, TokensConfig(context=8), Path(cache)).ids_BxT) > 0)
"""


def test_local_text_is_prepared_without_datasets_torch_and_ray(tmp_path: Path) -> None:
    rows = ["one two three four five six seven eight"] * 20
    (tmp_path / "a.txt").write_text("\n".join(rows))
    sources = [
        write_parquet(tmp_path / "a.parquet", rows),
        write_jsonl(tmp_path / "a.jsonl", [*rows]),
        tmp_path / "a.txt",
        write_parquet(tmp_path / "data" / "train-0.parquet", rows).parent,
        tmp_path / "*.gz",
        tmp_path / "a.csv",
    ]
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(sources[1].read_bytes()))
    sources[-1].write_text("\n".join(["text", *rows]))
    command = [sys.executable, "-c", WITHOUT, str(tmp_path / "cache"), *map(str, sources), "builtin"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["True"] * 7


def test_books_are_read_in_order_and_in_part(shared_data: Path) -> None:
    path = shared_data / "books" / "books.parquet"
    corpus = opened(path)
    wanted = np.random.default_rng(0).permutation(20_000)[:5_000]
    expected = next(pq.ParquetFile(path).iter_batches(20_000)).column(0).to_pylist()
    taken: list[str | None] = [None] * len(wanted)
    for where, texts in corpus.take(wanted):
        for place, text in zip(where, texts.to_pylist(), strict=True):
            taken[place] = text
    assert taken == [expected[row] for row in wanted]
    assert corpus.rows == 1_721_010


# ---- a changed corpus is another corpus --------------------------------------------------------------------------


def test_a_changed_file_has_another_fingerprint(tmp_path: Path) -> None:
    changed = [*ROWS[:-1], "the lost row"]
    for name, write in (("a.parquet", write_parquet), ("a.jsonl", write_jsonl)):
        before = opened(write(tmp_path / name, ROWS)).fingerprint
        assert opened(write(tmp_path / name, ROWS)).fingerprint == before
        assert opened(write(tmp_path / name, changed)).fingerprint != before


def test_a_parquet_file_is_hashed_once_and_only_when_its_fingerprint_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The settings of a run on a large corpus are checked without reading the whole corpus."""
    hashed: list[Path] = []
    monkeypatch.setattr(rows_parquet, "sha256_once", lambda path: hashed.append(path) or "digest")
    corpus = opened(write_parquet(tmp_path / "a.parquet", ROWS))
    assert corpus.rows == 7 and not hashed
    assert corpus.fingerprint == corpus.fingerprint
    assert len(hashed) == 1


def test_a_file_that_was_deleted_after_opening_is_reported(tmp_path: Path) -> None:
    corpus = opened(write_parquet(tmp_path / "a.parquet", ROWS))
    (tmp_path / "a.parquet").unlink()
    with pytest.raises(InputError, match=r"cannot read .*a\.parquet \(No such file or directory\)"):
        _ = corpus.fingerprint


def test_a_changed_saved_data_set_has_another_fingerprint(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    prints = set()
    for name, last in (("a", "row"), ("b", "raw"), ("c", "row")):
        datasets.Dataset.from_dict({"text": ["one", last]}).save_to_disk(tmp_path / name)
        prints.add(opened(tmp_path / name).fingerprint)
    assert len(prints) == 2


def test_a_change_of_the_corpus_while_it_is_read_is_reported(tmp_path: Path) -> None:
    corpus = opened(write_jsonl(tmp_path / "a.jsonl", ROWS))
    write_jsonl(tmp_path / "a.jsonl", ROWS[:3])
    with pytest.raises(InputError, match=r"changed while it was read \(7 rows, now 3\)"):
        texts_of(corpus)


# ---- mistakes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["data/foo.parquet", "foo.jsonl", "./foo", "/tmp/no/such", "~/no/such", "a/b/c", ""])
def test_a_missing_path_is_not_taken_for_a_hub_id(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus_module, "open_hub", lambda *_: pytest.fail("the hub was asked"))
    with pytest.raises(InputError, match=r"does not exist"):
        opened(source)


def test_a_path_on_disk_comes_before_a_hub_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_parquet(Path("org/name/a.parquet"), ROWS)
    assert opened("org/name").rows == 7


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.doc", b"text\nrow\n", "unknown ending '.doc'"),
        ("a.parquet.gz", b"PAR1", "unknown ending '.parquet.gz'"),
        ("a.txt", b"", "has no rows"),
        ("a.txt", b"fine\n\xff\xfe bad\n", "row 2 of .* is not UTF-8"),
        ("a.txt", b"x" * (1 << 20) + b"\n" + "ü".encode()[:1], "row 2 of .* is not UTF-8"),
        ("a.txt", b"one\ntwo\n\x00\x01", "not a text file .* row 3"),
        ("a.jsonl", b'{"text": "a"}\n{"text": \n', "row 2 of .* is not a JSON object"),
        ("a.json", b'[{"text": "a"}]\n', "row 1 of .* write one JSON object a line"),
        ("a.jsonl", b'{"body": "a", "id": 1}\n', "no column 'text': set corpus.column to one of 'body', 'id'"),
        ("a.jsonl", b'{"text": 3}\n', "row 1 of .* holds no text in column 'text'"),
        ("a.jsonl", b'{"text": "\\ud800"}\n', "row 1 of .* half a surrogate pair"),
        ("a.parquet", b"PAR1 not really PAR1", "is not a whole parquet file"),
        ("a.parquet", b"", "is not a whole parquet file"),
    ],
)
def test_a_bad_file_is_reported_in_one_sentence(tmp_path: Path, name: str, content: bytes, sentence: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=sentence):
        opened(tmp_path / name)


def test_the_message_about_a_wrong_column_names_the_existing_columns(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", ROWS, column="body")
    with pytest.raises(InputError, match=r"no column 'text': set corpus.column to one of 'id', 'body'"):
        opened(path)
    with pytest.raises(InputError, match=r"column 'id' of .* holds int64, not text"):
        opened(path, column="id")
    assert opened(path, column="body").rows == 7


def test_damage_in_the_middle_of_a_parquet_file_is_reported(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", [f"row {i} {i * 7919}" for i in range(1000)])
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 8 : len(damaged) // 4] = b"\xff" * (len(damaged) // 4 - len(damaged) // 8)
    path.write_bytes(damaged)
    with pytest.raises(InputError, match=r"is not a whole parquet file|is not UTF-8"):
        texts_of(opened(path))


def test_parquet_row_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    rows = pa.array([b"fine", b"fine", b"fine", b"\xff bad"]).view(pa.string())
    with pytest.raises(InputError, match=r"row 4 of .* is not UTF-8"):
        texts_of(opened(write_parquet(tmp_path / "a.parquet", rows)))


def test_a_folder_without_a_corpus_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no files of text and no saved data set"):
        opened(tmp_path)


def test_a_damaged_saved_data_set_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    (tmp_path / "state.json").write_text("{")
    with pytest.raises(InputError, match=r"is not a whole saved data set"):
        opened(tmp_path)


# ---- the hub -----------------------------------------------------------------------------------------------------

OPEN = """
import sys
from trainable.config import CorpusConfig
from trainable.text.corpus import open_corpus
from trainable.errors import InputError
from trainable.text.tokenizer.tokenizer import load_tokenizer
try:
    if sys.argv[1] == "corpus":
        print(open_corpus(CorpusConfig(source=sys.argv[2])).rows)
    else:
        load_tokenizer(sys.argv[2], lambda: iter(()), "", None)
except InputError as error:
    print(error)
"""


def open_in_a_new_process(home: Path, kind: str, hub_id: str, **variables: str) -> str:
    """Open a corpus or a tokenizer of the hub; return what is printed: the number of rows, or an error message."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith("HF_") and "PROXY" not in name.upper()
    }
    environment = kept | {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), **variables}
    command = [sys.executable, "-c", OPEN, kind, hub_id]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()


class SilentHub:
    """Server that accepts connections and never answers."""

    def __init__(self, server: socket.socket) -> None:
        self._server = server
        self.endpoint = f"http://127.0.0.1:{server.getsockname()[1]}"

    @property
    def asked(self) -> int:
        """Number of connections since this property was last read."""
        self._server.setblocking(False)
        count = 0
        with suppress(BlockingIOError):
            while True:
                self._server.accept()[0].close()
                count += 1
        return count


@pytest.fixture
def silent_hub() -> Iterator[SilentHub]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield SilentHub(server)


@pytest.mark.parametrize(("kind", "hub_id"), [("corpus", "bookcorpus"), ("corpus", "org/name"), ("tokenizer", "gpt2")])
def test_a_silent_hub_is_asked_once_for_two_seconds_at_most_and_reported_and_leaves_no_file(
    tmp_path: Path, silent_hub: SilentHub, kind: str, hub_id: str
) -> None:
    message = open_in_a_new_process(tmp_path, kind, hub_id, HF_ENDPOINT=silent_hub.endpoint)
    assert "the Hugging Face hub is out of reach" in message
    assert "or run once with network" in message
    assert silent_hub.asked == 1 and hub.PROBE_SECONDS <= 2
    assert not list(tmp_path.rglob("*"))


def test_offline_mode_asks_no_server(tmp_path: Path, silent_hub: SilentHub) -> None:
    message = open_in_a_new_process(tmp_path, "corpus", "org/name", HF_HUB_OFFLINE="1", HF_ENDPOINT=silent_hub.endpoint)
    assert "HF_HUB_OFFLINE is set" in message
    assert silent_hub.asked == 0


def test_a_data_set_that_was_downloaded_before_works_without_network(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    write_parquet(tmp_path / "a.parquet", ROWS)
    cache = tmp_path / "cache" / "huggingface" / "datasets"
    made = datasets.load_dataset("parquet", data_files=str(tmp_path / "a.parquet"), split="train", cache_dir=str(cache))
    downloaded = cache / "org___my_books" / "default" / "0.0.0" / "0123abc"  # where a download of org/MyBooks lies
    downloaded.parent.mkdir(parents=True)
    Path(made.cache_files[0]["filename"]).parent.rename(downloaded)
    (downloaded / "parquet-train.arrow").rename(downloaded / "my_books-train.arrow")
    message = open_in_a_new_process(tmp_path, "corpus", "org/MyBooks", HF_ENDPOINT="http://127.0.0.1:9")
    assert message == "7"


def test_an_error_of_the_hub_becomes_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")

    def refuse(*_: Any, **__: Any) -> None:
        raise datasets.exceptions.DatasetNotFoundError("Dataset 'org/none' doesn't exist on the Hub")

    monkeypatch.setattr(hub, "hub_reachable", lambda: True)
    monkeypatch.setattr(datasets, "load_dataset", refuse)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    with pytest.raises(InputError, match=r"cannot load the data set 'org/none' .* doesn't exist on the Hub\. Check"):
        opened("org/none")


def test_bookcorpus_is_loaded_from_the_revision_that_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    asked = []

    def load(hub_id: str, revision: str) -> Any:
        asked.append((hub_id, revision))
        return datasets.DatasetDict(train=datasets.Dataset.from_dict({"text": ROWS}))

    monkeypatch.setattr(hub, "hub_reachable", lambda: True)
    monkeypatch.setattr(hub, "_dataset_folders", lambda hub_id: [])
    monkeypatch.setattr(datasets, "load_dataset", load)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    assert texts_of(opened("bookcorpus")) == ROWS
    assert asked == [("bookcorpus/bookcorpus", "refs/convert/parquet")]


def test_the_train_split_of_a_hub_data_set_is_read_unless_another_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    parts = {name: datasets.Dataset.from_dict({"text": [name]}) for name in ("test", "train")}
    monkeypatch.setattr(hub, "_dataset_folders", lambda hub_id: ["a folder"])
    monkeypatch.setattr(datasets, "load_dataset", lambda hub_id: datasets.DatasetDict(parts))
    corpus = opened("org/name")
    assert (texts_of(corpus), corpus.split) == (["train"], "train")
    assert corpus.notes == ("split train is read, not test (corpus.split)",)
    assert texts_of(opened("org/name", split="test")) == ["test"]
    with pytest.raises(InputError, match=r"org/name has no split 'dev': set corpus\.split to one of 'test', 'train'"):
        opened("org/name", split="dev")
