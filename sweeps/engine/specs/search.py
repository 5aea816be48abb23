"""A search as data: its groups (one depth of one arm), the trials of each, and the rules that make the comparison fair.

Every arm is tuned as hard as its rivals: each group searches its own space with the same number of trials, and its
winner runs again on fresh seeds and on validation text that chose nothing. All is checked before anything runs.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal

from sweeps.engine.specs.arms import RATE, SearchArm
from sweeps.engine.specs.asha_spec import AshaSpec
from sweeps.engine.specs.groups import CHOOSING, REPORTING, Group, at_length
from sweeps.engine.specs.trial_names import shown, slug
from sweeps.engine.specs.workload import Workload
from trainable.config import ModelConfig, TrialConfig, from_dict, override, to_dict
from trainable.errors import InputError

Search = Literal["optuna", "random", "grid"]
LARGEST_SEARCH_SEED = 4_000_000
MARGIN = 0.03  # nats per token: a smaller mean gain is not called a help


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """A search for the best setting of every arm at each depth, and the comparison of the winners."""

    kind: ClassVar[str] = "groups"
    study: str  # folder of its runs under results/
    question: str  # heads the summary
    base: TrialConfig  # everything that is fixed; its schedule is "none", its steps are those of a confirmation
    layers: tuple[int, ...]
    arms: tuple[SearchArm, ...]  # the control first
    search: Search = "optuna"
    num_samples: int  # searched trials of a group; all of its settings if it has fewer
    search_seed: int = 0  # seed of the searcher
    asha: AshaSpec | None = None
    search_steps: int | None = None  # optimizer steps of a searched trial; None: those of a confirmation
    extend_rates: bool = False  # search one more rate if the best one is the lowest or the highest
    margin: float = MARGIN  # the verdict's, nats per token
    registered: bool = False  # plan and rules are committed before the run: run.json names the commit

    def __post_init__(self) -> None:
        if not self.layers or len(set(self.layers)) != len(self.layers) or min(self.layers) < 1:
            raise InputError(
                f"layers are {list(self.layers)}: give different depths of at least 1, such as --layers 1 2."
            )
        ModelConfig(layers=max(self.layers))
        _check_search(self)
        _check_arms(self)
        _check_seeds(self)
        if self.asha is not None:
            self.asha.check(at_length(self.base, self.steps_of_search).loop)

    @property
    def steps_of_search(self) -> int:
        """Optimizer steps of a searched trial."""
        return self.base.loop.steps if self.search_steps is None else self.search_steps

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """Every arm at every depth; the control's group first at each depth."""
        found: list[Group] = []
        for layers in self.layers:
            base = override(self.base, {"model.layers": layers})
            control = Group(base=base, arm=self.arms[0], search_steps=self.steps_of_search)
            found.append(control)
            for arm in self.arms[1:]:
                found.append(Group(base=base, arm=arm, search_steps=self.steps_of_search, control=control))
        return tuple(found)

    def samples(self, arm: SearchArm) -> int:
        """Number of searched trials of a group of this arm, without those of one more rate."""
        return arm.size if self.search == "grid" else min(self.num_samples, arm.size)

    @property
    def trials(self) -> int:
        """Largest number of trials: searched trials, those of one more rate, and confirmations."""
        return len(self.layers) * sum(self.samples(arm) + self._of_more_rate(arm) + len(arm.seeds) for arm in self.arms)

    def _of_more_rate(self, arm: SearchArm) -> int:
        rates = len(arm.space[RATE].grid()) if RATE in arm.space else 1
        return arm.size // rates if self.extend_rates and rates > 1 else 0

    @property
    def depths(self) -> tuple[int, ...]:
        """Numbers of layers, each searched separately."""
        return self.layers

    def configs(self) -> list[TrialConfig]:
        """One config of each arm on each half of the validation text: a search varies nothing else that changes data.

        The config of an arm without a teacher keeps the teacher settings of the base, which the arm never uses, so that
        no table is made for this arm alone.
        """
        arms = [
            group.search_plan(group.dearest).config if group.arm.has_teacher else override(self.base, group.arm.changes)
            for group in self.groups[: len(self.arms)]
        ]
        return [override(arm, {"corpus.eval_half": half}) for half in (CHOOSING, REPORTING) for arm in arms]

    def largest(self) -> list[TrialConfig]:
        """One config for each different model of the arms, at the greatest depth."""
        deepest = [override(config, {"model.layers": max(self.layers)}) for config in self.configs()]
        return list({config.model: config for config in deepest}.values())

    def can_have(self, trial: str) -> bool:
        """Whether a searched trial of any setting of any group, or its confirmation, has this name."""
        return any(group.can_have(trial) for group in self.groups)

    def decides(self, key: str) -> bool:
        """Whether every arm that reads the dotted key searches or fixes it, or the study has an option for it."""
        readers = [arm for arm in self.arms if arm.has_teacher or not key.startswith("teacher.")]
        by_arms = bool(readers) and all(key in arm.space or key in arm.changes for arm in readers)
        return by_arms or key in ("model.layers", "seed", "corpus.eval_half")

    def workloads(self) -> list[Workload]:
        """Workloads of each group: searched trials (of one more rate too; ASHA stops some), and confirmations."""
        loads = []
        for group in self.groups:
            searched = group.search_plan(group.dearest).config
            steps = float(self.steps_of_search)
            if self.asha is not None:
                steps = expected_steps(self.asha, group.schedule_ends, self.steps_of_search)
            trials = self.samples(group.arm) + self._of_more_rate(group.arm)
            loads.append(Workload(config=searched, trials=trials, steps=steps))
            if group.arm.seeds:
                confirmation = at_length(searched, self.base.loop.steps)
                loads.append(Workload(config=confirmation, trials=len(group.arm.seeds), steps=self.base.loop.steps))
        return loads

    def plan_lines(self) -> list[str]:
        """Lines of the plan: arms and spaces, reference controls, confirmations, what ASHA can judge, the budget."""
        references = [group.reference_name for group in self.groups if group.control is None]
        again = f"again over {self.base.loop.steps} steps on fresh seeds" if self.search_steps else "again on new seeds"
        alike: dict[str, list[str]] = {}  # by what is fixed, what is searched and how often
        for arm in self.arms:
            alike.setdefault(self._space_line(arm), []).append(arm.name)
        lines = [f"{', '.join(arms)}: {space}" for space, arms in alike.items()]
        lines.append(f"reference controls of the search: {', '.join(references)}")
        if self.extend_rates:
            lines.append("a winner at an end of its learning rates gets one more rate, the same rule for every arm")
        seeds = {arm.seeds: [one.name for one in self.arms if one.seeds == arm.seeds] for arm in self.arms if arm.seeds}
        for which, arms in seeds.items():
            of = "the winner of every group" if len(seeds) == 1 else f"the winners of {', '.join(arms)}"
            lines.append(f"{of} {again} {', '.join(map(str, which))}, on validation text that chose nothing")
        lines += self._asha_lines()
        steps = sum(load.trials * load.steps for load in self.workloads())
        lines.append(f"at most {self.trials} trials, about {steps:,.0f} trial-steps")
        return lines

    def _space_line(self, arm: SearchArm) -> str:
        """Settings that an arm fixes (without a teacher.kind that is its name), values that it searches, and trials."""
        of_name = ("teacher.kind", arm.name)
        fixed = [f"{key} {shown(value)}" for key, value in arm.changes.items() if (key, value) != of_name]
        varied = [f"{key} {_listed(parameter.grid())}" for key, parameter in arm.space.items()]
        which = f"{self.samples(arm)} of {arm.size} settings at each depth by {self.search}"
        return f"{'; '.join([*fixed, *varied])}; {which}"

    def _asha_lines(self) -> list[str]:
        if self.asha is None:
            return ["all trials run to their end"]
        steps, can = self.steps_of_search, []
        for group in self.groups[: len(self.arms)]:
            ends, size = group.schedule_ends, group.arm.size
            judged = self.asha.judged(ends, steps) * size // len(ends)
            can.append(f"{judged} of {size} settings of {group.arm.name}")
        rungs = ", ".join(map(str, self.asha.rungs(steps)))
        return [
            f"ASHA judges within a group at step {rungs}, a trial only after its own schedule has ended: "
            f"{', '.join(can)} can be judged, the others run to their end"
        ]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for run.json."""
        asha = self.asha and {"grace_period": self.asha.grace_period, "reduction_factor": self.asha.reduction_factor}
        return {
            "kind": self.kind,
            "study": self.study,
            "question": self.question,
            "base": to_dict(self.base),
            "layers": list(self.layers),
            "arms": [arm.name for arm in self.arms],
            "groups": [arm.to_dict() for arm in self.arms],
            "search": self.search,
            "num_samples": self.num_samples,
            "search_seed": self.search_seed,
            "confirm_seeds": list(dict.fromkeys(seed for arm in self.arms for seed in arm.seeds)),
            "asha": asha,
            "search_steps": self.search_steps,
            "extend_rates": self.extend_rates,
            "margin": self.margin,
            "registered": self.registered,
        }

    @classmethod
    def from_dict(cls, tree: Mapping[str, Any]) -> "Sweep":
        """The inverse of `to_dict`."""
        plain = ("study", "question", "search", "num_samples", "search_seed", "search_steps", "extend_rates")
        return cls(
            **{key: tree[key] for key in (*plain, "margin", "registered")},
            base=from_dict(tree["base"]),
            layers=tuple(tree["layers"]),
            arms=tuple(map(SearchArm.from_dict, tree["groups"])),
            asha=AshaSpec(**tree["asha"]) if tree["asha"] else None,
        )


def expected_steps(asha: AshaSpec, schedule_ends: list[int], steps: int) -> float:
    """Mean steps of a searched trial, if at each rung only 1 of reduction_factor judged trials goes on."""
    rungs = asha.rungs(steps)
    total = 0.0
    for end in schedule_ends:
        going, done, spent = 1.0, 0, 0.0
        for rung in (rung for rung in rungs if rung >= end):
            spent += going * (rung - done)
            going, done = going / asha.reduction_factor, rung
        total += spent + going * (steps - done)
    return total / len(schedule_ends)


def _listed(values: list[Any]) -> str:
    """All values, or the first two and the last if there are more than six."""
    words = list(map(shown, values))
    return ", ".join(words if len(words) <= 6 else [*words[:2], "...", words[-1]])


def _check_search(sweep: Sweep) -> None:
    if sweep.base.teacher.schedule != "none":
        raise InputError(f"the base config has schedule {sweep.base.teacher.schedule}: a sweep's base is its control.")
    if not 0 <= sweep.search_seed <= LARGEST_SEARCH_SEED:
        raise InputError(f"search_seed is {sweep.search_seed}: give a seed from 0 to {LARGEST_SEARCH_SEED}.")
    if sweep.num_samples < 1:
        raise InputError(f"num_samples is {sweep.num_samples}: give at least 1 trial for each group.")
    if sweep.search_steps is not None and not 1 <= sweep.search_steps <= sweep.base.loop.steps:
        raise InputError(
            f"search_steps is {sweep.search_steps} but a confirmation has {sweep.base.loop.steps} steps: "
            "give at most that."
        )
    if not sweep.margin >= 0:
        raise InputError(f"margin is {sweep.margin}: give a number of nats per token of at least 0.")


def _check_arms(sweep: Sweep) -> None:
    """Raise InputError unless the control is first, names differ, and each value of a space makes a valid trial."""
    if not sweep.arms or sweep.arms[0].has_teacher:
        raise InputError("the first arm of a search is its control, which has no teacher.")
    known = [slug(arm.name) for arm in sweep.arms]
    if twice := sorted({name for name in known if known.count(name) > 1}):
        raise InputError(f"two arms are called {twice[0]}: give each arm once, under a name of its own.")
    for arm in sweep.arms:
        weights = arm.space["teacher.min_weight"].grid() if "teacher.min_weight" in arm.space else [0]
        if not 0 <= min(weights) <= max(weights) <= 1:
            raise InputError(
                f"the range of the minimum weight is {min(weights)}..{max(weights)}: give weights between 0 and 1."
            )
    for group in sweep.groups[: len(sweep.arms)]:
        dearest = group.dearest
        for key, parameter in group.arm.space.items():
            for value in parameter.grid():
                group.search_plan({**dearest, key: value})


def _check_seeds(sweep: Sweep) -> None:
    for arm in sweep.arms:
        if len({sweep.base.seed, *arm.seeds}) != 1 + len(arm.seeds):
            raise InputError(
                f"the search uses seed {sweep.base.seed} and confirmation {list(arm.seeds)}: "
                "give different seeds, for a setting is not confirmed by the seed that chose it."
            )
    control = sweep.arms[0]
    for arm in sweep.arms[1:]:
        if not set(arm.seeds) <= set(control.seeds):
            raise InputError(f"arm {arm.name} has seeds that the control lacks: a gain is taken within a seed.")
