"""Cost of a guided optimizer step: against a plain one, against dense targets, in memory, and as the work grows.

    python tests/benchmarks/guided_step.py [--repeats 7] [--threads 1] [--only PART ...] [--name guided_step]
    python tests/benchmarks/guided_step.py --only plain orders --precision bfloat16 --name guided_step_bfloat16

Parts:
- plain: a guided step against our own plain step;
- orders: a step with n-grams of order 3 and 5 against a plain step;
- dense: a guided step against the published way (dense targets built on the host) and against the good dense way (rows
  of a dense table on the device);
- memory: the peak of a step against a loop that holds all logits;
- growth: the teacher's cost over tokens a step, contexts, vocabulary and counted tokens.

One thread is a trial's share of the main job. Every measurement alternates the two kinds of step on one student. On a
GPU the part `plain` has the published shapes, with more teachers, in turns of 10 steps of two students (loop.py).
"""

import argparse
import json
import multiprocessing
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import mean, median
from time import perf_counter
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from loop import STEPS_A_TURN, WARM_UP, our_loop, seconds_of
from record import RESULTS, Row, alternate, compare, keep
from student import LossOf, Student, config_of, default_corpus, resized
from torch import Tensor

from sweeps.engine.settings import SMALL_LLAMA2
from trainable.config import TrialConfig, override
from trainable.prepare import prepare_run
from trainable.student.batches import Batch
from trainable.student.output_layer import IGNORE_INDEX
from trainable.student.run_data import RunData
from trainable.teacher.counts import count_bigrams
from trainable.teacher.host_rows import HostRows
from trainable.teacher.smoothing import estimate_table
from trainable.teacher.table import BigramTable

WEIGHT = 0.5


# --- the students ---


def student_config(vocabulary: int, width: int = 128, layers: int = 1, precision: str = "float32") -> TrialConfig:
    """The laptop's setting on as many book rows as the vocabulary needs; `tiny`, or a Llama of another width."""
    corpus = default_corpus()
    rows = None if vocabulary > 8192 or corpus == "builtin" else 100_000
    model = "tiny" if width == 128 else model_folder(width)
    tokenizer = f"train:{vocabulary}"
    return config_of(
        corpus,
        corpus__train_rows=rows,
        tokens__tokenizer=tokenizer,
        model__name=model,
        model__layers=layers,
        loop__precision=precision,
    )


def model_folder(width: int) -> str:
    """A Llama of `width` with the proportions of `tiny`, as a user would give it."""
    folder = Path(tempfile.mkdtemp())
    shape = {
        "model_type": "llama",
        "vocab_size": 32_000,
        "max_position_embeddings": 1024,
        "hidden_size": width,
        "intermediate_size": int(width * 2.6875),
        "num_attention_heads": width // 32,
        "num_key_value_heads": width // 32,
    }
    (folder / "config.json").write_text(json.dumps(shape))
    return str(folder)


def vocabularies() -> list[int]:
    """Vocabularies to measure with: 32,000 needs more text than the built-in corpus has."""
    return [4096, 8192] if default_corpus() == "builtin" else [4096, 8192, 32_000]


# --- guided against plain ---


