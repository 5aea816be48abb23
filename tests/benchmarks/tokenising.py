"""Rows of text to packed blocks: ours against datasets.map and the bare tokenizer; how much memory it takes.

    python tests/benchmarks/tokenising.py [--corpus PATH] [--rows 200_000] [--repeats 7] [--most-rows N]

Our way is what a run does (trainable/text/blocks.py): it reads rows from the file in a shuffled order, tokenises them,
appends an eos to each, puts them end to end, and writes checksums. `datasets.map` (batched, a process a core, no cache)
makes only the ids of each row, in the order of the file, from text that is already in Arrow. The bare `encode_batch`
makes only encodings. All three use the same tokenizer, V 32,000, and all cores.
"""

import argparse
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import datasets
import numpy as np
from counting import resident_mib
from record import Row, alternate, compare, keep
from student import default_corpus

from trainable.config import CorpusConfig, TokensConfig
from trainable.record.cache import cache_folder
from trainable.text.blocks import token_blocks
from trainable.text.corpus import BUILTIN, Corpus, open_corpus
from trainable.text.split import permuted_rows
from trainable.text.tokenizer.tokenizer import TextTokenizer, corpus_tokenizer

TOKENS = TokensConfig(tokenizer="train:32000", context=1024)
CORES = os.cpu_count() or 1
BATCH_ROWS = 1000  # of datasets.map: its default
THREADS = "TOKENIZERS_PARALLELISM"  # whether the tokenizer uses threads


def prepare(corpus: Corpus, tokenizer: TextTokenizer, rows: int) -> None:
    """Tokenise the first rows, shuffled, into a cache that is thrown away."""
    row_ids_R = permuted_rows(rows, 0)
    with TemporaryDirectory() as folder:
        token_blocks(corpus, row_ids_R, tokenizer, TOKENS, Path(folder), progress=False)


def map_rows(texts: datasets.Dataset, tokenizer: TextTokenizer) -> None:
    """Tokenise the same rows through datasets.map, never from its cache."""

    def encode(batch: dict[str, list[str]]) -> dict[str, list[list[int]]]:
        encodings = tokenizer.encoder.encode_batch_fast(batch["text"], add_special_tokens=False)
        return {"ids": [[*encoding.ids, tokenizer.eos_id] for encoding in encodings]}

    with TemporaryDirectory() as folder:
        texts.map(
            encode,
            batched=True,
            batch_size=BATCH_ROWS,
            num_proc=CORES,
            remove_columns=["text"],
            load_from_cache_file=False,
            new_fingerprint=os.urandom(8).hex(),
            cache_file_name=str(Path(folder) / "mapped.arrow"),
        )
    os.putenv(THREADS, os.environ.get(THREADS, "true"))  # datasets leaves "false" there: one thread for what comes next


def encode_rows(texts: list[str], tokenizer: TextTokenizer) -> None:
    """Tokenise with the bare tokenizer, in batches for its threads."""
    for first in range(0, len(texts), 1 << 15):
        tokenizer.encoder.encode_batch_fast(texts[first : first + (1 << 15)], add_special_tokens=False)


def rate(rows: int, work: Callable[[], None]) -> float:
    """k rows/s of one piece of work."""
    began = perf_counter()
    work()
    return rows / (perf_counter() - began) / 1e3


def speed_cases(corpus: Corpus, tokenizer: TextTokenizer, rows: int, repeats: int) -> Iterator[Row]:
    """Rows per second on all cores."""
    texts = [text or "" for text in corpus.texts(np.arange(rows))]
    ours = partial(rate, rows, partial(prepare, corpus, tokenizer, rows))
    ours()  # warm
    with TemporaryDirectory() as folder:
        datasets.Dataset.from_dict({"text": texts}).save_to_disk(folder)
        on_disk = datasets.load_from_disk(folder)
        mapped = partial(rate, rows, partial(map_rows, on_disk, tokenizer))
        case = f"{rows:,} rows, against datasets.map, {CORES} processes"
        yield compare(case, *alternate(ours, mapped, repeats), "k rows/s", at_least=1.0)
    bare = partial(rate, rows, partial(encode_rows, texts, tokenizer))
    yield compare(f"{rows:,} rows, against bare encode_batch", *alternate(ours, bare, repeats), "k rows/s")


def peak_of(source: str, rows: int) -> float:
    """Extra MiB at the peak of preparing `rows` rows, in a process that did nothing else."""
    corpus, tokenizer = opened(source)
    before = resident_mib("VmRSS")
    prepare(corpus, tokenizer, rows)
    return resident_mib("VmHWM") - before


def memory_cases(source: str, few: int, many: int, repeats: int = 2) -> Iterator[Row]:
    """Peaks for many and for few rows. Only the row ids grow (4 bytes a row); the rest is a few shards and buffers."""

    def peak(rows: int) -> float:
        with ProcessPoolExecutor(1, get_context("spawn")) as process:
            return process.submit(peak_of, source, rows).result()

    case = f"memory: {many:,} rows against {few:,} ({repeats} repeats)"
    yield compare(case, *alternate(partial(peak, many), partial(peak, few), repeats), "MiB extra", at_most=1.3)


def opened(source: str) -> tuple[Corpus, TextTokenizer]:
    """The corpus, and the tokenizer trained on its first rows."""
    corpus = open_corpus(CorpusConfig(source=source))
    return corpus, corpus_tokenizer(TOKENS.tokenizer, corpus, np.arange(corpus.rows), cache_folder())


def main() -> None:
    """Run all cases and keep them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", default=default_corpus(), help="a parquet or text file (the books, else built in)")
    parser.add_argument("--rows", type=int, default=200_000, help="rows whose speed is measured (200,000)")
    parser.add_argument("--repeats", type=int, default=7, help="pairs a case (7)")
    parser.add_argument("--most-rows", type=int, default=None, help="rows whose memory is measured (all)")
    arguments = parser.parse_args()
    if arguments.corpus == BUILTIN:
        print("the books are not here: built-in text, few rows; give --corpus for real figures.")
    datasets.disable_progress_bars()
    corpus, tokenizer = opened(arguments.corpus)
    rows, most = (min(corpus.rows, n or corpus.rows) for n in (arguments.rows, arguments.most_rows))
    speed = list(speed_cases(corpus, tokenizer, rows, arguments.repeats))
    keep("tokenising", [*speed, *memory_cases(arguments.corpus, rows, most)])


if __name__ == "__main__":
    main()
