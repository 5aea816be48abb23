"""Parts of the rows: each row is tokenised once, in one pass over the corpus, whatever parts it belongs to."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shard_runs import cut_gathering

from trainable.config import CorpusConfig, TokensConfig
from trainable.errors import InputError
from trainable.text import packing
from trainable.text.blocks import Rows, TokenBlocks, blocks_of_parts, token_blocks
from trainable.text.corpus import Corpus, open_corpus
from trainable.text.parts import _united
from trainable.text.split import permuted_rows
from trainable.text.tokenizer.tokenizer import TextTokenizer, load_tokenizer, train_bpe

Packing = Literal["packed", "as_published"]
ROWS = 1000


class Counted:
    """Counts of the passes over a corpus, and of the texts that are tokenised."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.passes, self.tokenised = 0, Counter[str]()
        batches, encode = Corpus.batches, packing.encode_rows

        def noted_batches(corpus: Corpus, *more: Any) -> Iterator[Any]:
            self.passes += 1
            return batches(corpus, *more)

        def noted_encode(tokenizer: TextTokenizer, texts: list[str]) -> Any:
            self.tokenised.update(texts)
            return encode(tokenizer, texts)

        patch.setattr(Corpus, "batches", noted_batches)
        patch.setattr(packing, "encode_rows", noted_encode)

    def reset(self) -> None:
        self.passes, self.tokenised = 0, Counter()

    def rows(self) -> int:
        """Number of tokenised rows; fails if a row was tokenised twice."""
        assert max(self.tokenised.values(), default=0) <= 1
        return len(self.tokenised)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    return Counted(monkeypatch)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """Corpus of rows that all differ; every 50th row is empty."""
    path = tmp_path_factory.mktemp("corpus") / "rows.jsonl"
    rows = [None if n % 50 == 7 else f"row {n} {'of words ' * (n % 9)}." for n in range(ROWS)]
    path.write_text("".join(json.dumps({"text": row}) + "\n" for row in rows))
    return open_corpus(CorpusConfig(source=str(path)))