def steps_of(step: Callable[[], float], tokens: int) -> Callable[[], float]:
    """Milliseconds of a step, as the mean of a few where steps are short."""
    count = max(1, 8192 // tokens)
    return lambda: mean(step() for _ in range(count)) * 1000


def against_plain(
    config: TrialConfig, data: RunData, tokens: int, repeats: int, name: str, at_most: float | None = None
) -> Row:
    """Compare guided and plain steps, without the first ones, which allocate. at_most: a limit, if not the bigrams'."""
    student = Student(resized(config, tokens), data)
    student.guided(), student.plain()
    ours, against = alternate(steps_of(student.guided, tokens), steps_of(student.plain, tokens), repeats)
    limit = at_most or (1.10 if tokens == 4096 else 1.05)
    size = f"{tokens:,} tokens a step" + (", bfloat16" if config.loop.precision == "bfloat16" else "")
    return compare(f"guided / plain: {name}, {size}", ours, against, "ms a step", at_most=limit)


def plain_cases(repeats: int, precision: str) -> Iterator[Row]:
    """Guided against plain: the main job's first depth, the laptop's students, and two of vocabulary 32,000."""
    main_job = config_of("builtin", loop__precision=precision)
    yield against_plain(main_job, prepare_run(main_job)[0], 1024, repeats, "V 4096, D 128, 1 layer, built-in text")
    for vocabulary in vocabularies()[:2]:
        for layers, sizes in ((1, (1024, 4096, 16_384)), (2, (4096,)), (3, (4096,))):
            config = student_config(vocabulary, layers=layers, precision=precision)
            data, _ = prepare_run(config)
            name = f"V {vocabulary}, D 128, {layers} layer{'s' * (layers > 1)}"
            yield from (against_plain(config, data, tokens, repeats, name) for tokens in sizes)
    for width, sizes in ((256, (4096, 16_384)), (1024, (4096,))):
        if 32_000 in vocabularies():
            config = student_config(32_000, width, precision=precision)
            data, _ = prepare_run(config)
            name = f"V 32000, D {width}, 1 layer"
            yield from (against_plain(config, data, tokens, repeats, name) for tokens in sizes)


def ngrams(order: int) -> dict[str, Any]:
    """Settings of an n-gram teacher."""
    return {"teacher.kind": "ngram", "teacher.order": order, "teacher.smoothing": "modified_kneser_ney"}


def order_cases(repeats: int, precision: str) -> Iterator[Row]:
    """N-gram teachers of order 3 and 5 at V 8192, with the limits of a bigram, and a little more for the longest."""
    for order, limits in ((3, {4096: 1.10, 16_384: 1.05}), (5, {4096: 1.15, 16_384: 1.10})):
        config = override(student_config(8192, precision=precision), ngrams(order))
        data, _ = prepare_run(config)
        for tokens, limit in limits.items():
            name = f"order {order}, V 8192, D 128, 1 layer"
            yield against_plain(config, data, tokens, repeats, name, at_most=limit)


def published_cases(repeats: int) -> Iterator[Row]:
    """Guided against plain on a GPU: the published shapes, 32 x 1024 tokens a step, with compiled layers."""
    teachers = {
        "bigrams": ({}, 1.03),
        "a uniform teacher": ({"teacher.kind": "uniform"}, None),
        "n-grams of order 3": (ngrams(3), 1.06),
    }
    for layers in (1, 6):
        changes = {"corpus.source": default_corpus(), "corpus.eval_rows": 200, "model.layers": layers}
        plain = override(SMALL_LLAMA2, changes)
        for teacher, (kind, limit) in teachers.items():
            always = {"teacher.schedule": "linear", "teacher.steps": 1, "teacher.min_weight": WEIGHT}
            guided = override(plain, always | kind)
            data, _ = prepare_run(guided)
            loops = [our_loop(config, data, total=WARM_UP + repeats * STEPS_A_TURN) for config in (guided, plain)]
            for loop in loops:
                seconds_of(loop, WARM_UP)
            turns = [lambda loop=loop: seconds_of(loop) / STEPS_A_TURN * 1000 for loop in loops]
            name = f"small-llama2, {layers} layer{'s' * (layers > 1)}, 32 x 1024 tokens a step"
            yield compare(f"{teacher} / plain: {name}", *alternate(*turns, repeats), "ms a step", at_most=limit)


# --- against dense targets ---


def dense_table(table: BigramTable) -> np.ndarray:
    """P [V, V] float32, whole."""
    return np.stack([table.row(context).astype(np.float32) for context in range(table.vocab_size)])


def soft_cross_entropy(student: Student, hidden_NxD: Tensor, target_NxV: Tensor) -> Tensor:
    return F.cross_entropy(F.linear(hidden_NxD, student.output), target_NxV, reduction="sum")


def published_way(student: Student, P_VxV: np.ndarray) -> LossOf:
    """The target of every micro-batch made in numpy on the host, then moved to the device."""

    def loss_of(hidden_NxD: Tensor, batch: Batch) -> Tensor:
        context_N, target_N = batch.context_BxT.flatten().cpu().numpy(), batch.target_BxT.flatten().cpu().numpy()
        hard_NxV = np.zeros((len(target_N), len(P_VxV)), np.float32)
        hard_NxV[np.arange(len(target_N)), target_N] = 1
        soft_NxV = WEIGHT * P_VxV[context_N] + (1 - WEIGHT) * hard_NxV
        return soft_cross_entropy(student, hidden_NxD, torch.from_numpy(soft_NxV).to(student.device))

    return loss_of


def good_dense_way(student: Student, P_VxV: np.ndarray) -> LossOf:
    """Rows of a dense table that lies on the device, and the hard target scattered into them."""
    device_VxV = torch.from_numpy(P_VxV).to(student.device)

    def loss_of(hidden_NxD: Tensor, batch: Batch) -> Tensor:
        soft_NxV = device_VxV[batch.context_BxT.flatten()].mul_(WEIGHT)
        target_Nx1 = batch.target_BxT.reshape(-1, 1)
        soft_NxV.scatter_add_(1, target_Nx1, torch.full_like(target_Nx1, 1 - WEIGHT, dtype=soft_NxV.dtype))
        return soft_cross_entropy(student, hidden_NxD, soft_NxV)

    return loss_of


def dense_cases(repeats: int) -> Iterator[Row]:
    """Guided steps a second against dense ones at 4,096 tokens a step, and the teacher's memory."""
    for vocabulary in vocabularies():
        width = 128 if vocabulary < 32_000 else 256
        student = Student(resized(student_config(vocabulary, width), 4096))
        P_VxV = dense_table(student.teacher.table)
        name = f"V {vocabulary}, D {width}, 4,096 tokens a step"
        for way, loss_of, limit in (
            ("the published way", published_way(student, P_VxV), 5.0),
            ("good dense", good_dense_way(student, P_VxV), 1.0 if vocabulary >= 8192 else None),
        ):
            dense = partial(student.with_loss, loss_of)
            student.guided(), dense()
            pairs = alternate(student.guided, dense, repeats)
            ours, against = ([1 / seconds for seconds in side] for side in pairs)
            yield compare(f"guided / {way}: {name}", ours, against, "steps/s", at_least=limit)
        ours_mib, dense_mib = teacher_mib(student), (P_VxV.nbytes + 4096 * P_VxV.shape[1] * 4) / 2**20
        limit = 0.1 if vocabulary >= 8192 else None
        yield compare(f"teacher's memory / good dense: {name}", [ours_mib], [dense_mib], "MiB", at_most=limit)


def teacher_mib(student: Student) -> float:
    """MiB of the table's arrays and of the arrays of one step, computed from their sizes, not measured."""
    guidance = student.teacher.guide(student.output, contexts_of(student), WEIGHT)
    assert guidance.rows is not None and guidance.expected_RxD is not None and guidance.row is not None
    assert isinstance(guidance.rows.sparse, HostRows)
    sparse = guidance.rows.sparse
    matrix = sum(part.nbytes for part in sparse.bags)
    made = guidance.expected_RxD.nbytes * 2 + guidance.row.nbytes + matrix * 2  # E with its gradient, S and S^T
    return (student.teacher.table.nbytes + made) / 2**20


def contexts_of(student: Student) -> np.ndarray:
    """Ids [A, B, T] of the next step."""
    return np.stack([batch.host_context_BxT for batch in student.batches()])


# --- memory of a step ---


def all_logits(student: Student) -> LossOf:
    """The loss of a bare loop: all logits of the micro-batch, then cross-entropy."""

    def loss_of(hidden_NxD: Tensor, batch: Batch) -> Tensor:
        logits_NxV = F.linear(hidden_NxD, student.output)
        return F.cross_entropy(
            logits_NxV.float(), batch.target_BxT.flatten(), ignore_index=IGNORE_INDEX, reduction="sum"
        )

    return loss_of


def peak_of(way: str, width: int, threads: int) -> tuple[float, float]:
    """(peak MiB above what the process had before the model, seconds of a step), in a process of its own."""
    torch.set_num_threads(threads)
    config = resized(student_config(32_000, width), 4096)
    data, _ = prepare_run(config)
    before = _resident_mib("VmRSS")
    student = Student(config, data)
    step = student.guided if way == "guided" else lambda: student.with_loss(all_logits(student))
    seconds = [step() for _ in range(3)]
    if student.device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20, min(seconds)
    return _resident_mib("VmHWM") - before, min(seconds)


def _resident_mib(field: str) -> float:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) / 1024


