"""Amount of computation in a run: numbers of trials by their settings, and the expected steps of each."""

from dataclasses import dataclass

from trainable.config import TrialConfig


@dataclass(frozen=True, kw_only=True)
class Workload:
    """Trials of equal cost: they differ in nothing that changes the cost of a step."""

    config: TrialConfig
    trials: float  # number of trials; an expected number where a search chooses
    steps: float  # optimizer steps that each is expected to run: fewer than loop.steps where ASHA stops some
