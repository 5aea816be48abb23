"""From rates to minutes: how long a run takes on this machine, its start, preparation and end included."""

import heapq
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sweeps.engine.budget.calibration import Rates
from sweeps.engine.budget.data_size import DataSize
from sweeps.engine.budget.teachers import teachers_seconds
from sweeps.engine.specs.spec import Spec
from sweeps.engine.specs.workload import Workload
from trainable.config import TrialConfig
from trainable.plan import data_key
from trainable.teacher.schedules import teacher_weight

# Measured on 2 cores, in units of the processor time that a trial's imports take. START: from the start until the data
# are prepared; END: from the last trial to the end (tables, pictures, page). The start of a trial's process takes 1.
START, END = 1.9, 1.0
REPORT = 0.02  # seconds of a report: ledger, TensorBoard, Tune
BETWEEN_TRIALS = 0.1  # seconds between two trials: the searcher, Tune


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """Predicted time of a run on this machine."""

    seconds: float
    slots: int
    plain: float  # mean seconds of a plain optimizer step
    guided: float | None  # mean seconds of a guided step; None if no step is guided
    teachers: float = 0.0  # part of `seconds` in which teachers are prepared, before the first trial

    def line(self, left: bool = False) -> str:
        """Line of the plan; left: whether a part of the run is done already."""
        at_once = f"{self.slots} trials" if self.slots > 1 else "1 trial"
        guided = f", {_short(self.guided)} a guided one" if self.guided is not None else ""
        rest = " for what is left" if left else ""
        teachers = f"; {duration(self.teachers)} of it for the teachers" if self.teachers >= 1 else ""
        return (
            f"about {duration(self.seconds)}{rest} on this machine ({at_once} at a time; "
            f"{_short(self.plain)} a plain step{guided}{teachers})"
        )


def predict(spec: Spec, rates: Rates, size: DataSize, done: float = 0.0) -> Prediction:
    """Predict the time of a run; done: the share of its steps that earlier drivers did."""
    loads = list(spec.workloads())
    trials = [seconds for load in loads for seconds in trials_of(load, trial_seconds(load, rates, size))]
    warm_up = sum(rate.warm_up for rate in rates.of_shape.values()) if rates.reused else 0.0
    processes = rates.imports * (1 if rates.reused else 0)
    teachers = teachers_seconds(spec, rates, size)
    seconds = (1 - done) * makespan(trials, rates.slots) + warm_up + processes
    return Prediction(
        seconds=(START + END) * rates.imports + size.seconds + teachers + seconds,
        slots=rates.slots,
        plain=_mean_step(loads, rates, guided=False) or 0.0,
        guided=_mean_step(loads, rates, guided=True),
        teachers=teachers,
    )


def trial_seconds(load: Workload, rates: Rates, size: DataSize) -> float:
    """Seconds of one trial of a workload: start, steps, evaluations, reports, checkpoints."""
    config, plain = load.config, rates.of(load.config, guided=False)
    loop, guided = config.loop, _steps(load, guided=True)
    _, eval_blocks = size.blocks[data_key(config)]
    share = load.steps / loop.steps
    reports = 1 + share * math.ceil(loop.steps / loop.eval_every)
    seconds = BETWEEN_TRIALS + plain.start + _steps(load, guided=False) * plain.step
    seconds += reports * (REPORT + eval_blocks * plain.evaluation)
    seconds += share * math.ceil(loop.steps / loop.checkpoint_every) * plain.checkpoint
    if guided:
        seconds += guided * rates.of(config, guided=True).step
    return seconds if rates.reused else seconds + rates.imports + plain.warm_up


def guided_steps(config: TrialConfig) -> int:
    """Number of guided steps of a trial."""
    teacher = config.teacher
    if teacher.schedule == "none":
        return 0
    if teacher.min_weight > 0:
        return config.loop.steps
    weights = (teacher_weight(t, teacher.schedule, teacher.steps, 0.0, teacher.tau) for t in range(teacher.steps))
    return sum(weight > 0 for weight in weights)


def trials_of(load: Workload, seconds: float) -> Iterator[float]:
    """Seconds of each trial of a workload; a fraction of a trial counts as a shorter one."""
    whole = int(load.trials)
    yield from [seconds] * whole
    if (rest := load.trials - whole) > 1e-9:
        yield rest * seconds


def makespan(trials: Sequence[float], slots: int) -> float:
    """Seconds until the last trial has ended, if each begins in turn as soon as a slot is free."""
    free = [0.0] * slots
    for seconds in trials:
        heapq.heapreplace(free, free[0] + seconds)
    return max(free)


def duration(seconds: float) -> str:
    """A time as text in a suitable unit, such as 12 min or 3.5 hours."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.2g} min" if seconds < 600 else f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} hours" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"


def _steps(load: Workload, guided: bool) -> float:
    """Expected number of guided, or of plain, steps of a trial; guided steps come first."""
    spoken = min(load.steps, guided_steps(load.config))
    return spoken if guided else load.steps - spoken


def _mean_step(loads: Sequence[Workload], rates: Rates, guided: bool) -> float | None:
    """Mean seconds of all plain or all guided steps of a run; None where there are none."""
    steps = [(load.trials * _steps(load, guided), load.config) for load in loads]
    total = sum(number for number, _ in steps)
    return sum(number * rates.of(config, guided).step for number, config in steps if number) / total if total else None


def _short(seconds: float) -> str:
    return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
