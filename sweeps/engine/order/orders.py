"""Searcher and scheduler for each kind of spec: the order of its trials, and which of them are stopped early."""

from collections.abc import Callable, Mapping
from typing import Final

from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from sweeps.engine.folder import RunFolder
from sweeps.engine.order.asha import GroupAsha
from sweeps.engine.order.search import SearchOrder
from sweeps.engine.order.trial_order import ListOrder, TrialOrder
from sweeps.engine.specs.comparison import Comparison
from sweeps.engine.specs.search import Sweep
from sweeps.engine.specs.spec import Spec

ORDERS: Final[dict[str, Callable[..., TrialOrder]]] = {Sweep.kind: SearchOrder, Comparison.kind: ListOrder}


def order_of(
    spec: Spec, folder: RunFolder, checksums: Mapping[str, str], most_in_flight: Callable[[], int]
) -> tuple[TrialOrder, TrialScheduler]:
    """Return the searcher that orders a run's trials, and the scheduler that stops some early; both read the ledgers.

    most_in_flight: largest number of trials that Tune is given at once, a trial that waits for a slot included.
    """
    asha = GroupAsha(spec.asha, spec.steps_of_search, folder.files) if spec.asha is not None else None
    stopped = asha.has_stopped if asha is not None else frozenset[str]().__contains__
    return ORDERS[spec.kind](spec, folder, checksums, stopped, most_in_flight), asha or FIFOScheduler()
