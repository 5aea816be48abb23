"""What a trial asks of the machines: workers, each with CPUs and GPUs."""

from collections.abc import Mapping
from dataclasses import dataclass

A_BYTE = {"memory": 1}  # Ray refuses a trial that asks for nothing


@dataclass(frozen=True, kw_only=True)
class Needs:
    """Of one trial; where it has several workers, they train one model together."""

    cpus: float = 1  # of a worker, and its threads
    gpus: float = 0  # of a worker; a fraction lets workers of several trials share one
    workers: int = 1

    @property
    def kinds(self) -> dict[str, float]:
        """{kind: how much a worker asks for}."""
        return {kind: wanted for kind, wanted in (("CPU", self.cpus), ("GPU", self.gpus)) if wanted > 0}

    @property
    def reserved(self) -> dict[str, float]:
        """What Tune sets aside for a trial; for several workers it is Ray Train that does."""
        return self.kinds if self.workers == 1 else dict(A_BYTE)

    @property
    def actors_reusable(self) -> bool:
        """Reused actors save imports; but they would keep CUDA state, and the workers of a stopped trial."""
        return self.gpus == 0 and self.workers == 1

    def slots(self, has: Mapping[str, float]) -> int:
        """How many trials a cluster that has so much of each kind can run at once; at least 1."""
        return max(1, min(int(has.get(kind, 0) / wanted) // self.workers for kind, wanted in self.kinds.items()))
