"""A run's spec as data: the members that the engine uses, the same for a search and a comparison.

To add a kind of run, add a class with these members, an entry in `KINDS`, and an order of its trials
(sweeps/engine/order/orders.py). Specs import neither Ray nor torch.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

from sweeps.engine.specs.asha_spec import AshaSpec
from sweeps.engine.specs.comparison import Comparison
from sweeps.engine.specs.search import Sweep
from sweeps.engine.specs.workload import Workload
from trainable.config import TrialConfig
from trainable.errors import InputError


class Spec(Protocol):
    """The members of a spec that the engine uses."""

    kind: ClassVar[str]  # name of the kind in run.json, KINDS and order/orders.py

    @property
    def study(self) -> str:
        """Name of the study, which is the folder of its runs under results/."""

    @property
    def question(self) -> str:
        """Question that the run is to answer; heads the plan and the summary."""

    @property
    def base(self) -> TrialConfig:
        """Settings that the trials share."""

    @property
    def asha(self) -> AshaSpec | None:
        """Early stopping of trials that fall behind; None: all trials run to their end."""

    @property
    def steps_of_search(self) -> int:
        """Optimizer steps of a searched trial, which may be stopped early."""

    @property
    def registered(self) -> bool:
        """Whether run.json is to name the commit that has the plan and the rules of the run."""

    @property
    def trials(self) -> int:
        """Largest number of trials."""

    @property
    def depths(self) -> tuple[int, ...]:
        """Numbers of layers of the models, in the order of the run."""

    def configs(self) -> list[TrialConfig]:
        """Configs whose data and tables the trials read; trials that differ only in the schedule may share one."""

    def largest(self) -> list[TrialConfig]:
        """Configs among which is that of the largest model."""

    def can_have(self, trial: str) -> bool:
        """Whether a trial of the run can have this name; a search runs only some of the trials that it can have."""

    def decides(self, key: str) -> bool:
        """Whether the study itself sets the dotted key for its trials, so that a user's value would change nothing."""

    def workloads(self) -> list[Workload]:
        """Expected numbers of trials by shape and length, for predictions of the run's time."""

    def plan_lines(self) -> list[str]:
        """Lines of the plan: what will run, and last, to be shown first, what it costs at most."""

    def to_dict(self) -> dict[str, Any]:
        """The spec as plain values, for run.json."""


KINDS: dict[str, type[Sweep] | type[Comparison]] = {spec.kind: spec for spec in (Sweep, Comparison)}


def spec_from_dict(tree: Mapping[str, Any]) -> Spec:
    """Build a spec from plain values (inverse of `to_dict`). Raises InputError, KeyError or TypeError for others."""
    kind = tree.get("kind", "search")  # the oldest runs lack it
    if kind not in KINDS:
        raise InputError(f"its kind is {kind!r}, and this version knows {', '.join(KINDS)}")
    return KINDS[kind].from_dict(tree)


def with_precision(spec: Spec, precision: str) -> Spec:
    """Return the spec with `precision` for each loop.precision auto: of all trials, of an arm, of one trial."""
    return spec_from_dict(_without_auto(spec.to_dict(), precision))


def says_auto(spec: Spec) -> bool:
    """Whether the precision of any trial of a spec is auto."""
    tree = spec.to_dict()
    return bool(_without_auto(tree, "float32") != tree)


def _without_auto(tree: Any, precision: str) -> Any:
    """Plain values with `precision` in place of each auto under a key for loop.precision."""
    if isinstance(tree, Mapping):
        is_auto = {key: key in ("precision", "loop.precision") and value == "auto" for key, value in tree.items()}
        return {key: precision if is_auto[key] else _without_auto(value, precision) for key, value in tree.items()}
    return [_without_auto(one, precision) for one in tree] if isinstance(tree, list) else tree
