"""Token blocks equal those of a naive implementation, are made once, and are taken from the cache only if whole."""

import dataclasses
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from foreign_tokenizers import published_kinds, save, word_level
from numpy.typing import NDArray
from paths import ROOT

from trainable.config import CorpusConfig, TokensConfig
from trainable.errors import DamagedFile, InputError
from trainable.record.files import write_json
from trainable.text import gather as gathering
from trainable.text import packing
from trainable.text.blocks import TokenBlocks, joined_blocks, token_blocks
from trainable.text.corpus import Corpus, open_corpus
from trainable.text.split import split_rows
from trainable.text.tokenizer.tokenizer import TextTokenizer, corpus_tokenizer, given_tokenizer

Packing = Literal["packed", "as_published"]


def make_rows() -> list[str | None]:
    words = np.random.default_rng(0).integers(0, 400, (1000, 12))
    rows: list[str | None] = [
        " ".join(f"w{word}" for word in line[: 1 + i % 12]) + " ." for i, line in enumerate(words)
    ]
    rows[3], rows[500], rows[999] = None, "", "  \u3000\t"
    return rows


ROWS = make_rows()


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    path = tmp_path_factory.mktemp("corpus") / "rows.jsonl"
    path.write_text("".join(json.dumps({"text": row}) + "\n" for row in ROWS))
    return open_corpus(CorpusConfig(source=str(path)))


@pytest.fixture(scope="module")
def order() -> NDArray[np.int64]:
    return np.random.default_rng(1).permutation(len(ROWS))[:900]


@pytest.fixture(scope="module")
def tokenizer(corpus: Corpus, order: NDArray[np.int64], tmp_path_factory: pytest.TempPathFactory) -> TextTokenizer:
    return corpus_tokenizer("train:600", corpus, order, tmp_path_factory.mktemp("tokenizers"))


@pytest.fixture
def make(
    corpus: Corpus, order: NDArray[np.int64], tokenizer: TextTokenizer, tmp_path: Path
) -> Callable[..., TokenBlocks]:
    def make_blocks(packing: Packing = "packed", context: int = 16, **changes: Any) -> TokenBlocks:
        parts: dict[str, Any] = {
            "corpus": corpus,
            "row_ids_R": order,
            "tokenizer": tokenizer,
            "cache": tmp_path,
        } | changes
        return token_blocks(config=TokensConfig(packing=packing, context=context), **parts)

    return make_blocks


def kept(order: NDArray[np.int64]) -> list[str]:
    return [text for row in order if (text := ROWS[row]) is not None and text.strip()]


# ---- the right tokens --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stretch", [50, 1 << 20])
@pytest.mark.parametrize("encode", [200, 1 << 22])
def test_packed_is_each_row_and_an_eos_in_the_given_order(
    make: Callable[..., TokenBlocks],
    order: NDArray[np.int64],
    tokenizer: TextTokenizer,
    monkeypatch: pytest.MonkeyPatch,
    stretch: int,
    encode: int,
) -> None:
    monkeypatch.setattr(gathering, "PIECE_TOKENS", 1)
    monkeypatch.setattr(gathering, "STRETCH_TOKENS", stretch)
    monkeypatch.setattr(packing, "ENCODE_BYTES", encode)
    blocks = make()
    expected: list[int] = []
    for text in kept(order):
        expected += [*tokenizer.encoder.encode(text, add_special_tokens=False).ids, tokenizer.eos_id]
    assert blocks.stream_N.tolist() == expected
    assert blocks.ids_BxT.tolist() == [expected[i : i + 16] for i in range(0, len(expected) - 15, 16)]
    assert (blocks.pad_id, blocks.lengths_B, blocks.eos_id) == (None, None, 2)


def test_as_published_joins_200_rows_cuts_and_pads_the_last_block(
    make: Callable[..., TokenBlocks], order: NDArray[np.int64], tokenizer: TextTokenizer
) -> None:
    blocks = make("as_published")
    expected, lengths = [], []
    for first in range(0, len(order), 200):
        text = "".join(kept(order[first : first + 200]))
        ids = tokenizer.encoder.encode(text, add_special_tokens=True).ids
        assert ids[0] == tokenizer.bos_id
        for start in range(0, len(ids), 16):
            block = ids[start : start + 16]
            expected.append(block + [0] * (16 - len(block)))
            lengths.append(len(block))
    assert blocks.lengths_B is not None
    assert blocks.ids_BxT.tolist() == expected
    assert blocks.lengths_B.tolist() == lengths
    assert blocks.pad_id == tokenizer.pad_id == 0


