"""Cost and knowledge of a teacher of kind model: training, answers, guided steps, truncation.

    python tests/benchmarks/model_teacher.py [--corpus PATH] [--repeats 7] [--threads 1] [--only PART ...]
    python tests/benchmarks/model_teacher.py --smoke-test --corpus builtin --repeats 1

Parts:
- making: training a teacher, and asking it about all training blocks, against the student's plain steps; bytes of the
  answers' file for each token that is kept;
- steps: a guided step against a plain one, in turn as in guided_step.py, as more tokens of an answer are kept;
- losses: a teacher's own validation loss with truncated answers, against the loss with whole answers.

Student, text and teachers are those of sweeps/small_teacher.py at the laptop's scale: vocabulary 8,192, width 128, 1
layer, 4,096 tokens a step, teachers of width 32 and 64. Each teacher is trained and asked only once, because that takes
minutes, in a cache that is thrown away. It has --threads threads here; in the preparation of a run it has all cores. A
row of steps has the limit of a bigram teacher. --smoke-test runs everything at a small size.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from guided_step import against_plain
from record import Row, compare, keep
from student import Student, default_corpus

from sweeps.engine.protocol import protocol_base
from sweeps.engine.study import StudyOptions
from sweeps.small_teacher import STUDENT, WIDTHS, model_of
from trainable.config import TrialConfig, override
from trainable.prepare import prepare_run
from trainable.small_teacher import TRUNCATIONS
from trainable.student.run_data import RunData
from trainable.teacher.answers import Answers
from trainable.text.corpus import BUILTIN

MOST_KEPT = max(TRUNCATIONS)
ENTRY_BYTES = 4.01  # an id and a probability; beside them a file holds a bigram table, which is left out, and facts


@dataclass(frozen=True, kw_only=True)
class Taught:
    """A teacher that was trained and asked, with its facts and the size of its answers."""

    config: TrialConfig
    data: RunData
    facts: dict[str, Any]  # of the teacher, as run.json has them
    file_bytes: int  # of its answers

    @property
    def answers(self) -> Answers:
        assert isinstance(self.data.table, Answers)
        return self.data.table

    @property
    def name(self) -> str:
        return f"teacher of width {self.config.teacher.model.hidden}"


Teach = Callable[..., Taught]  # (width), or (width, tokens kept of an answer)


def taught(base: TrialConfig, folder: Path, width: int, top_k: int | None = None) -> Taught:
    """Train a teacher and ask it, keeping top_k tokens (None: the setting's own) of each answer; `folder` is the cache.

    If the folder has the trained model already, it is only asked.
    """
    model = model_of(width, STUDENT["laptop"], base)
    config = override(base, model if top_k is None else model | {"teacher.model.top_k": top_k})
    before = bytes_below(folder / "answers")
    data, facts = prepare_run(config, folder)
    file_bytes = bytes_below(folder / "answers") - before
    return Taught(config=config, data=data, facts=facts["teacher"], file_bytes=file_bytes)


def bytes_below(folder: Path) -> int:
    """Size of all files in a folder; 0 if the folder does not exist."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def making_cases(teach: Teach, widths: Sequence[int], repeats: int) -> Iterator[Row]:
    """Seconds and tokens a second of training and of asking, against the student's steps on as many tokens."""
    for width in widths:
        made = teach(width)
        student = Student(made.config, made.data)
        student.plain()
        plain = step_tokens(made.config) / median(student.plain() for _ in range(repeats))
        steps, kept = made.config.teacher.model.steps, made.facts["top_k"]
        for doing, tokens, seconds in (
            (f"train a {made.name}, {steps} steps", made.facts["counted_tokens"], made.facts["train_seconds"]),
            (f"ask a {made.name}, top {kept}", made.facts["positions"], made.facts["answer_seconds"]),
        ):
            case = f"{doing}, {tokens:,} tokens, against the student's plain steps"
            yield compare(f"time: {case}", [seconds], [tokens / plain], "s")
            yield compare(f"rate: {case}", [tokens / seconds], [plain], "tokens/s")
        entries = made.facts["positions"] * kept
        own_bytes = made.file_bytes - made.answers.parent.nbytes
        case = f"bytes of the answers' file, without its bigrams / tokens kept: {made.name}, top {kept}, {entries:,}"
        yield compare(case, [own_bytes], [entries], "bytes", at_most=ENTRY_BYTES)


def step_tokens(config: TrialConfig) -> int:
    """Tokens of an optimizer step."""
    return config.loop.batch_blocks * config.loop.accumulation * config.tokens.context


def step_cases(teach: Teach, width: int, repeats: int) -> Iterator[Row]:
    """A guided step against a plain one, with 8 to 64 tokens of each answer kept."""
    made = teach(width, MOST_KEPT)
    for top_k in TRUNCATIONS:
        data = replace(made.data, table=cut(made.answers, top_k))
        shape = f"V {made.data.train.vocab_size}, D 128, {made.config.model.layers} layer"
        name = f"model's top {top_k}, {shape}, {made.config.loop.precision}"
        yield against_plain(made.config, data, step_tokens(made.config), repeats, name)


def cut(answers: Answers, top_k: int) -> Answers:
    """The answers, cut to fewer tokens each."""
    ids_BxTxk, p_BxTxk = (np.ascontiguousarray(a[..., :top_k]) for a in (answers.ids_BxTxk, answers.p_BxTxk))
    return replace(answers, ids_BxTxk=ids_BxTxk, p_BxTxk=p_BxTxk)


def loss_cases(teach: Teach, widths: Sequence[int]) -> Iterator[Row]:
    """Validation losses of the truncated answers, against the loss of the whole distribution."""
    for width in widths:
        made = teach(width)
        for top_k, loss in made.facts["truncated_losses"].items():
            case = f"validation loss of a {made.name}, top {top_k} and the bigrams, against all it says"
            yield compare(case, [loss], [made.facts["eval_loss"]], "nats")


def main() -> None:
    """Run the parts and keep them."""
    parts = ("making", "steps", "losses")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", default=default_corpus(), help="a parquet or text file (the books, else built in)")
    parser.add_argument("--repeats", type=int, default=7, help="pairs of steps a case (7)")
    parser.add_argument("--threads", type=int, default=1, help="threads (1)")
    parser.add_argument("--only", nargs="+", choices=parts, default=parts, help="parts to run (all)")
    parser.add_argument("--smoke-test", action="store_true", help="teachers and student of 12 steps on 2,000 rows")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    study = StudyOptions(corpus=options.corpus, smoke_test=options.smoke_test)
    if options.corpus == BUILTIN and not options.smoke_test:
        print("the books are not here: built-in text, few rows; give --corpus for real figures.")
        study = replace(study, train_rows=9_000)
    base, widths = protocol_base(study, None, {}), WIDTHS["laptop"]
    with TemporaryDirectory() as folder:
        teach = cache(partial(taught, base, Path(folder)))
        cases = {
            "making": lambda: making_cases(teach, widths, options.repeats),
            "steps": lambda: step_cases(teach, widths[-1], options.repeats),
            "losses": lambda: loss_cases(teach, widths),
        }
        rows = []
        for part in options.only:
            for row in cases[part]():
                print(f"{row.case}: {row.ours:.4g} {row.unit}, ratio {row.ratio:.3f}", flush=True)
                rows.append(row)
    keep("model_teacher", rows, part=set(options.only) != set(parts))


if __name__ == "__main__":
    main()
