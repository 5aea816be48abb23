"""A run's spec: what it is to do, as data. Whatever an engine asks of a search or a comparison, it asks through this.

Another kind of run is a class with these members, a line in `KINDS`, and an order of its trials
(sweeps/engine/order/orders.py). Specs know neither Ray nor torch.
"""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Protocol

from sweeps.engine.specs.comparison import Comparison
from sweeps.engine.specs.search import AshaSpec, Sweep
from sweeps.engine.specs.workload import Workload
from trainable.config import TrialConfig


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
    def trials(self) -> int:
        """How many trials there are at most."""

    @property
    def depths(self) -> tuple[int, ...]:
        """Numbers of layers that it trains, in its order."""

    def configs(self) -> list[TrialConfig]:
        """Settings whose data the trials read; trials that differ in the schedule alone share one."""

    def largest(self) -> list[TrialConfig]:
        """Settings among which the largest model is."""

    def workloads(self) -> list[Workload]:
        """Its trials in the order in which they start, as far as they differ in what they cost."""

    def trial_names(self) -> Iterator[str]:
        """Names of all trials that the run can have; a search runs only some of them."""

    def decides(self, key: str) -> bool:
        """Whether it sets the dotted key itself for its trials, so that the user's value would change nothing."""

    def plan_lines(self) -> list[str]:
        """What will run and what it costs at most, for the user."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for run.json."""


KINDS: dict[str, type[Sweep] | type[Comparison]] = {spec.kind: spec for spec in (Sweep, Comparison)}


def spec_from_dict(tree: Mapping[str, Any]) -> Spec:
    """The inverse of any spec's `to_dict`. Raises InputError, KeyError or TypeError for what is none."""
    return KINDS[tree.get("kind", Sweep.kind)].from_dict(tree)  # the oldest runs are searches, and do not say so
