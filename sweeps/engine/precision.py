"""loop.precision=auto of a run: chosen once, by the driver, before anything is measured, prepared or started."""

from typing import NamedTuple

from sweeps.engine.specs.spec import Spec, says_auto, with_precision
from trainable.record.run_record import RunRecord


class Settled(NamedTuple):
    """A spec that leaves no precision to a machine, and why auto took the one that it has; None: auto had no say."""

    spec: Spec
    because: str | None


def settled(spec: Spec) -> Settled:
    """The spec with the driver's best precision wherever it says auto.

    The driver chooses for all workers, also for those of a cluster of other machines: trials that are compared have one
    precision, and plan and predicted time need it before a cluster is joined. Where its workers are better at another,
    `--set loop.precision` says so.
    """
    if not says_auto(spec):
        return Settled(spec, None)
    from trainable.student.precision import best_precision  # imports PyTorch

    best = best_precision(spec.base.loop.device)
    return Settled(with_precision(spec, best.precision), best.because)


def kept_precision_lines(begun: Spec, record: RunRecord, asked: Spec | None = None) -> list[str]:
    """Line of the plan for a run that goes on in a precision which auto would not take here; none for other runs.

    asked: what the options describe again, where they do.
    """
    by_auto = record.precision_from is not None or (asked is not None and says_auto(asked))
    if record.complete or not by_auto:
        return []
    from trainable.student.precision import best_precision  # imports PyTorch

    kept, best = begun.base.loop.precision, best_precision(begun.base.loop.device)
    if best.precision == kept:
        return []
    return [
        f"precision: the run goes on in {kept}, as it was begun, though auto would take {best.precision} on this "
        f"machine, for {best.because}"
    ]
