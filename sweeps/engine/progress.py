"""Show the progress of a run: one bar with the time left, and a line for each trial that has ended.

Where the output is no terminal, a plain line now and then takes the place of the bar.
"""

from collections.abc import Callable, Mapping
from typing import Any

from ray import tune
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from sweeps.engine.budget.prediction import duration
from trainable import names
from trainable.plan import TrialPlan
from trainable.record.lines import paragraph

MEMORY = 300.0  # seconds of reports from which the rate is taken
FIRST, EVERY = 10.0, 60.0  # seconds from the first report to the first line of progress, and between later lines


class LiveProgress(tune.Callback):  # type: ignore[misc]
    """The progress bar as callbacks of Tune.

    The time left is that of the optimizer steps that the run is expected to take, at the rate of the last minutes.
    """

    def __init__(
        self,
        console: Console,
        *,
        trials: int,
        ended: int,
        steps: float,
        reached: Mapping[str, int],
        cannot_work: Callable[[], bool],
    ):
        """trials, steps: those of the whole run. reached: {trial: last step that an earlier driver booked}."""
        self._console = console
        self._cannot_work = cannot_work  # whether trials fail for what surrounds them
        self._trials, self._ended, self._running = trials, ended, 0
        self._reached = dict(reached)
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[note]}", markup=False),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=console,
            transient=True,
            speed_estimate_period=MEMORY,
        )
        self._task = self._bar.add_task(
            self._counted(), total=max(1.0, steps), completed=sum(self._reached.values()), note=""
        )
        self._next = 0.0  # when the next line of progress is due
        self._reported = False

    def __enter__(self) -> "LiveProgress":
        if self._console.is_terminal:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._console.is_terminal:
            self._bar.stop()

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its callbacks; a terminal is not part of a run's state."""
        return {}

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **_: Any) -> None:
        """Move the bar."""
        plan, step = TrialPlan.from_dict(trial.config["plan"]), result[names.STEP]
        self._bar.advance(self._task, max(0, step - self._reached.get(plan.name, 0)))
        self._reached[plan.name] = max(step, self._reached.get(plan.name, 0))
        self._running = sum(one.status == "RUNNING" for one in trials)
        if not self._reported and not self._console.is_terminal:
            self._print(f"first report: {plan.name} at step {step}, {_note(plan, result)}")
            self._next = self._console.get_time() + FIRST
        self._reported = True
        self._show()

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """Print a line for the trial."""
        plan = TrialPlan.from_dict(trial.config["plan"])
        result = trial.last_result or {}
        step, steps = result.get(names.STEP, 0), plan.config.loop.steps
        self._end(plan, f"{step}/{steps}  {_note(plan, result)}{'' if step == steps else '  ended'}")

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """Print a line that says so; the sweep goes on."""
        if not self._cannot_work():
            self._end(TrialPlan.from_dict(trial.config["plan"]), "failed")

    def _end(self, plan: TrialPlan, text: str) -> None:
        self._ended += 1
        self._print(f"  {plan.name:<34} {text}")
        self._show()

    def _show(self) -> None:
        """Bring the bar up to date; where there is none, print its words now and then."""
        task = self._bar.tasks[0]
        rate = "" if task.speed is None else f", {task.speed:,.{0 if task.speed >= 10 else 1}f} steps/s"
        note = f"{self._running} running{rate}"
        self._bar.update(
            self._task,
            description=self._counted(),
            total=max(task.total or 0.0, task.completed),
            note=note,
        )
        if not self._console.is_terminal and self._console.get_time() >= self._next and self._reported:
            self._next = self._console.get_time() + EVERY
            left = "" if task.time_remaining is None else f", about {duration(task.time_remaining)} left"
            self._print(f"{self._counted()} ended, {note}{left}")

    def _counted(self) -> str:
        return f"{self._ended} of {self._trials} trials"

    def _print(self, text: str) -> None:
        indent = " " * (len(text) - len(text.lstrip()))
        self._console.print(paragraph(text.strip(), self._console.width, indent), highlight=False, soft_wrap=True)


def _note(plan: TrialPlan, result: dict[str, Any]) -> str:
    if names.EVAL_LOSS not in result:
        return "no report"
    loss = f"loss {result[names.EVAL_LOSS]:.4f}"
    return loss if plan.role == names.CONTROL else f"{loss}  gain {result[names.GAIN]:+.4f}"
