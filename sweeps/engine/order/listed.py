"""Which trial comes next in a comparison: the next of the list whose control has finished."""

from collections.abc import Callable, Mapping

from sweeps.engine.folder import RunFolder
from sweeps.engine.order.trial_order import PairedTrials
from sweeps.engine.specs.comparison import Comparison
from trainable.plan import TrialPlan


class ListedTrials(PairedTrials):
    """All trials of a comparison, in its order."""

    def __init__(
        self,
        comparison: Comparison,
        folder: RunFolder,
        checksums: Mapping[str, str],
        stopped: Callable[[str], bool],
        places: Callable[[], int],
    ):
        super().__init__(folder, checksums, stopped, places)
        self._plans = comparison.plans
        self.take_over()

    def _next(self) -> TrialPlan | None:
        waiting = (plan for plan in self._plans if plan.name not in self._records)
        return next((self._begin(plan) for plan in waiting if self._may_start(plan)), None)
