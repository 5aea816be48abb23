"""How much there is to compute in a run: how many trials of which settings, and how many steps of each are expected."""

from dataclasses import dataclass

from trainable.config import TrialConfig


@dataclass(frozen=True, kw_only=True)
class Workload:
    """Trials that cost the same: they differ in nothing that shapes a step."""

    config: TrialConfig
    trials: float  # how many of them; an expectation where a search chooses
    steps: float  # optimizer steps that each is expected to run: fewer than loop.steps where ASHA stops some