@pytest.fixture(scope="module")
def tokenizer(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> TextTokenizer:
    folder = tmp_path_factory.mktemp("tokenizer")
    train_bpe(corpus.texts(np.arange(ROWS)), 512).save(str(folder / "tokenizer.json"))
    return load_tokenizer(str(folder), lambda: iter(()), "", folder)


ORDER = permuted_rows(ROWS, 3)
OVERLAPPING = {
    range(0, 200): "validation rows",
    range(200, 1000): "training split",
    range(200, 600): "training rows",
    range(0, 400): "others",
    range(350, 351): "one",
}


def made(
    corpus: Corpus, tokenizer: TextTokenizer, cache: Path, parts: Mapping[range, str], how: Packing = "packed"
) -> list[TokenBlocks]:
    config = TokensConfig(packing=how, context=16)
    return blocks_of_parts(Rows(corpus, ORDER, "seed 3"), parts, tokenizer, config, cache)


def alone(corpus: Corpus, tokenizer: TextTokenizer, cache: Path, part: range, how: Packing) -> TokenBlocks:
    config = TokensConfig(packing=how, context=16)
    return token_blocks(corpus, ORDER[part.start : part.stop], tokenizer, config, cache)


def assert_as_alone(blocks: TokenBlocks, other: TokenBlocks) -> None:
    for name in ("fingerprint", "checksum", "rows", "empty_rows", "unread_rows", "eos_rows", "pad_id"):
        assert getattr(blocks, name) == getattr(other, name), name
    assert np.array_equal(blocks.ids_BxT, other.ids_BxT)
    if blocks.lengths_B is not None or other.lengths_B is not None:
        assert np.array_equal(blocks.lengths_B, other.lengths_B)  # type: ignore[arg-type]


@pytest.mark.parametrize("how", ["packed", "as_published"])
@pytest.mark.parametrize("levels", ["one level", "several"])
def test_each_of_several_overlapping_parts_equals_the_part_made_alone(
    corpus: Corpus, tokenizer: TextTokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: Packing, levels: str
) -> None:
    if levels == "several":
        cut_gathering(monkeypatch)
        monkeypatch.setattr(packing, "SHARD_ROWS", 40)
    together = made(corpus, tokenizer, tmp_path / "together", OVERLAPPING, how)
    for part, blocks in zip(OVERLAPPING, together, strict=True):
        assert_as_alone(blocks, alone(corpus, tokenizer, tmp_path / "alone", part, how))
    assert not list((tmp_path / "together" / "tokens").glob("*.shards"))


def test_parts_that_overlap_are_tokenised_once_in_one_pass(
    corpus: Corpus, tokenizer: TextTokenizer, tmp_path: Path, counted: Counted
) -> None:
    made(corpus, tokenizer, tmp_path, OVERLAPPING)
    assert (counted.passes, counted.rows()) == (1, 980)
    made(corpus, tokenizer, tmp_path, OVERLAPPING)
    assert (counted.passes, counted.rows()) == (1, 980), "the second time all parts are in the cache"


def test_rows_that_lie_in_the_cache_are_not_tokenised_for_another_part(
    corpus: Corpus, tokenizer: TextTokenizer, tmp_path: Path, counted: Counted
) -> None:
    made(corpus, tokenizer, tmp_path, {range(100, 400): "some", range(500, 700): "others"})
    counted.reset()
    wanted = {range(0, 800): "more, before, between and behind", range(150, 300): "fewer", range(350, 550): "of both"}
    together = made(corpus, tokenizer, tmp_path, wanted)
    texts = corpus.texts(np.sort(np.concatenate([ORDER[:100], ORDER[400:500], ORDER[700:800]])))
    assert counted.passes == 1 and counted.tokenised == Counter(texts)
    for part, blocks in zip(wanted, together, strict=True):
        assert_as_alone(blocks, alone(corpus, tokenizer, tmp_path / "alone", part, "packed"))
    counted.reset()
    (inner,) = made(corpus, tokenizer, tmp_path, {range(10, 790): "inside of another"})
    assert counted.passes == 0
    assert_as_alone(inner, alone(corpus, tokenizer, tmp_path / "alone", range(10, 790), "packed"))


def test_a_damaged_part_is_no_source_for_others(
    corpus: Corpus, tokenizer: TextTokenizer, tmp_path: Path, counted: Counted
) -> None:
    (first,) = made(corpus, tokenizer, tmp_path, {range(100, 400): "some"})
    content = bytearray((first.path / "tokens.bin").read_bytes())
    content[100] ^= 1
    (first.path / "tokens.bin").write_bytes(content)
    counted.reset()
    (larger,) = made(corpus, tokenizer, tmp_path, {range(0, 500): "more"})
    assert counted.passes == 1
    assert_as_alone(larger, alone(corpus, tokenizer, tmp_path / "alone", range(0, 500), "packed"))


def test_parts_of_another_order_or_tokenizer_are_no_source(
    corpus: Corpus, tokenizer: TextTokenizer, tmp_path: Path, counted: Counted
) -> None:
    made(corpus, tokenizer, tmp_path, {range(0, 500): "some"})
    counted.reset()
    other = Rows(corpus, permuted_rows(ROWS, 4), "seed 4")
    (blocks,) = blocks_of_parts(other, {range(0, 400): "others"}, tokenizer, TokensConfig(context=16), tmp_path)
    assert counted.passes == 1 and blocks.rows == 400


def test_strings_that_as_published_parts_have_in_common_are_tokenised_once(
    corpus: Corpus, tokenizer: TextTokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counted: Counted
) -> None:
    strings: Counter[str] = Counter()
    encodings = packing.encodings

    def noted(tokenizer: TextTokenizer, texts: list[str], **named: bool) -> list[Any]:
        strings.update(texts)
        return encodings(tokenizer, texts, **named)

    monkeypatch.setattr(packing, "encodings", noted)
    made(corpus, tokenizer, tmp_path / "one", {range(0, 600): "some", range(0, 400): "fewer"}, "as_published")
    assert counted.passes == 1
    assert len(strings) == 3 and set(strings.values()) == {1}
    made(corpus, tokenizer, tmp_path / "other", {range(0, 600): "some"}, "as_published")
    for part, fresh in ((range(0, 1000), 2), (range(100, 500), 2)):
        strings.clear()
        made(corpus, tokenizer, tmp_path / "other", {part: "all, or cut otherwise"}, "as_published")
        assert len(strings) == fresh


def test_an_error_in_a_row_leaves_no_unfinished_part_and_keeps_whole_parts(
    corpus: Corpus, tokenizer: TextTokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(corpus, tokenizer, tmp_path, {range(0, 100): "some"})
    before = {path for path in (tmp_path / "tokens").iterdir() if path.is_dir()}

    def refuse(*_: Any) -> None:
        raise InputError("row 7 is wrong.")

    with monkeypatch.context() as patch:
        patch.setattr(packing, "encode_rows", refuse)
        with pytest.raises(InputError, match="row 7"):
            made(corpus, tokenizer, tmp_path, {range(0, 400): "more"})
    assert {path for path in (tmp_path / "tokens").iterdir() if path.is_dir()} == before


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 12)), min_size=1))
def test_united_pieces_have_each_position_of_all_pieces_once(bounds: list[tuple[int, int]]) -> None:
    pieces = sorted({range(first, first + size) for first, size in bounds}, key=lambda p: (p.start, p.stop))
    united = [position for one in _united(pieces) for position in one]
    assert united == sorted({position for piece in pieces for position in piece})
