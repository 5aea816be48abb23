"""Parts that the sceptic's studies share: the setting of each scale, rows for at most one epoch, arms tuned alike.

Order to read the studies: sweeps/content_gate.py (is the run long enough?), sweeps/content.py (does the content help?),
sweeps/content_long.py (does the gain last?), sweeps/teacher_order.py (which teacher?).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any

from sweeps.engine.options import base_config
from sweeps.engine.settings import LAPTOP, SMALL_LLAMA2, SMOKE
from sweeps.engine.specs.arms import RATE, SearchArm
from sweeps.engine.specs.search import MARGIN, Sweep
from sweeps.engine.specs.space import Parameter, levels
from sweeps.engine.study import Scale, StudyOptions
from sweeps.engine.winners import settled_arms
from trainable.config import TrialConfig, override
from trainable.errors import InputError
from trainable.record.option import option

CONTROL = "control"
BETA2 = 0.999  # the better of the two that sweeps/content_gate.py tries, on the books
SEEDS = (1, 2, 3)  # seeds of the confirmations in a study of teachers
PROTOCOL_RATES = (0.5, 1.0, 2.0)  # factors of the setting's learning rate
WARM_UPS = (0.05, 0.2)  # warm-ups that an arm without a teacher tries, as shares of the run
SCHEDULES = (0.4, 1.0)  # scheduling steps that an arm with a teacher tries, as shares of the run
_WARM_UP = 0.1  # warm-up as a share of the run, in an arm that does not search it
_FIXED = {"model.layers": 1, "teacher.smoothing": "modified_kneser_ney"}
_SETTINGS: Mapping[Scale, TrialConfig] = {
    # 4,096 tokens a step; 704 steps are 2.9 M tokens: a student of this size then ends below the bigram's own loss
    "laptop": override(
        LAPTOP,
        {
            **_FIXED,
            "corpus.eval_rows": 2_000,
            "tokens.tokenizer": "train:8192",
            "optimizer.lr": 4e-3,
            "loop.steps": 704,
            "loop.batch_blocks": 32,
            "loop.eval_every": 44,
            "loop.checkpoint_every": 88,
        },
    ),
    # 32,768 tokens a step; 588 steps are the published study's 19 M tokens
    "published": override(SMALL_LLAMA2, {**_FIXED, "corpus.source": "bookcorpus", "corpus.eval_rows": 40_000}),
}
_ROWS_A_STEP: Mapping[Scale, float] = {"laptop": 108_000 / 704, "published": 1_000_000 / 588}  # of books, with room


@dataclass(frozen=True, kw_only=True)
class MarginOptions:
    """The option for the margin of the verdict."""

    GROUP = "comparison"
    margin: float = MARGIN
    """least mean gain that is called a help, nats per token"""


@dataclass(frozen=True, kw_only=True)
class SettingsOptions:
    """The option for a run whose search has chosen the settings."""

    GROUP = "comparison"
    settings_of: Annotated[str | None, option("DIR|URI", "none: every arm is tuned here")] = None
    """run of this study, also on another machine: each arm takes the best setting found there, and tries no other"""


@dataclass(frozen=True, kw_only=True)
class ProtocolOptions(MarginOptions, StudyOptions):
    """Options of a study whose arms are all tuned alike."""


@dataclass(frozen=True, kw_only=True)
class TeachersOptions(SettingsOptions, ProtocolOptions):
    """Options of a study of several teachers."""


def protocol_base(options: StudyOptions, steps: int | None, changes: Mapping[str, Any]) -> TrialConfig:
    """Return the control's setting for a run of `steps` (None: the scale's), with changes, then the user's options.

    The number of training rows is that of one epoch of such a run over book sentences. The teacher is counted on these
    rows, so it has read what the student reads.
    """
    setting = _SETTINGS[options.scale]
    steps = setting.loop.steps if steps is None else steps
    sized = {
        "corpus.train_rows": round(steps * _ROWS_A_STEP[options.scale]),
        "loop.steps": steps,
        "loop.eval_every": min(setting.loop.eval_every, steps),
        "loop.checkpoint_every": min(setting.loop.eval_every, steps) * 2,
        "optimizer.warmup_steps": round(_WARM_UP * steps),
    }
    smoke = {key: SMOKE[key] for key in SMOKE} if options.smoke_test else {}
    return base_config(replace(options, steps=None), override(setting, {**sized, **changes, **smoke}))


def protocol_arm(
    name: str,
    changes: Mapping[str, Any],
    base: TrialConfig,
    seeds: tuple[int, ...],
    *,
    search_steps: int,
    smoke_test: bool = False,
) -> SearchArm:
    """Return an arm that tries three learning rates times two warm-ups (no teacher) or scheduling steps (a teacher).

    search_steps: steps of the runs that tune the arm, as given to `protocol_sweep`.
    """

    def share(shares: tuple[float, ...]) -> Parameter:
        return levels(sorted({max(1, round(share * search_steps)) for share in shares}))

    fixed, timing = dict(changes), {"optimizer.warmup_steps": share(WARM_UPS)}
    if any(key.startswith("teacher.") for key in changes):
        fixed |= {"teacher.schedule": "linear", "teacher.min_weight": 0.0}
        timing = {"teacher.steps": share(SCHEDULES)}
    rates = levels([float(f"{base.optimizer.lr * factor:.4g}") for factor in PROTOCOL_RATES])
    return SearchArm(name=name, changes=fixed, space={RATE: rates, **timing}, seeds=seeds[:1] if smoke_test else seeds)


def named_arms(study: str, arms: tuple[SearchArm, ...], named: tuple[str, ...]) -> tuple[SearchArm, ...]:
    """Return the control and the arms of --arms, or all arms. Raises InputError for an unknown name."""
    known = [arm.name for arm in arms if arm.name != CONTROL]
    if strange := [name for name in named if name not in known]:
        raise InputError(f"--arms: {study} has no arm {strange[0]!r}: give some of {', '.join(map(repr, known))}.")
    return tuple(arm for arm in arms if not named or arm.name in (CONTROL, *named))


def protocol_sweep(
    study: str, question: str, base: TrialConfig, arms: tuple[SearchArm, ...], margin: float, *, search_steps: int
) -> Sweep:
    """Return the study: each arm is tuned over `search_steps` on one seed, and its winner confirmed on fresh seeds."""
    return Sweep(
        study=study,
        question=question,
        base=base,
        layers=(1,),
        arms=arms,
        search="grid",
        num_samples=max(arm.size for arm in arms),
        search_steps=None if search_steps == base.loop.steps else search_steps,
        extend_rates=True,
        margin=margin,
        registered=True,
    )


def teachers_study(
    study: str,
    question: str,
    options: TeachersOptions,
    teachers_of: Callable[[TrialConfig], Mapping[str, Mapping[str, Any]]],
) -> Sweep:
    """Return a study of several teachers beside the control, with two choices that follow from sweeps/content.py.

    - Every student has an output bias that starts at the log unigram. In that study the bias is worth more than any
      teacher, and without it a gain may come from the unigram alone.
    - Arms are tuned at full length. In that study the winner at half length (a bigram that stays for the whole run) did
      not win at full length.

    teachers_of: {name of an arm: the dotted keys that make its teacher}, given the control's setting.
    """
    base = protocol_base(options, options.steps, {"optimizer.beta2": BETA2, "model.output_bias": "unigram"})
    steps, seeds = base.loop.steps, options.seeds or SEEDS
    arms = tuple(
        protocol_arm(name, changes, base, seeds, search_steps=steps, smoke_test=options.smoke_test)
        for name, changes in {CONTROL: {}, **teachers_of(base)}.items()
    )
    named = named_arms(study, arms, options.arms)
    if options.settings_of is not None:
        named = settled_arms(study, named, options.settings_of)
    sweep = protocol_sweep(study, question, base, named, options.margin, search_steps=steps)
    return replace(sweep, extend_rates=options.settings_of is None)
