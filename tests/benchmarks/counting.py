"""Counting bigrams and n-grams: against a Python loop, numpy, scipy and polars; how time and memory grow.

    python tests/benchmarks/counting.py [--corpus PATH] [--repeats 7] [--tokens N] [--longest 1_000_000_000]
                                         [--only ngrams]

Text is prepared once by the project's own code (V 32,000, kept in the cache; the books are some 43 M tokens). Every way
of counting starts from the same stream of ids, finds the same bigrams, and makes its own keys. polars is no dependency
of the project (pip install polars). It runs in a separate process, because its threads are fixed when it is imported.

The long stream is not stored: it repeats the text, made a slice at a time. In one case the ids are the same in each
pass, and so are the bigrams. In the other the rarer half of the ids is permuted in each pass (some 0.6 M new bigrams a
pass of the books; new text would probably bring more). The result has no bound: it grows with the distinct bigrams.

The Python loop is measured on a slice and on the whole stream. On the slice it has fewer bigrams to find, and is 1.4
times as fast. The books fit into one chunk (trainable/teacher/counts.py), so only the memory cases merge chunks.

N-grams are counted and estimated (modified Kneser-Ney) with all threads, against numpy's sort of as many uint64 keys in
one thread, the least time for counting by sorting; `python tests/benchmarks/counting.py --only ngrams` measures only
n-grams. KenLM's lmplz cannot be installed everywhere; on the machine of the reference it did 0.85 M tokens a second
at order 3 and 1.63 M at order 2 (40.7 M words of the books).

On an AMD Zen 4 all ways have numpy's sorts with AVX2, as a command of this project chooses them
(trainable/numpy_sorts.py); NPY_DISABLE_CPU_FEATURES= before the command keeps those with AVX-512.
"""

import argparse
import importlib.util
import os
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from record import Row, alternate, compare, keep
from scipy.sparse import coo_array
from student import default_corpus

from trainable.config import CorpusConfig, TokensConfig
from trainable.numpy_sorts import AVX512, VARIABLE, is_zen_4
from trainable.record.cache import cache_folder, read_manifest
from trainable.teacher.counts import CHUNK_TOKENS, _stream_chunks, add_all, count_bigrams
from trainable.teacher.kneser_ney import estimate_ngrams
from trainable.teacher.ngram_counts import count_ngrams
from trainable.text.blocks import TokenBlocks, token_blocks
from trainable.text.corpus import BUILTIN, open_corpus
from trainable.text.packing import STREAM_FILE
from trainable.text.tokenizer.tokenizer import corpus_tokenizer
from trainable.text.workers import own_cores

Ids = NDArray[np.unsignedinteger[Any]]
Way = Callable[[Ids, int], int]  # (stream, vocabulary size) -> distinct bigrams

SLICE_TOKENS = 2_000_000  # of the slice that the Python loop counts; its rate stands for the whole stream
MEMORY_REPEATS = 2  # memory hardly varies
PIECE_TOKENS = 1 << 20  # of the long stream that are made at once
SHORTER = 10  # the long stream is compared with a tenth of it


def ours(stream_N: Ids, vocab_size: int, threads: int = 1) -> int:
    """The project's way; the first token is only a context, as in the other ways."""
    counts = count_bigrams(stream_N[1:], vocab_size, first_context=int(stream_N[0]), threads=threads)
    return len(counts.keys_K)


def python_loop(stream_N: Ids, vocab_size: int) -> int:
    """The published way: a dict of dicts, one pair at a time."""
    ids = stream_N.tolist()
    counts: defaultdict[int, defaultdict[int, int]] = defaultdict(lambda: defaultdict(int))
    for i in range(len(ids) - 1):
        counts[ids[i]][ids[i + 1]] += 1
    return sum(map(len, counts.values()))


def numpy_unique(stream_N: Ids, vocab_size: int) -> int:
    """Distinct keys by np.unique, all at once."""
    return len(np.unique(keys_of(stream_N, vocab_size), return_counts=True)[0])


def scipy_matrix(stream_N: Ids, vocab_size: int) -> int:
    """Non-zeros of a sparse matrix of ones, duplicates summed."""
    at = (stream_N[:-1].astype(np.int32), stream_N[1:].astype(np.int32))
    matrix = coo_array((np.ones(len(at[0]), np.int32), at), shape=(vocab_size, vocab_size)).tocsr()
    matrix.sum_duplicates()
    return int(matrix.nnz)


def polars_group_by(stream_N: Ids, vocab_size: int) -> int:
    """Groups of equal keys by polars' hash table."""
    import polars

    return polars.DataFrame({"key": keys_of(stream_N, vocab_size)}).group_by("key").len().height