def memory_cases(repeats: int, threads: int) -> Iterator[Row]:
    """Memory and time of a guided step (chunked output layer) against a plain one with all logits; 4,096 tokens."""
    context = multiprocessing.get_context("spawn")
    for width in (256, 1024) if 32_000 in vocabularies() else ():

        def measure(way: str, width: int = width) -> tuple[float, float]:
            with context.Pool(1) as pool:
                return pool.apply(peak_of, (way, width, threads))

        pairs = [(measure("guided"), measure("all logits")) for _ in range(repeats)]
        name = f"V 32000, D {width}, 4,096 tokens"
        mib = [[side[0] for side in both] for both in zip(*pairs, strict=True)]
        seconds = [[side[1] for side in both] for both in zip(*pairs, strict=True)]
        yield compare(f"peak memory, guided / plain with all logits: {name}", *mib, "MiB", at_most=0.6)
        yield compare(f"time, guided / plain with all logits: {name}", *seconds, "s a step", at_most=1.0)


# --- growth ---


def teacher_milliseconds(student: Student, repeats: int) -> tuple[list[float], int]:
    """Milliseconds of the teacher's work in a step (E and its gradient), and the number of distinct contexts."""
    context_AxBxT = contexts_of(student)
    grad_VxD = torch.zeros_like(student.output)

    def once() -> float:
        started = perf_counter()
        guidance = student.teacher.guide(student.output, context_AxBxT, WEIGHT)
        assert guidance.expected_RxD is not None
        guidance.expected_RxD.grad = torch.zeros_like(guidance.expected_RxD)
        guidance.close(grad_VxD)
        return (perf_counter() - started) * 1000

    once()
    return [once() for _ in range(repeats)], len(np.unique(context_AxBxT))


