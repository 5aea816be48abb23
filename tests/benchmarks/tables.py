"""Write the tables of results/benchmarks/README.md from the JSON files beside it: run this after a benchmark.

    python tests/benchmarks/tables.py

The page is written by hand, except between `<!-- table: NAME -->` and `<!-- end of table -->`: there this script puts
the table NAME of TABLES. Numbers, command, machine and commit come from the JSON file. The JSON file has neither the
date nor the other work on the machine: MEASURED has both, for each commit that a file names.
tests/test_benchmark_page.py fails if the page is stale, or if a row or a file is in no table.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainable.record.files import atomic_file, read_foreign_json

FOLDER = Path(__file__).resolve().parents[2] / "results" / "benchmarks"
PAGE = FOLDER / "README.md"
BLOCK = re.compile(r"<!-- table: (\w+) -->\n.*?<!-- end of table -->", re.DOTALL)
HEADINGS = ("what", "against", "here", "there", "unit", "here / there (lowest to highest)", "target")

# (file, first digits of the commit in it): day of the measurement, and other work on the machine.
MEASURED = {
    ("asha_savings", "b2e81c4"): "2026-11-23, other work on the second core",
    ("counting", "f3c1d4d"): "2026-11-28, alone, on a machine with AVX512_BF16",
    ("data_parallel", "5cb29c5"): "2026-11-28, alone, on a machine with AVX512_BF16",
    ("guided_step", "77ef214"): "2026-11-28, alone, on a machine with AVX512_BF16",
    ("guided_step", "8410a4a"): "2026-11-28, alone, on a machine with AVX512_BF16",
    ("guided_step", "5bb2078"): "2026-11-28, alone, on a machine with AVX512_BF16",
    ("guided_step_bfloat16", "77ef214"): "2026-11-28, alone, on a machine with AVX512_BF16",
    ("guided_trainer", "5bb2078"): "2026-11-28, alone, on a machine with AVX512_BF16",
    ("model_teacher", "2b5d22e"): "2026-11-28, alone, on a machine with AVX512_BF16",
    ("precision", "77ef214"): "2026-11-28, losses beside other work, times alone, on a machine with AVX512_BF16",
    ("preparation", "756f67f"): "2026-11-28, alone, on a machine with AVX512_BF16",
    ("throughput", "343ff11"): "2026-11-28, alone, on a machine with AVX512_BF16",
    ("throughput_bfloat16", "343ff11"): "2026-11-28, alone, on a machine with AVX512_BF16",
    ("throughput_amd", "6621e65"): "2026-11-27, alone, on a machine whose speed varied by half from minute to minute",
    ("sweep_overhead", "fcae4f4"): "2026-11-28, alone, on a machine with AVX512_BF16",
    ("tokenising", "756f67f"): "2026-11-28, alone, on a machine with AVX512_BF16",
    ("trial_memory", "e983aa0"): "2026-11-28, beside other work, on a machine with AVX512_BF16",
}


@dataclass(frozen=True, kw_only=True)
class Table:
    """The rows of one JSON file whose case a rule matches, in the order of the file."""

    file: str
    rules: tuple[tuple[str, str, str], ...]  # (pattern of the case, what is measured, the rival; \1 is a group of it)

    def words(self, case: str) -> tuple[str, str] | None:
        """(what is measured, rival) of a case; None where the table has no rule for it."""
        for pattern, what, rival in self.rules:
            if (found := re.fullmatch(pattern, case)) is not None:
                return found.expand(what), found.expand(rival)
        return None


GUIDED = (r"guided / plain: (V .+)", r"a guided step, \1", "a plain step")
ORDERS = (r"guided / plain: order (\d), (.+)", r"a step with n-grams of order \1, \2", "a plain step")
THROUGHPUT = (
    (r"ours / Trainer: (.+)", r"plain training, \1", "transformers' Trainer"),
    (r"ours / Trainer in float32: (.+)", r"plain training, \1", "transformers' Trainer in float32"),
    (r"ours / bare loop: (.+)", r"plain training, \1", "a bare PyTorch loop"),
)
SIZES = r"V (\d+), D (\d+), ([\d,]+) tokens(?: a step)?"
TABLES = {
    "guided_step": Table(file="guided_step", rules=(GUIDED,)),
    "orders": Table(file="guided_step", rules=(ORDERS,)),
    "guided_step_bfloat16": Table(file="guided_step_bfloat16", rules=(GUIDED, ORDERS)),
    "dense": Table(
        file="guided_step",
        rules=(
            (rf"guided / the published way: {SIZES}", r"guided steps, V \1, D \2", "dense targets built on the host"),
            (rf"guided / good dense: {SIZES}", r"guided steps, V \1, D \2", "rows of a dense table on the device"),
            (rf"teacher's memory / good dense: {SIZES}", r"memory of the teacher, V \1, D \2", "a dense table"),
        ),
    ),
    "memory": Table(
        file="guided_step",
        rules=(
            (rf"peak memory, .*: {SIZES}", r"peak memory of a guided step, V \1, D \2", "a plain loop with all logits"),
            (rf"time, .*: {SIZES}", r"time of a guided step, V \1, D \2", "a plain loop with all logits"),
        ),
    ),
    "throughput": Table(file="throughput", rules=THROUGHPUT),
    "throughput_bfloat16": Table(file="throughput_bfloat16", rules=THROUGHPUT),
    "throughput_amd": Table(file="throughput_amd", rules=THROUGHPUT),
    "precision": Table(
        file="precision",
        rules=(
            (
                r"(.+): mean difference of final loss, (.+) - (.+), of one sd over (\d+) seeds",
                r"final loss, \1, \2 minus \3",
                r"sd over \4 seeds in \3",
            ),
            (r"(.+): a step, (.+) / (.+)", r"a step, \1, \2", r"\3"),
        ),
    ),
    "guided_trainer": Table(
        file="guided_trainer",
        rules=(
            (
                r".+GuidedTrainer with / without: (.+)",
                r"a step of GuidedTrainer, \1",
                "without a teacher",
            ),
            (r"GuidedTrainer / Trainer: (.+)", r"a step of GuidedTrainer, \1", "transformers' Trainer, plain"),
            (r"GuidedTrainer / our guided loop: (.+)", r"a step of GuidedTrainer, \1", "a guided step of this project"),
            (r"peak memory, GuidedTrainer / Trainer: (.+)", r"peak memory, \1", "transformers' Trainer, plain"),
            (r"peak memory, GuidedTrainer / no teacher: (.+)", r"peak memory, \1", "without a teacher"),
        ),
    ),
    "counting": Table(
        file="counting",
        rules=(
            (
                r"against a Python loop on its first 2 M .+, (.+)",
                r"counting, \1",
                "a Python loop on 2 M of them, scaled",
            ),
            (r"against a Python loop on the same stream, (.+)", r"counting, \1", "a Python loop on all of them"),
            (r"against (.+), (\d threads?)", r"counting, \2", r"\1"),
            (r"(\d) threads against (\d)", r"counting, \1 threads", r"\2 thread"),
            (r"growth: (.+) against (.+)", r"rate of counting \1", r"\2 tokens"),
            (r"memory: (.+) against (.+); (.+)", r"memory of counting \1, \3", r"\2 tokens"),
        ),
    ),
    "ngrams": Table(
        file="counting",
        rules=(
            (
                r"order (\d) counted and estimated, (\d) threads, against (.+)",
                r"counting and estimating order \1, \2 threads",
                r"\3",
            ),
            (r"growth of order 3: (.+) against (.+)", r"rate of order 3, \1", r"\2 tokens"),
            (r"memory of order 3 at its peak against the table: (.+)", r"peak memory of order 3, \1", "its table"),
            (r"bytes of the table / n-grams: (.+)", r"bytes of the table, \1", "n-grams"),
        ),
    ),
    "tokenising": Table(
        file="tokenising",
        rules=(
            (r"([\d,]+ rows), against (.+)", r"tokenising \1", r"\2"),
            (r"memory: ([\d,]+ rows) against ([\d,]+) (.+)", r"memory of tokenising \1 \3", r"\2 rows"),
        ),
    ),
    "preparation": Table(
        file="preparation",
        rules=(
            (r"([\d,]+ rows): (.+) against (.+) \(\d repeats\)", r"preparing \1, \2", r"\3"),
            (r"CPU time of the driver of 2 workers against (.+);.+", "CPU time of the driver of 2 workers", r"\1"),
        ),
    ),
    "model_teacher": Table(
        file="model_teacher",
        rules=(
            (r"(time|rate): train a (teacher .+), against the (.+)", r"\1 of training a \2", r"the \3"),
            (r"(time|rate): ask a (teacher .+), against the (.+)", r"\1 of asking a \2", r"the \3"),
            (r"bytes of the answers' file, (.+) / tokens kept: (.+)", r"bytes of the answers, \1, \2", "tokens kept"),
            (r"validation loss of a (teacher .+), against (.+)", r"own loss of a \1", r"\2"),
        ),
    ),
    "model_steps": Table(
        file="model_teacher",
        rules=((r"guided / plain: (model's top .+)", r"a step with a \1", "a plain step"),),
    ),
    "data_parallel": Table(
        file="data_parallel",
        rules=(
            (r"(.+ a step): two workers against one", r"two workers a trial, \1", "one worker"),
            (r"(.+ a step): (validation loss after 50 steps), (.+)", r"\2, \1 (\3)", "one worker"),
            (r"(.+ a step): starting and ending two workers, .+", r"starting and ending two workers, \1", "the trial"),
        ),
    ),
    "trial_memory": Table(
        file="trial_memory",
        rules=(
            (r"data of 1 trial, of table \+ blocks", "memory of 1 trial's data", "table and blocks"),
            (r"each further of (\d) trials, of table .+", r"what each further of \1 trials adds", "table and blocks"),
            (
                r"  private to the workers: each further of (\d) trials, of table .+",
                r"part of what each further of \1 trials adds that is private to the workers",
                "table and blocks",
            ),
        ),
    ),
    "trie_memory": Table(
        file="trial_memory",
        rules=(
            (r"data of 1 trial, of n-grams of order 3 .+", "memory of 1 trial's data", "n-grams and blocks"),
            (
                r"each further of (\d) trials, of n-grams of order 3 .+",
                r"what each further of \1 trials adds",
                "n-grams and blocks",
            ),
            (
                r"  private to the workers: each further of (\d) trials, of n-grams of order 3 .+",
                r"part of what each further of \1 trials adds that is private to the workers",
                "n-grams and blocks",
            ),
        ),
    ),
    "sweep_overhead": Table(
        file="sweep_overhead",
        rules=(
            (r"neither training nor evaluation, of all", r"neither training nor evaluation", "all slot-seconds"),
            (r"start of a later trial, (\w+), of 3 s", r"start of a later trial, \1", "3 s"),
            (r"  (.+)", r"\1", "all slot-seconds"),
        ),
    ),
    "asha_savings": Table(
        file="asha_savings",
        rules=(
            (r"(.+ with ASHA), (.+), of the full grid", r"trial-steps, \1, \2", "the full grid of 48 schedules"),
            (r"gain lost to the grid's best, .+", "gain lost to the grid's best schedule", "sd of one seed"),
            (r"(random search with ASHA), (.+), of one seed sd", r"gain lost, \1, \2", "sd of one seed"),
            (r"  of the full grid", "trial-steps, random search with ASHA", "the full grid of 48 schedules"),
        ),
    ),
}
# Cases that no table shows: the cases of the picture, and the single searches of a mean.
LEFT_OUT = re.compile(r"teacher's share: (?!Guided).+|  search seed \d.*")


def table_of(name: str) -> str:
    """A table as Markdown: first where and when it was measured, then a row for each case."""
    table = TABLES[name]
    kept = read_foreign_json(FOLDER / f"{table.file}.json")
    rows = [(words, row) for row in kept["rows"] if (words := table.words(row["case"])) is not None]
    sources = dict.fromkeys(source_of(table.file, row.get("measured", kept)) for _, row in rows)
    lines = [*sources, "", *(f"| {' | '.join(cells)} |" for cells in (HEADINGS, ["---"] * len(HEADINGS)))]
    lines += [f"| {' | '.join(cells_of(*words, row))} |" for words, row in rows]
    return "\n".join(lines)


def source_of(file: str, measured: dict[str, Any]) -> str:
    """The sentence above a table: command, machine, day and commit of the measurement."""
    commit, machine = str(measured["git_commit"])[:7], measured["hardware"]
    assert (file, commit) in MEASURED, f"{file}.json is of commit {commit}: say in MEASURED when and beside what"
    gpus = ", ".join(machine["gpus"]) or "no GPU"
    return (
        f"Measured by `{' '.join(measured['command'])}` on {machine['cpus']} cores of {machine['cpu']}, "
        f"{machine['memory_gib']:.0f} GiB, {gpus}; {MEASURED[file, commit]}; commit {commit}."
    )


def cells_of(what: str, rival: str, row: dict[str, Any]) -> Iterator[str]:
    """The cells of a row: what, rival, both numbers, their unit, their ratio with its spread, and the target."""
    yield what
    yield rival
    yield f"{row['ours']:,.{decimals(row['ours'])}f}"
    yield f"{row['against']:,.{decimals(row['against'])}f}"
    yield row["unit"]
    places = decimals(row["ratio"])
    yield f"{row['ratio']:.{places}f} ({row['ratio_low']:.{places}f} to {row['ratio_high']:.{places}f})"
    verdict = {True: "reached", False: "**missed**", None: ""}[row["reached"]]
    yield f"{row['target']} {verdict}".strip()


def decimals(value: float) -> int:
    """Number of digits after the point, for some three digits in all."""
    return next((places for least, places in ((100, 0), (10, 1), (0.3, 2)) if abs(value) >= least), 3)


def page_with_tables(page: str) -> str:
    """The page, with every table made again."""
    return BLOCK.sub(lambda block: f"<!-- table: {block[1]} -->\n{table_of(block[1])}\n<!-- end of table -->", page)


if __name__ == "__main__":
    made = page_with_tables(PAGE.read_text(encoding="utf-8"))
    with atomic_file(PAGE, "w") as file:
        file.write(made)
    print(f"written to {PAGE}")
