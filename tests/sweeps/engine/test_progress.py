"""Progress while trials run: a bar with the time left on a terminal, a line now and then in a file."""

import io
from dataclasses import dataclass, field
from typing import Any

import pytest
from rich.console import Console
from small_study import SmallOptions, small_study

from sweeps.engine.progress import EVERY, FIRST, LiveProgress
from trainable import names

PLANS = small_study(SmallOptions(seeds=(0,))).plans  # a control and two guided trials of 120 steps
WHOLE = 3 * 120.0


class Clock:
    """A clock that a test moves by hand."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Trial:
    """The attributes of a trial of Tune that the progress display reads."""

    config: dict[str, Any]
    status: str = "RUNNING"
    last_result: dict[str, Any] = field(default_factory=dict)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def trials() -> list[Trial]:
    return [Trial({"plan": plan.to_dict()}) for plan in PLANS]


def shown_on(clock: Clock, terminal: bool = False, **known: Any) -> tuple[LiveProgress, io.StringIO]:
    stream = io.StringIO()
    console = Console(file=stream, width=80, force_terminal=terminal, get_time=clock, soft_wrap=True)
    given = {"trials": 3, "ended": 0, "steps": WHOLE, "reached": {}, "cannot_work": lambda: False}
    return LiveProgress(console, **given | known), stream


def report(shown: LiveProgress, trials: list[Trial], number: int, step: int) -> None:
    """Pass a trial's report at a step to the progress display."""
    trial = trials[number]
    trial.last_result = {names.STEP: step, names.EVAL_LOSS: 5.0 - step / 100, names.GAIN: 0.25}
    shown.on_trial_result(step, trials, trial, trial.last_result)


def test_a_file_gets_the_first_report_the_end_of_each_trial_and_the_time_left_soon_and_then_once_a_minute(
    clock: Clock, trials: list[Trial]
) -> None:
    shown, stream = shown_on(clock)
    trials[2].status = "PENDING"
    with shown:
        report(shown, trials, 0, 0)
        for number, step in [(0, 20), (0, 40), (0, 60), (0, 80), (0, 100), (0, 120), (1, 20)]:  # 2 steps a second
            clock.now += 10
            report(shown, trials, number, step)
        shown.on_trial_complete(120, trials, trials[0])
    assert (FIRST, EVERY) == (10, 60)
    assert stream.getvalue().splitlines() == [
        "first report: none-L1-s0 at step 0, loss 5.0000",
        "0 of 3 trials ended, 2 running, 2.0 steps/s, about 2.8 min left",
        "0 of 3 trials ended, 2 running, 2.0 steps/s, about 1.8 min left",
        "  none-L1-s0                         120/120  loss 3.8000",
    ]


def test_a_bar_on_a_terminal_shows_trials_rate_and_time_left(clock: Clock, trials: list[Trial]) -> None:
    shown, stream = shown_on(clock, terminal=True)
    with shown:
        for step in (0, 60, 120):
            clock.now += 10
            report(shown, trials, 1, step)
        shown._bar.refresh()
    bar = [line for line in stream.getvalue().replace("\x1b", "\n").splitlines() if "of 3 trials" in line][-1]
    assert "0 of 3 trials" in bar
    assert "3 running, 6.0 steps/s" in stream.getvalue() and "0:00:40" in stream.getvalue()
    assert "first report" not in stream.getvalue()


def test_a_resumed_run_counts_trials_and_steps_of_earlier_drivers(clock: Clock, trials: list[Trial]) -> None:
    shown, stream = shown_on(clock, ended=1, reached={PLANS[0].name: 120, PLANS[1].name: 60})
    with shown:
        report(shown, trials, 1, 60)
        clock.now += 60
        report(shown, trials, 1, 90)
    assert stream.getvalue().splitlines()[-1] == "1 of 3 trials ended, 3 running, 0.5 steps/s, about 5 min left"


def test_a_trial_that_fails_or_stops_early_is_reported_in_at_most_80_columns(clock: Clock, trials: list[Trial]) -> None:
    shown, stream = shown_on(clock)
    with shown:
        report(shown, trials, 1, 20)
        shown.on_trial_complete(20, trials, trials[1])
        shown.on_trial_error(20, trials, trials[2])
    lines = stream.getvalue().splitlines()
    assert lines[1].split() == [PLANS[1].name, "20/120", "loss", "4.8000", "gain", "+0.2500", "ended"]
    assert lines[2].split() == [PLANS[2].name, "failed"]
    assert max(map(len, lines)) <= 80