def test_lengths_distinguish_padding_from_tokens_if_pad_is_eos(
    make: Callable[..., TokenBlocks], tokenizer: TextTokenizer
) -> None:
    blocks = make("as_published", tokenizer=dataclasses.replace(tokenizer, pad_id=None, fingerprint="no pad"))
    assert blocks.lengths_B is not None
    assert blocks.pad_id == tokenizer.eos_id
    padded_BxT = np.arange(16) >= blocks.lengths_B[:, None]
    assert padded_BxT.any()
    assert (blocks.ids_BxT[padded_BxT] == tokenizer.eos_id).all()


@pytest.mark.parametrize("packing", ["packed", "as_published"])
def test_null_and_blank_rows_are_dropped_and_counted(
    make: Callable[..., TokenBlocks], packing: Packing, order: NDArray[np.int64]
) -> None:
    blocks = make(packing, row_ids_R=np.arange(1000))
    assert (blocks.rows, blocks.empty_rows) == (1000, 3)
    manifest = json.loads((blocks.path / "manifest.json").read_text())
    assert (manifest["rows"], manifest["empty_rows"]) == (1000, 3)


UNREAD = ["the cat", "Ж Й", "", "a dog Ж", "Ж", "her sister </s>", None, "the wind"]  # rows 1 and 4 cannot be read


@pytest.mark.parametrize("packing", ["packed", "as_published"])
@pytest.mark.parametrize("kind", ["drops", "BERT"])
def test_rows_that_the_tokenizer_cannot_read_are_counted_apart_from_empty_ones(
    packing: Packing, kind: str, tmp_path: Path
) -> None:
    path = tmp_path / "unread.jsonl"
    path.write_text("".join(json.dumps({"text": row}) + "\n" for row in UNREAD))
    tokenizer = given_tokenizer(str(save(published_kinds()[kind], tmp_path / "given")))
    config = TokensConfig(packing=packing, context=4)
    blocks = token_blocks(open_corpus(CorpusConfig(source=str(path))), np.arange(8), tokenizer, config, tmp_path)
    assert (blocks.rows, blocks.empty_rows, blocks.unread_rows, blocks.eos_rows) == (8, 2, 2, 0)
    again = token_blocks(open_corpus(CorpusConfig(source=str(path))), np.arange(8), tokenizer, config, tmp_path)
    assert again.unread_rows == 2, "the cache keeps the number of unread rows"
    halves = [
        token_blocks(open_corpus(CorpusConfig(source=str(path))), part, tokenizer, config, tmp_path)
        for part in (np.arange(3), np.arange(3, 8))
    ]
    whole = joined_blocks(halves, tmp_path, "rows")
    assert (whole.rows, whole.empty_rows, whole.unread_rows) == (8, 2, 2)


def test_a_row_without_a_token_is_left_out_like_an_empty_row(tmp_path: Path) -> None:
    """An end of text without tokens before it would teach that one end of text follows another."""
    path = tmp_path / "rows.txt"
    path.write_text("the cat\nЖ\nthe wind\n")
    tokenizer = given_tokenizer(str(save(published_kinds()["drops"], tmp_path / "given")))
    corpus = open_corpus(CorpusConfig(source=str(path)))
    blocks = token_blocks(corpus, np.arange(3), tokenizer, TokensConfig(context=2), tmp_path)
    rows = [tokenizer.encoder.encode(text, add_special_tokens=False).ids for text in ("the cat", "the wind")]
    assert blocks.stream_N.tolist() == [*rows[0], tokenizer.eos_id, *rows[1], tokenizer.eos_id]
    assert (blocks.empty_rows, blocks.unread_rows) == (0, 1)


@pytest.mark.parametrize("packing", ["packed", "as_published"])
def test_rows_whose_text_gives_an_end_of_text_are_counted(packing: Packing, tmp_path: Path) -> None:
    path = tmp_path / "rows.txt"
    path.write_text("a b\na </s> b\nb a\n")
    given = save(word_level(["<unk>", "</s>", "a", "b"]), tmp_path / "given", eos_token="</s>")
    corpus = open_corpus(CorpusConfig(source=str(path)))
    config = TokensConfig(packing=packing, context=2)
    assert token_blocks(corpus, np.arange(3), given_tokenizer(str(given)), config, tmp_path).eos_rows == 1