def polars_sort(stream_N: Ids, vocab_size: int) -> int:
    """Our method in polars' words: sort the keys and measure the runs."""
    import polars

    return len(polars.Series("key", keys_of(stream_N, vocab_size)).sort().rle())


def keys_of(stream_N: Ids, vocab_size: int) -> NDArray[np.uint32]:
    """prev * V + next of each bigram."""
    keys_N = stream_N[:-1].astype(np.uint32)
    keys_N *= np.uint32(vocab_size)
    keys_N += stream_N[1:]
    return keys_N


def rate(way: Way, stream_N: Ids, vocab_size: int) -> float:
    """M tokens/s of one pass over the stream."""
    began = perf_counter()
    way(stream_N, vocab_size)
    return len(stream_N) / (perf_counter() - began) / 1e6


def warm(measure: Callable[[], float]) -> float:
    """Return the second of two measurements: after a loop of seconds, the first one measures page faults."""
    measure()
    return measure()


def rate_in_folder(way: Way, folder: Path, tokens: int) -> float:
    """M tokens/s of the first tokens in a folder of blocks: for a new process without data."""
    manifest = read_manifest(folder)
    return rate(way, np.fromfile(folder / STREAM_FILE, manifest["dtype"], tokens), manifest["vocab_size"])


def own_process(polars_threads: int, tasks: int | None = None) -> ProcessPoolExecutor:
    """A new process whose polars has `polars_threads` threads."""
    variable = ("POLARS_MAX_THREADS", str(polars_threads))
    return ProcessPoolExecutor(1, get_context("spawn"), os.putenv, variable, max_tasks_per_child=tasks)


def speed_cases(stream_N: Ids, vocab_size: int, repeats: int) -> Iterator[Row]:
    """Rates on one core each: ours against the loop, numpy and scipy."""
    whole = partial(rate, ours, stream_N, vocab_size)
    whole()  # warm
    unit = "M tokens/s"
    loops = {f"on its first {SLICE_TOKENS / 1e6:g} M tokens": stream_N[:SLICE_TOKENS], "on the same stream": stream_N}
    for where, looped_N in loops.items():
        loop = partial(rate, python_loop, looped_N, vocab_size)
        case = f"against a Python loop {where}, 1 thread"
        yield compare(case, *alternate(partial(warm, whole), loop, repeats), unit, at_least=80)
    for name, way in {"numpy unique": numpy_unique, "scipy coo to csr": scipy_matrix}.items():
        theirs = partial(rate, way, stream_N, vocab_size)
        yield compare(f"against {name}, 1 thread", *alternate(whole, theirs, repeats), unit, at_least=1.0)
    both = partial(rate, partial(ours, threads=2), stream_N, vocab_size)
    loop = partial(rate, python_loop, stream_N, vocab_size)
    case = "against a Python loop on the same stream, 2 threads"  # as a run with two CPUs counts
    yield compare(case, *alternate(partial(warm, both), loop, repeats), unit, at_least=80)
    yield compare("2 threads against 1", *alternate(both, whole, repeats), unit)


def polars_cases(stream_N: Ids, blocks: TokenBlocks, repeats: int) -> Iterator[Row]:
    """Rates against polars, which has as many threads as ours."""
    for threads in (1, 2):
        with own_process(threads) as process:
            for name, way in {"polars group_by": polars_group_by, "polars sort and rle": polars_sort}.items():

                def theirs(way: Way = way, process: ProcessPoolExecutor = process) -> float:
                    return process.submit(rate_in_folder, way, blocks.path, len(stream_N)).result()

                theirs()  # imports
                mine = partial(rate, partial(ours, threads=threads), stream_N, blocks.vocab_size)
                case = f"against {name}, {threads} thread{'s' * (threads > 1)}"
                yield compare(case, *alternate(mine, theirs, repeats), "M tokens/s", at_least=1.0)