def table_of_first(data: RunData, tokens: int) -> BigramTable:
    """The teacher of the first `tokens` training tokens."""
    blocks = data.train
    counts = count_bigrams(blocks.stream_N[:tokens], blocks.vocab_size, first_context=blocks.eos_id)
    return estimate_table(counts, "mle", tokenizer_fingerprint="", rows="student")


def growth_cases(repeats: int) -> Iterator[Row]:
    """The teacher's milliseconds against those of a plain step; the ratio is the teacher's share."""
    for vocabulary in vocabularies():
        width = 128 if vocabulary < 32_000 else 256
        config = student_config(vocabulary, width)
        data, _ = prepare_run(config)
        sizes = [1_000_000, 10_000_000, len(data.train.stream_N)] if vocabulary == 32_000 else [None]
        for counted in sizes:
            table = data.table if counted is None else table_of_first(data, counted)
            for tokens in (2048, 4096, 8192, 16_384, 32_768):
                student = Student(resized(config, tokens), RunData(train=data.train, eval=data.eval, table=table))
                teacher, contexts = teacher_milliseconds(student, repeats)
                plain = [student.plain() * 1000 for _ in range(2 if tokens * vocabulary > 2**28 else 4)]
                of = f"{table.counted_tokens / 1e6:.0f} M tokens counted, {tokens:,} tokens a step"
                name = f"teacher's share: V {vocabulary}, D {width}, {of}, {contexts:,} contexts"
                yield compare(name, teacher, [median(plain[1:])] * repeats, "ms a step")


def plot(rows: list[Row], path: Path) -> None:
    """The teacher's milliseconds and its share of a plain step, over tokens a step."""
    shares = [row for row in rows if row.case.startswith("teacher's share")]
    if not shares:
        return
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    lines: dict[str, list[Row]] = {}
    for row in shares:
        vocabulary, width, rest = row.case.split(": ")[1].split(", ", 2)
        lines.setdefault(f"{vocabulary}, {width}, {rest.split(', ')[0]}", []).append(row)
    for label, series in lines.items():
        tokens = [int(row.case.split(" tokens a step")[0].split(", ")[-1].replace(",", "")) for row in series]
        left.plot(tokens, [row.ours for row in series], marker="o", label=label)
        right.plot(tokens, [100 * row.ratio for row in series], marker="o", label=label)
    left.set(yscale="log", ylabel="teacher, ms a step")
    right.set(ylabel="teacher / plain step, %", ylim=0)
    for axes in (left, right):
        axes.set_xscale("log", base=2)
        axes.set_xticks(tokens, [f"{count:,}" for count in tokens])
        axes.set_xlabel("tokens a step")
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    right.legend(fontsize="small", frameon=False)
    figure.savefig(path, dpi=120)


def main() -> None:
    """Run the parts and keep them."""
    parts = ("plain", "orders", "dense", "memory", "growth")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7, help="pairs a case (7)")
    parser.add_argument("--threads", type=int, default=1, help="threads of a step (1)")
    parser.add_argument("--only", nargs="+", choices=parts, default=parts, help="parts to run (all)")
    precisions = ("float32", "bfloat16")
    parser.add_argument("--precision", choices=precisions, default="float32", help="of plain and orders, on a CPU")
    parser.add_argument("--name", default="guided_step", help="of the JSON file: one for each class of machine")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    gpu, repeats, precision = torch.cuda.is_available(), options.repeats, options.precision
    cases = {
        "plain": lambda: published_cases(repeats) if gpu else plain_cases(repeats, precision),
        "orders": lambda: order_cases(repeats, precision),
        "dense": lambda: dense_cases(repeats),
        "memory": lambda: memory_cases(repeats, options.threads),
        "growth": lambda: growth_cases(repeats),
    }
    rows = []
    for part in options.only:
        for row in cases[part]():
            print(f"{row.case}: {row.ratio:.3f} ({row.ratio_low:.3f} to {row.ratio_high:.3f})", flush=True)
            rows.append(row)
    keep(options.name, rows, part=set(options.only) != set(parts))
    if "growth" in options.only:
        plot(rows, RESULTS / "guided_step.png")


if __name__ == "__main__":
    main()