@pytest.mark.parametrize("packing", ["packed", "as_published"])
def test_books_equal_the_naive_implementation(tmp_path: Path, shared_data: Path, packing: Packing) -> None:
    """Packed tokens are compared one by one; with as_published, only the numbers of tokens and blocks are compared."""
    path = tmp_path / "books.parquet"
    write_first_books(shared_data, path)
    config = CorpusConfig(source=str(path))
    corpus = open_corpus(config)
    split = split_rows(corpus.rows, config)
    tokenizer = corpus_tokenizer("train:4096", corpus, split.train, tmp_path)
    blocks = token_blocks(corpus, split.eval, tokenizer, TokensConfig(packing=packing), tmp_path)
    texts = pq.read_table(path)["text"].to_pylist()
    texts = [texts[row] for row in split.eval]
    if packing == "packed":
        ids = [[*e.ids, 2] for e in tokenizer.encoder.encode_batch(texts, add_special_tokens=False)]
        assert np.array_equal(blocks.stream_N, np.concatenate(ids))
    else:
        strings = ["".join(texts[i : i + 200]) for i in range(0, len(texts), 200)]
        lengths = [len(e.ids) for e in tokenizer.encoder.encode_batch(strings)]
        assert blocks.lengths_B is not None
        assert int(blocks.lengths_B.sum()) == sum(lengths)
        assert len(blocks.ids_BxT) == sum(-(-length // 128) for length in lengths)


def write_first_books(shared_data: Path, path: Path) -> None:
    batch = next(pq.ParquetFile(shared_data / "books" / "books.parquet").iter_batches(20_000))
    pq.write_table(pa.Table.from_batches([batch]), path)


def test_validation_text_is_in_no_training_block(
    make: Callable[..., TokenBlocks], tokenizer: TextTokenizer, tmp_path: Path
) -> None:
    path = tmp_path / "rows.txt"
    config = CorpusConfig(source=str(path))
    split = split_rows(500, config)
    rows = ["w1 w2 w3 ."] * 500
    for row in split.eval:
        rows[row] = "ONLY HERE ."
    path.write_text("\n".join(rows))
    for method in ("packed", "as_published"):
        train = make(method, corpus=open_corpus(config), row_ids_R=split.train)
        held_out = make(method, corpus=open_corpus(config), row_ids_R=split.eval)
        assert "ONLY" not in tokenizer.encoder.decode(train.stream_N.tolist())
        assert "w1" not in tokenizer.encoder.decode(held_out.stream_N.tolist())


# ---- types and pickling ------------------------------------------------------------------------------------------


def test_ids_are_uint16_while_the_vocabulary_fits_and_uint32_beyond(
    make: Callable[..., TokenBlocks], tokenizer: TextTokenizer
) -> None:
    small = make(tokenizer=dataclasses.replace(tokenizer, vocab_size=65_536, fingerprint="small"))
    large = make(tokenizer=dataclasses.replace(tokenizer, vocab_size=65_537, fingerprint="large"))
    assert (small.ids_BxT.dtype, large.ids_BxT.dtype) == (np.uint16, np.uint32)
    assert np.array_equal(small.stream_N, large.stream_N)


@pytest.mark.parametrize("packing", ["packed", "as_published"])
def test_a_token_id_beyond_the_vocabulary_is_refused(
    make: Callable[..., TokenBlocks], tokenizer: TextTokenizer, packing: Packing, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"the tokenizer gave token id \d+ but has 300 tokens"):
        make(packing, tokenizer=dataclasses.replace(tokenizer, vocab_size=300))
    assert not list((tmp_path / "tokens").glob("*/*"))


@pytest.mark.parametrize("packing", ["packed", "as_published"])
def test_blocks_are_read_only_and_a_pickle_refers_to_their_arrays_once(
    make: Callable[..., TokenBlocks], packing: Packing
) -> None:
    blocks = make(packing)
    buffers: list[pickle.PickleBuffer] = []
    small = pickle.dumps(blocks, protocol=5, buffer_callback=buffers.append)
    assert len(small) < 2000
    assert sum(len(buffer.raw()) for buffer in buffers) == blocks.stream_N.nbytes + (
        0 if blocks.lengths_B is None else blocks.lengths_B.nbytes
    )
    for back in (pickle.loads(small, buffers=buffers), pickle.loads(pickle.dumps(blocks)), make(packing)):
        assert_same(blocks, back)
        for array in (back.ids_BxT, back.stream_N):
            assert type(array) is np.ndarray
            with pytest.raises(ValueError, match="read-only"):
                array[:1] = 0


def assert_same(first: TokenBlocks, second: TokenBlocks) -> None:
    for field in dataclasses.fields(TokenBlocks):
        one, other = getattr(first, field.name), getattr(second, field.name)
        assert np.array_equal(one, other) if isinstance(one, np.ndarray) else one == other, field.name


# ---- the cache ---------------------------------------------------------------------------------------------------


def test_blocks_come_from_the_cache(make: Callable[..., TokenBlocks], monkeypatch: pytest.MonkeyPatch) -> None:
    first = make()
    monkeypatch.setattr("trainable.text.parts.pack", lambda *_: pytest.fail("built again"))
    assert_same(first, make())


def test_each_setting_that_shapes_the_tokens_changes_the_fingerprint(
    make: Callable[..., TokenBlocks], corpus: Corpus, order: NDArray[np.int64], tokenizer: TextTokenizer
) -> None:
    variants = [
        make(),
        make("as_published"),
        make(context=17),
        make(corpus=dataclasses.replace(corpus, digest=lambda: "changed file")),
        make(corpus=dataclasses.replace(corpus, column="body")),
        make(row_ids_R=order[:-1]),
        make(row_ids_R=order[::-1]),
        make(tokenizer=dataclasses.replace(tokenizer, fingerprint="other")),
    ]
    assert len({blocks.fingerprint for blocks in variants}) == len(variants)
    assert make(label="a name", progress=False).fingerprint == variants[0].fingerprint


def cut_short(folder: Path) -> None:
    os.truncate(folder / "tokens.bin", 100)


def flip_a_bit(folder: Path) -> None:
    data = bytearray((folder / "tokens.bin").read_bytes())
    data[50] ^= 1
    (folder / "tokens.bin").write_bytes(data)


def lose_the_manifest(folder: Path) -> None:
    (folder / "manifest.json").unlink()


def spoil_the_manifest(folder: Path) -> None:
    (folder / "manifest.json").write_text('{"files": ')


def lose_the_tokens(folder: Path) -> None:
    (folder / "tokens.bin").unlink()


@pytest.mark.parametrize(
    "damage", [cut_short, flip_a_bit, lose_the_manifest, spoil_the_manifest, lose_the_tokens], ids=lambda f: f.__name__
)
def test_damaged_blocks_are_named_and_built_again(
    make: Callable[..., TokenBlocks], damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    first = make()
    whole = first.stream_N.tolist()
    damage(first.path)
    again = make()
    assert str(first.path) in caplog.text and "It is built again now." in caplog.text
    assert again.stream_N.tolist() == whole
    assert_same(again, make())


def test_manifest_without_a_field_is_refused(make: Callable[..., TokenBlocks]) -> None:
    path = make().path / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["eos_id"]
    write_json(path, {key: value for key, value in manifest.items() if key != "checksum"})
    with pytest.raises(DamagedFile, match=r"manifest\.json is damaged .*eos_id") as told:
        make()
    assert told.value.path == path


def test_a_failed_build_leaves_no_file_and_an_abandoned_build_is_removed(
    make: Callable[..., TokenBlocks], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    name = make().fingerprint
    folder = tmp_path / "tokens"
    (folder / name / "manifest.json").unlink()
    (folder / f".{name}.dead.tmp").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(packing, "gather", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        with pytest.raises(InputError, match=r"No space left on device; .* MiB are free\): free some space, or set"):
            make()
    assert [path.name for path in folder.glob(".*")] == [f".{name}.dead.tmp"]
    assert not list(folder.glob("*.shards"))
    make()
    assert not list(folder.glob(".*"))
    kept = sorted(path.name for path in (folder / name).iterdir())
    assert kept == ["manifest.json", "row_flags.bin", "row_lengths.bin", "tokens.bin"]


BUILD = """
import sys
from pathlib import Path
import numpy as np
from trainable.text import packing
from trainable.config import CorpusConfig, TokensConfig
from trainable.text.corpus import open_corpus
from trainable.text.tokenizer.tokenizer import load_tokenizer
from trainable.text.blocks import token_blocks
gather = packing.gather
packing.gather = lambda *args: (print("built"), gather(*args))[1]
source, tokenizer, cache = sys.argv[1:]
corpus = open_corpus(CorpusConfig(source=source))
encoder = load_tokenizer(tokenizer, lambda: iter(()), "", Path(cache))
token_blocks(corpus, np.arange(900), encoder, TokensConfig(context=16), Path(cache))
"""


def test_two_processes_that_want_the_same_blocks_build_them_once(
    corpus: Corpus, tokenizer: TextTokenizer, tmp_path: Path
) -> None:
    (tmp_path / "t").mkdir()
    tokenizer.encoder.save(str(tmp_path / "t" / "tokenizer.json"))
    command = [sys.executable, "-c", BUILD, corpus.name, str(tmp_path / "t"), str(tmp_path / "cache")]
    both = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sorted(output.strip() for output in outputs) == ["", "built"]


def test_too_few_tokens_for_a_block_are_refused(make: Callable[..., TokenBlocks], order: NDArray[np.int64]) -> None:
    with pytest.raises(
        InputError, match=r"the validation rows of rows.jsonl give \d+ tokens, fewer than one block of 1,000"
    ):
        joined_blocks([make(context=1000, row_ids_R=order[:3])], Path(), "validation rows of rows.jsonl")


def test_progress_is_silent_without_a_terminal(
    make: Callable[..., TokenBlocks], capfd: pytest.CaptureFixture[str]
) -> None:
    make()
    assert capfd.readouterr() == ("", "")
