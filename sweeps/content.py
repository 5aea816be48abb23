#!/usr/bin/env python
"""The sceptic's study: does what the bigrams know help, or would any soft target do?

    python sweeps/content_gate.py --corpus books.parquet  # first: long enough?
    python sweeps/content.py --corpus books.parquet --gate <run of content_gate>
    python sweeps/content.py --corpus books.parquet --scale published  # one GPU

What varies: the student (with and without an output bias that starts at the log unigram) times the teacher (none,
uniform, bigram), on 6 seeds. Two secondary arms have 3 seeds: shuffled bigrams, and a ramp without a teacher. What is
fixed: 1 layer, linear schedule, minimum weight 0, modified Kneser-Ney counted on the student's own rows, at most one
epoch.

Every arm is tuned alike, on one seed and at half length: three learning rates times two warm-ups (no teacher) or two
numbers of scheduling steps (teachers). If the best rate is the lowest or the highest, one more rate is tried beyond it.
The winners then run at full length, on fresh seeds and on validation text that chose nothing. Only these confirmations
decide the verdict.

The rules of the verdict (analysis/tables/answer.py) and this plan are committed before the first confirmation runs, and
run.json names that commit. All runs are reported, also those that diverged.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from sweeps.content_gate import passed_gate
from sweeps.engine.cli import main
from sweeps.engine.options import run_address
from sweeps.engine.protocol import (
    BETA2,
    CONTROL,
    ProtocolOptions,
    named_arms,
    protocol_arm,
    protocol_base,
    protocol_sweep,
)
from sweeps.engine.specs.arms import SearchArm
from sweeps.engine.specs.search import Sweep
from sweeps.engine.study import StudyOptions
from trainable.config import TrialConfig
from trainable.errors import InputError
from trainable.record.option import option

QUESTION = "Does what the bigrams know help a student that ends better than its teacher, or would any soft target do?"
SEEDS, SECONDARY_SEEDS = (1, 2, 3, 4, 5, 6), (1, 2, 3)
TEACHERS: Mapping[str, dict[str, Any]] = {
    "uniform": {"teacher.kind": "uniform"},
    "bigram": {"teacher.kind": "bigram"},
    "shuffled": {"teacher.kind": "shuffled"},
    "ramp": {"teacher.kind": "ramp"},
}
SECONDARY = ("shuffled", "ramp")
BIAS = {"model.output_bias": "unigram"}
WITH_BIAS = "{} with bias"


@dataclass(frozen=True, kw_only=True)
class GateOptions:
    """The option for the run that says whether this study can tell anything."""

    GROUP = "comparison"
    gate: Annotated[str | None, option("DIR|URI", "the study's own steps and beta2")] = None
    """finished run of sweeps/content_gate.py on the same corpus, whose steps and beta2 are taken"""


@dataclass(frozen=True, kw_only=True)
class ContentOptions(GateOptions, ProtocolOptions):
    """Options of this study."""


def content(options: ContentOptions) -> Sweep:
    """Eight arms at 1 layer: tuned at half length, confirmed at full length."""
    beta2, steps = BETA2, options.steps
    if options.gate is not None:
        gate = passed_gate(run_address("--gate", options.gate))
        if steps is not None and steps != gate.loop.steps:
            raise InputError(f"--steps is {steps} but the gate ran {gate.loop.steps}: leave --steps out.")
        beta2, steps = gate.optimizer.beta2, gate.loop.steps
    base = protocol_base(options, steps, {"optimizer.beta2": beta2})
    arms = content_arms(options, base)
    return protocol_sweep("content", QUESTION, base, arms, options.margin, search_steps=half_of(base))


def content_arms(options: StudyOptions, base: TrialConfig) -> tuple[SearchArm, ...]:
    """Arms in the order of the report: without a bias, with one, secondary; with --arms, control and named arms."""

    def arm(name: str, changes: Mapping[str, Any], bias: bool = False) -> SearchArm:
        named = WITH_BIAS.format(name) if bias else name
        fixed = {**(BIAS if bias else {}), **changes}
        seeds = options.seeds or (SECONDARY_SEEDS if name in SECONDARY else SEEDS)
        return protocol_arm(named, fixed, base, seeds, search_steps=half_of(base), smoke_test=options.smoke_test)

    primary = [(CONTROL, {}), *((name, keys) for name, keys in TEACHERS.items() if name not in SECONDARY)]
    arms = [arm(name, keys, bias) for bias in (False, True) for name, keys in primary]
    arms += [arm(name, TEACHERS[name]) for name in SECONDARY]
    return named_arms("content", tuple(arms), options.arms)


def half_of(base: TrialConfig) -> int:
    """Steps of a trial that tunes an arm: half the steps of a confirmation."""
    return max(1, base.loop.steps // 2)


if __name__ == "__main__":
    sys.exit(main(content, ContentOptions, __doc__))
