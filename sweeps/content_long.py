#!/usr/bin/env python
"""Does the gain at 3 M tokens last? The control, the best rival and the best teacher at the published budget.

    python sweeps/content_long.py --corpus books.parquet --answer <run>

What varies: the arm. Each of the three is a winner of a finished run of sweeps/content.py and keeps its own learning
rate and schedule, stretched in proportion to the longer run; 2 seeds. What is fixed: 4,640 steps of 4,096 tokens (19 M,
as published; some 70 minutes on a laptop), at most one epoch. With --scale published the run has 3,822 steps, which are
6.5 times those of sweeps/content.py at that scale.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import mean
from typing import Annotated, Any

from sweeps.engine.folder import RunFolder
from sweeps.engine.options import run_address
from sweeps.engine.protocol import protocol_base
from sweeps.engine.settings import SMOKE_STEPS
from sweeps.engine.specs.comparison import Arm, Comparison, grid, paired_plans
from sweeps.engine.specs.groups import REPORTING, at_length
from sweeps.engine.study import Scale, StudyOptions, run_study, seeds_of
from trainable import names
from trainable.config import TrialConfig, flatten
from trainable.errors import InputError, require
from trainable.plan import TrialPlan
from trainable.record.option import option

QUESTION = "Is anything of the gain left at the published budget of tokens?"
STEPS: Mapping[Scale, int] = {"laptop": 4_640, "published": 3_822}
PARTS = ("control", "rival", "content")
OF_AN_ARM = ("teacher.", "model.output_bias", "optimizer.")


@dataclass(frozen=True, kw_only=True)
class AnswerOptions:
    """The option for the run whose winners are trained longer."""

    GROUP = "comparison"
    answer: Annotated[str | None, option("DIR|URI", "none, and one must be given")] = None
    """finished run of sweeps/content.py"""


@dataclass(frozen=True, kw_only=True)
class LongOptions(AnswerOptions, StudyOptions):
    """Options of this study."""


def content_long(options: LongOptions) -> Comparison:
    """Three arms, two seeds, on the validation text that reports."""
    require(options.answer is not None, "--answer is missing: give a finished run of sweeps/content.py.")
    steps = options.steps or (SMOKE_STEPS if options.smoke_test else STEPS[options.scale])
    winners = {arm: at_length(config, steps) for arm, config in confirmed_settings(str(options.answer)).items()}
    control, *others = winners
    base = protocol_base(options, steps, {"corpus.eval_half": REPORTING, **settings_of(winners[control])})
    plans = paired_plans(
        grid(base, {"seed": seeds_of(options, 2)}),
        lambda unit: [Arm(arm, settings_of(winners[arm])) for arm in others],
    )
    return Comparison(study="content_long", question=QUESTION, base=base, plans=plans)


def confirmed_settings(answer: str) -> dict[str, TrialConfig]:
    """Return {arm: the setting of its confirmations} for the control, the best rival and the best teacher with content.

    Best is the lowest mean final loss over the seeds of the confirmations. Raises InputError for a run that is not
    complete, or in which one of the three has no finished confirmation.
    """
    folder = RunFolder.open(run_address("--answer", answer))
    record = folder.record()
    require(
        record.study == "content" and record.complete,
        f"--answer is {folder.address}, which is no complete run of sweeps/content.py: give one.",
    )
    losses: dict[str, list[float]] = {}
    plans: dict[str, TrialPlan] = {}
    for one in folder.finished():
        if one.plan.config.corpus.eval_half == REPORTING:
            losses.setdefault(one.plan.arm, []).append(one.loss)
            plans[one.plan.arm] = one.plan
    best: dict[str, TrialPlan] = {}
    for arm in sorted(plans, key=lambda arm: mean(losses[arm])):
        best.setdefault(part_of(plans[arm]), plans[arm])
    if lacking := [part for part in PARTS if part not in best]:
        raise InputError(f"run {folder.address} has no finished confirmation of a {lacking[0]} arm: resume it first.")
    return {best[part].arm: best[part].config for part in PARTS}


def part_of(plan: TrialPlan) -> str:
    """Part of a trial's arm in the comparison (one of PARTS), by its settings and not by its name."""
    if plan.role == names.CONTROL:
        return "control"
    teacher = plan.config.teacher
    return "rival" if teacher.schedule == "none" or teacher.kind in names.CONTENT_FREE else "content"


def settings_of(config: TrialConfig) -> dict[str, Any]:
    """Settings that a winner takes into the longer run, by dotted key."""
    return {key: value for key, value in flatten(config).items() if key.startswith(OF_AN_ARM)}


if __name__ == "__main__":
    sys.exit(run_study(content_long, LongOptions, __doc__))
