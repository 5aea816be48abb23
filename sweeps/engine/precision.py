"""Resolve loop.precision=auto of a run: the driver chooses once, before it measures, prepares or starts anything."""

from typing import NamedTuple

from sweeps.engine.specs.spec import Spec, says_auto, with_precision
from trainable.record.run_record import RunRecord


class Settled(NamedTuple):
    """A spec in which no precision is auto, and the reason for auto's choice; None: auto did not choose."""

    spec: Spec
    because: str | None


def settled(spec: Spec) -> Settled:
    """Return the spec with the driver's best precision in place of each auto.

    The driver chooses for all workers, also for those on other machines of a cluster: compared trials must have one
    precision, and the plan and the predicted time need it before a cluster is joined. If another precision is better on
    the workers, set it with `--set loop.precision`.
    """
    if not says_auto(spec):
        return Settled(spec, None)
    from trainable.student.precision import best_precision  # imports PyTorch

    best = best_precision(spec.base.loop.device)
    return Settled(with_precision(spec, best.precision), best.because)


def kept_precision_lines(begun: Spec, record: RunRecord, asked: Spec | None = None) -> list[str]:
    """Line for the plan of a run that goes on in a precision which auto would not choose here; else no line.

    asked: the spec that the options describe, if the run goes on by --run.
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
