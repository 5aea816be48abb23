"""The built-in corpus: the same novels on every machine, shipped with the package."""

import hashlib
import re
import tomllib
from importlib import resources
from pathlib import Path

import pytest
from paths import ROOT

from trainable.config import CorpusConfig
from trainable.text.corpus import open_corpus

SHA_256 = "ed9ee5dc432341abf9cb26d136732cefdfb91d2ce17bd38154511be64cf21d8e"
TEXT, ABOUT = (resources.files("trainable.text") / f"builtin.{ending}" for ending in ("txt", "md"))


def test_the_text_has_not_changed_since_the_results_on_it() -> None:
    assert hashlib.sha256(TEXT.read_bytes()).hexdigest() == SHA_256, "a changed text needs another name"
    assert open_corpus(CorpusConfig()).fingerprint == "b8b39164dc27de97", "part of the keys of all data from the text"


def test_the_page_beside_it_names_every_book_and_the_checksum() -> None:
    about = ABOUT.read_text(encoding="utf-8")
    books = re.findall(
        r"^\| ([\d,]+) to ([\d,]+) \| ([^|]+) \| [^|]+ \((\d+)-(\d+)\) \| (\d+) \|$", about, re.MULTILINE
    )
    bounds = [[int(number.replace(",", "")) for number in book[:2]] for book in books]
    rows = TEXT.read_text(encoding="utf-8").splitlines()
    assert SHA_256 in about and "public domain" in about
    assert [first for first, _ in bounds] == [1, *(last + 1 for _, last in bounds[:-1])], "each row is of a named book"
    assert bounds[-1][1] == len(rows)
    words = ["alice", "jekyll", "holmes", "huckleberry"]
    found = [[word in " ".join(rows[first - 1 : last]).split() for word in words] for first, last in bounds]
    assert found == [[i == j for j in range(4)] for i in range(4)], "each book stands where the page says"
    assert all(int(died) < 1931 and int(published) < 1929 for *_, died, published in books)


def test_rows_are_in_lower_case_and_opening_the_corpus_writes_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BIGRAM_CACHE", str(tmp_path / "cache"))
    corpus = open_corpus(CorpusConfig())
    rows = [row for batch in corpus.batches() for row in batch.to_pylist()]
    assert corpus.demonstration and len(rows) == corpus.rows == 11_357
    assert all(row == row.strip().lower() != "" for row in rows)
    assert not list(tmp_path.iterdir())


def test_a_wheel_has_every_file_that_the_packages_read() -> None:
    """pyproject.toml lists the files in packages that are neither Python nor a README; else a wheel would lack them."""
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    shipped = {path for name, patterns in listed.items() for path in _files(name, patterns)}
    packages = [
        path.parent for top in ("trainable", "sweeps", "analysis") for path in ROOT.glob(f"{top}/**/__init__.py")
    ]
    read = {path for folder in packages for path in folder.iterdir() if path.is_file()}
    read = {path for path in read if path.suffix not in (".py", ".pyc") and path.name != "README.md"}
    assert {"builtin.txt", "builtin.md"} <= {path.name for path in read}
    assert read <= shipped


def _files(package: str, patterns: list[str]) -> set[Path]:
    below = "*/**" if package == "*" else package.replace(".", "/")
    return {path for pattern in patterns for path in ROOT.glob(f"{below}/{pattern}")}
