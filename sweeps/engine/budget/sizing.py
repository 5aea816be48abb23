"""--minutes: find the largest run that fits in the given minutes on this machine; steps first, then trials of a search.

The chosen sizes are used like a user's own options: the spec of the run has them, so a resumed run has the same sizes.
"""

import math
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from typing import Generic, NamedTuple

from sweeps.engine.budget.calibration import CannotMeasure, Rates, calibrate, check_measurable
from sweeps.engine.budget.data_size import DataSize, data_size
from sweeps.engine.budget.prediction import Prediction, duration, predict
from sweeps.engine.options import AnyOptions, machine_of, sampled, with_size
from sweeps.engine.settings import GROWS, evaluations_of
from sweeps.engine.specs.spec import Spec
from trainable.config import TrialConfig, flatten
from trainable.errors import InputError, require
from trainable.plan import data_key

LEAST_SHARE = 1 / 4  # of the study's own steps: a shorter run answers nothing
LEAST_SAMPLES, MOST_SAMPLES = 2, 10_000


class Sized(NamedTuple):
    """A run that fits in the time asked for."""

    spec: Spec
    prediction: Prediction
    said: str  # line of the plan: what was chosen


def sized(study: Callable[[AnyOptions], Spec], options: AnyOptions, spec: Spec) -> Sized:
    """Return the largest run of the study that fits in --minutes; spec: the study's run at its own size.

    Raises InputError if the study decides the steps itself, if no run fits, or if nothing can be measured.
    """
    begun, machine = time.perf_counter(), machine_of(options)
    minutes, steps = options.minutes or 0.0, spec.base.loop.steps
    longer = study(with_size(options, 2 * steps, None))
    require(
        {load.config.loop.steps for load in longer.workloads()} == {2 * steps}
        and set(map(data_key, longer.configs())) == set(map(data_key, spec.configs())),
        f"--minutes would choose the steps of a trial, which study {spec.study} decides itself: give --steps.",
    )
    try:
        check_measurable(machine)
        size = data_size(spec, {})
        rates = calibrate(spec, machine, size)
    except CannotMeasure as error:
        raise InputError(f"--minutes cannot tell how large a run fits, for {error}: give --steps.") from error
    return Room(study, options, spec, rates, size).fill(60 * minutes - (time.perf_counter() - begun), minutes)


class Room(Generic[AnyOptions]):
    """Possible sizes of a run, and the predicted time of each."""

    def __init__(
        self, study: Callable[[AnyOptions], Spec], options: AnyOptions, spec: Spec, rates: Rates, size: DataSize
    ):
        self._study, self._options = study, options
        self._own, self._rates, self._size = spec, rates, size
        self._own_samples = sampled(options, spec)

    def fill(self, seconds: float, minutes: float) -> Sized:
        """Return the largest run that takes at most `seconds` (left of `minutes`). Raises InputError if none does.

        Numbers of steps that the study refuses (shorter than its schedules) count as runs of no time, because it may
        accept larger numbers.
        """

        def time_of(count: int) -> float:
            return self._seconds(steps, count, no_run=math.inf)

        # 1 as many steps as fit, with the study's own number of trials
        every, samples = list(round_steps(self._own.base, self._size)), self._own_samples
        fitting = bisect_right(every, seconds, key=lambda steps: self._seconds(steps, samples, no_run=0.0))
        steps = every[max(0, fitting - 1)]

        # 2 fewer trials if even the fewest steps take too long; more if all steps fit, up to the size of the spaces
        if samples is not None and fitting in (0, len(every)):
            counts = range(LEAST_SAMPLES, samples) if fitting == 0 else range(samples, MOST_SAMPLES)
            taken = bisect_right(counts, seconds, key=time_of)
            samples = counts[taken - 1] if taken else min(samples, LEAST_SAMPLES) if fitting == 0 else samples
            if taken:  # the smallest number with this time: larger ones exceed the spaces
                samples = counts[bisect_left(counts, time_of(samples), key=time_of)]
        spec = self._study(with_size(self._options, steps, samples))
        prediction = predict(spec, self._rates, self._size)
        if prediction.seconds > seconds:
            least = math.ceil(minutes + (prediction.seconds - seconds) / 60)
            trials = "" if samples is None else f" and --num-samples {samples}"
            raise InputError(
                f"--minutes is {minutes:g} but {steps} steps{trials}, the least that study {spec.study} should have, "
                f"take about {duration(prediction.seconds)} here: give at least --minutes {least}, or a smaller model."
            )
        return Sized(spec, prediction, self._said(spec, steps, samples, minutes, is_whole=fitting == len(every)))

    def _seconds(self, steps: int, samples: int | None, no_run: float) -> float:
        """Predicted seconds of a run of this size; `no_run` if the study refuses the size."""
        try:
            return predict(self._study(with_size(self._options, steps, samples)), self._rates, self._size).seconds
        except InputError:
            return no_run

    def _said(self, spec: Spec, steps: int, samples: int | None, minutes: float, *, is_whole: bool) -> str:
        was, now = flatten(self._own.base), flatten(spec.base)
        changed = [f"{key}={now[key]}" for key in GROWS if now[key] != was[key]]
        words = [f"--minutes {minutes:g} chose: --steps {steps}"]
        words += [] if samples is None else [f"--num-samples {samples}"]
        words += [f"--set {' '.join(changed)}"] if changed else []
        return " ".join(words) + ("; with more steps it would read the training rows twice" if is_whole else "")


def round_steps(base: TrialConfig, size: DataSize) -> Iterator[int]:
    """Numbers of steps that a run may have, ascending: multiples of the study's evaluations, by round factors.

    They go from a quarter of the study's own steps up to one epoch of the training rows, or to its own steps if these
    are more.
    """
    loop, evaluations = base.loop, evaluations_of(base.loop)
    epoch = min(train for train, _ in size.blocks.values()) // (loop.batch_blocks * loop.accumulation)
    every = max(1, math.ceil(LEAST_SHARE * loop.steps / evaluations))
    while True:
        yield evaluations * every
        every += 10 ** max(0, len(str(every)) - 2)  # only the first two digits are not 0
        if evaluations * every > max(epoch, loop.steps):
            return