def growth_cases(stream_N: Ids, vocab_size: int, repeats: int) -> Iterator[Row]:
    """Rates as the stream grows: four times the tokens should take at most 1.25 x four times as long."""
    whole = partial(rate, ours, stream_N, vocab_size)
    for part in (4, 2):
        some_N = stream_N[: len(stream_N) // part]
        case = f"growth: {len(stream_N) / 1e6:.0f} M tokens against {len(some_N) / 1e6:.0f} M"
        measured = alternate(whole, partial(rate, ours, some_N, vocab_size), repeats)
        yield compare(case, *measured, "M tokens/s", at_least=0.8)


# --- n-grams ---


def estimated(order: int, threads: int) -> Way:
    """A function that counts n-grams and estimates their table."""

    def way(stream_N: Ids, vocab_size: int) -> int:
        counts = count_ngrams(stream_N, vocab_size, order, eos_id=0, threads=threads)
        return sum(estimate_ngrams(counts, tokenizer_fingerprint="", threads=threads).ngrams)

    return way


def sort_keys(stream_N: Ids, vocab_size: int) -> int:
    """Sort the keys (uint64, made beforehand by the caller) with numpy."""
    stream_N.sort()
    return len(stream_N)


def sort_rate(tokens: int, vocab_size: int) -> float:
    """M keys/s of sorting the keys of random trigrams."""
    return rate(sort_keys, np.random.default_rng(0).integers(0, vocab_size**3, tokens, np.uint64), vocab_size)


def ngram_cases(stream_N: Ids, vocab_size: int, repeats: int) -> Iterator[Row]:
    """Rates of orders 2, 3 and 5 against the sort of keys, and as the stream grows."""
    for order in (2, 3, 5):
        way = partial(rate, estimated(order, own_cores()), stream_N, vocab_size)
        sorting = partial(sort_rate, len(stream_N), vocab_size)
        case = f"order {order} counted and estimated, {own_cores()} threads, against numpy's sort of as many keys"
        yield compare(case, *alternate(way, sorting, repeats), "M tokens/s")
    for tokens in (10_000_000, 20_000_000):
        if tokens < len(stream_N):
            way = partial(rate, estimated(3, own_cores()), stream_N, vocab_size)
            part = partial(rate, estimated(3, own_cores()), stream_N[:tokens], vocab_size)
            case = f"growth of order 3: {len(stream_N) / 1e6:.0f} M tokens against {tokens / 1e6:.0f} M"
            yield compare(case, *alternate(way, part, repeats), "M tokens/s")


def ngram_memory_cases(blocks: TokenBlocks) -> Iterator[Row]:
    """Peak of the extra memory of order 3, and bytes of the table per n-gram; a process for each length."""
    for tokens in (10_000_000, 20_000_000, len(blocks.stream_N)):
        if tokens <= len(blocks.stream_N):
            with own_process(1, tasks=1) as process:
                mib, table_bytes, ngrams = process.submit(ngram_peak_of, blocks.path, tokens).result()
            of = f"{tokens / 1e6:.0f} M tokens, {ngrams / 1e6:.1f} M n-grams"
            yield compare(f"memory of order 3 at its peak against the table: {of}", [mib], [table_bytes / 2**20], "MiB")
            yield compare(f"bytes of the table / n-grams: {of}", [table_bytes], [ngrams], "bytes", at_most=8)


def ngram_peak_of(folder: Path, tokens: int) -> tuple[float, int, int]:
    """(extra MiB at the peak of counting and estimating order 3, bytes of the table, n-grams in the table)."""
    manifest = read_manifest(folder)
    stream_N = np.fromfile(folder / STREAM_FILE, manifest["dtype"], tokens)
    before = resident_mib("VmRSS")
    counts = count_ngrams(stream_N, manifest["vocab_size"], 3, eos_id=manifest["eos_id"], threads=own_cores())
    table = estimate_ngrams(counts, tokenizer_fingerprint="", threads=own_cores())
    return resident_mib("VmHWM") - before, table.nbytes, sum(table.ngrams[1:])


class Repeated:
    """The stream repeated, with the parts of an array that counting uses; `varied`: other ids in each pass."""

    def __init__(self, stream_N: Ids, vocab_size: int, tokens: int, varied: bool):
        self.stream_N, self.vocab_size, self.tokens, self.varied = stream_N, vocab_size, tokens, varied

    def __len__(self) -> int:
        return self.tokens

    def __getitem__(self, at: int | slice) -> Any:
        if not isinstance(at, slice):
            return self[at : at + 1][0]
        start, stop, _ = at.indices(self.tokens)
        taken_n = np.empty(stop - start, self.stream_N.dtype)
        done = 0
        while done < len(taken_n):
            turn, offset = divmod(start + done, len(self.stream_N))
            part_n = self.stream_N[offset : offset + min(PIECE_TOKENS, len(taken_n) - done)]
            taken_n[done : done + len(part_n)] = self.ids_of(turn)[part_n]
            done += len(part_n)
        return taken_n

    def ids_of(self, turn: int) -> Ids:
        """New id of each id in one pass."""
        ids_V = np.arange(self.vocab_size, dtype=self.stream_N.dtype)
        if self.varied:
            np.random.default_rng(turn).shuffle(ids_V[self.vocab_size // 2 :])  # BPE ids rise as tokens get rarer
        return ids_V


def peak_of(folder: Path, tokens: int, varied: bool) -> tuple[float, int]:
    """(extra MiB at the peak of counting `tokens` tokens, distinct bigrams), in a process that did nothing else."""
    manifest = read_manifest(folder)
    vocab_size = manifest["vocab_size"]
    stream_N: Any = Repeated(np.fromfile(folder / STREAM_FILE, manifest["dtype"]), vocab_size, tokens, varied)
    before = resident_mib("VmRSS")
    # not count_bigrams, which makes an array of a stream that is none
    chunks = _stream_chunks(stream_N, vocab_size, manifest["eos_id"], CHUNK_TOKENS, 1)
    counts = add_all(chunks, vocab_size)
    return resident_mib("VmHWM") - before, len(counts.keys_K)


def resident_mib(field: str) -> float:
    """A field of /proc/self/status, such as VmRSS, in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


def memory_cases(blocks: TokenBlocks, longest: int) -> Iterator[Row]:
    """The peak of a long stream against that of a tenth of it, one thread."""
    for varied in (False, True):
        bigrams: dict[int, int] = {}

        def peak(tokens: int, varied: bool = varied, bigrams: dict[int, int] = bigrams) -> float:
            with own_process(1, tasks=1) as process:
                mib, bigrams[tokens] = process.submit(peak_of, blocks.path, tokens, varied).result()
            return mib

        measured = alternate(partial(peak, longest), partial(peak, longest // SHORTER), MEMORY_REPEATS)
        found = " and ".join(f"{bigrams[tokens] / 1e6:.1f}" for tokens in (longest, longest // SHORTER))
        case = f"memory: {longest / 1e6:g} M tokens against {longest / SHORTER / 1e6:g} M; {found} M bigrams"
        yield compare(case, *measured, "MiB extra", at_most=None if varied else 1.5)


def check(stream_N: Ids, vocab_size: int, ways: list[Way]) -> None:
    """Assert that every way finds the same bigrams."""
    found = {way(stream_N, vocab_size) for way in ways}
    assert len(found) == 1, found


def prepared(source: str, vocabulary: int = 32_000, context: int = 1024) -> TokenBlocks:
    """All rows of the corpus as tokens of a tokenizer that is trained on them."""
    corpus = open_corpus(CorpusConfig(source=source))
    if source == BUILTIN:
        print("the books are not here: built-in text, a small stream and vocabulary; give --corpus for real figures.")
    row_ids_R = np.arange(corpus.rows)
    config = TokensConfig(tokenizer=f"train:{vocabulary}", context=context)
    tokenizer = corpus_tokenizer(config.tokenizer, corpus, row_ids_R, cache_folder())
    return token_blocks(corpus, row_ids_R, tokenizer, config, cache_folder())


def main() -> None:
    """Run all cases and keep them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", default=default_corpus(), help="a parquet or text file (the books, else built in)")
    parser.add_argument("--repeats", type=int, default=7, help="pairs a case (7)")
    parser.add_argument("--tokens", type=int, default=None, help="only the first tokens of the stream (all)")
    parser.add_argument("--longest", type=int, default=1_000_000_000, help="tokens whose memory is measured (1e9)")
    parser.add_argument("--only", choices=("bigrams", "ngrams"), default=None, help="one part (both)")
    arguments = parser.parse_args()
    blocks = prepared(arguments.corpus)
    stream_N, vocab_size = np.array(blocks.stream_N[: arguments.tokens]), blocks.vocab_size
    rows: list[Row] = []
    if arguments.only != "ngrams":
        rows += bigram_cases(blocks, stream_N, arguments.repeats, arguments.longest)
    if arguments.only != "bigrams":
        rows += [*ngram_cases(stream_N, vocab_size, arguments.repeats), *ngram_memory_cases(blocks)]
    keep("counting", rows, part=arguments.only is not None)


def bigram_cases(blocks: TokenBlocks, stream_N: Ids, repeats: int, longest: int) -> list[Row]:
    """All cases of bigrams, after a check that every way finds the same."""
    vocab_size = blocks.vocab_size
    ways: list[Way] = [ours, partial(ours, threads=2), python_loop, numpy_unique, scipy_matrix]
    rows = list(speed_cases(stream_N, vocab_size, repeats))
    if importlib.util.find_spec("polars"):
        rows += polars_cases(stream_N, blocks, repeats)
        ways += [polars_group_by, polars_sort]
    else:
        print("polars is not installed (pip install polars): its rows are left out.")
    check(stream_N[:100_000], vocab_size, ways)
    rows += growth_cases(stream_N, vocab_size, repeats)
    return [*rows, *memory_cases(blocks, longest)]


if __name__ == "__main__":
    if is_zen_4() and VARIABLE not in os.environ:  # as in a command: to be set before numpy is imported
        os.execve(sys.executable, sys.orig_argv, os.environ | {VARIABLE: AVX512})
    main()
