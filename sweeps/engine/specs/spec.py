"""A run's spec: what it is to do, as data. Whatever an engine asks of a search or a comparison, it asks through this.

Another kind of run is a class with these members, a line in `KINDS`, and an order of its trials
(sweeps/engine/order/orders.py). Specs know neither Ray nor torch.
"""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Protocol

from sweeps.engine.specs.asha_spec import AshaSpec
from sweeps.engine.specs.comparison import Comparison
from sweeps.engine.specs.search import Sweep
from sweeps.engine.specs.workload import Workload
from trainable.config import TrialConfig
from trainable.errors import InputError


class Spec(Protocol):
    """What an engine asks of a run."""

    kind: ClassVar[str]  # in run.json, and of the order of its trials

    @property
    def study(self) -> str:
        """Folder of its runs under results/."""

    @property
    def question(self) -> str:
        """What it is to answer: heads the plan and the summary."""

    @property
    def base(self) -> TrialConfig:
        """What its trials share."""

    @property
    def asha(self) -> AshaSpec | None:
        """How trials that fall behind are stopped; None: all run to their end."""

    @property
    def steps_of_search(self) -> int:
        """Optimizer steps of a trial that may be stopped early."""

    @property
    def registered(self) -> bool:
        """Whether run.json is to name the commit that has its plan and rules."""

    @property
    def trials(self) -> int:
        """How many trials there are at most."""

    @property
    def depths(self) -> tuple[int, ...]:
        """Numbers of layers that it trains, in its order."""

    def configs(self) -> list[TrialConfig]:
        """Settings whose data the trials read; trials that differ in the schedule alone share one."""

    def largest(self) -> list[TrialConfig]:
        """Settings among which the largest model is."""

    def trial_names(self) -> Iterator[str]:
        """Names of all trials that the run can have; a search runs only some of them."""

    def decides(self, key: str) -> bool:
        """Whether it sets the dotted key itself for its trials, so that the user's value would change nothing."""

    def workloads(self) -> list[Workload]:
        """How many trials of which shape and length it is expected to train, for predictions of its time."""

    def plan_lines(self) -> list[str]:
        """Lines that say what will run; the last one says how much, and is shown first."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for run.json."""


KINDS: dict[str, type[Sweep] | type[Comparison]] = {spec.kind: spec for spec in (Sweep, Comparison)}


def spec_from_dict(tree: Mapping[str, Any]) -> Spec:
    """The inverse of any spec's `to_dict`. Raises InputError, KeyError or TypeError for what is none."""
    kind = tree.get("kind", "search")  # the oldest runs do not say
    if kind not in KINDS:
        raise InputError(f"its kind is {kind!r}, and this version knows {', '.join(KINDS)}")
    return KINDS[kind].from_dict(tree)


def with_precision(spec: Spec, precision: str) -> Spec:
    """The spec with `precision` wherever it says loop.precision auto: for all trials, for an arm, for one trial."""
    return spec_from_dict(_without_auto(spec.to_dict(), precision))


def says_auto(spec: Spec) -> bool:
    """Whether a spec leaves the precision of any trial to the machine."""
    tree = spec.to_dict()
    return bool(_without_auto(tree, "float32") != tree)


def _without_auto(tree: Any, precision: str) -> Any:
    """Plain values with `precision` for each auto under a key of loop.precision."""
    if isinstance(tree, Mapping):
        is_auto = {key: key in ("precision", "loop.precision") and value == "auto" for key, value in tree.items()}
        return {key: precision if is_auto[key] else _without_auto(value, precision) for key, value in tree.items()}
    return [_without_auto(one, precision) for one in tree] if isinstance(tree, list) else tree
