"""How much a run trains, for predictions of its time: how many trials of one shape, and how long each is."""

from dataclasses import dataclass

from trainable.config import TrialConfig


@dataclass(frozen=True, kw_only=True)
class Workload:
    """Trials that cost the same."""

    config: TrialConfig  # of one of them
    trials: float  # how many are expected
    steps: float  # optimizer steps that each is expected to take
