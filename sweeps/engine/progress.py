"""Show the progress of a run: a bar for each running trial, and a line for each that has ended."""

from collections.abc import Callable
from typing import Any

from ray import tune
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from trainable import names
from trainable.plan import TrialPlan


class LiveProgress(tune.Callback):  # type: ignore[misc]
    """Progress bars as callbacks of Tune; on a plain stream only first reports and ended trials are printed."""

    def __init__(self, console: Console, trials: int, ended: int, cannot_work: Callable[[], bool]):
        self._console = console
        self._cannot_work = cannot_work  # whether trials fail for what surrounds them
        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        )
        self._all = self._bars.add_task("trials", total=trials, completed=ended, note="")
        self._tasks: dict[str, TaskID] = {}
        self._reported = False

    def __enter__(self) -> "LiveProgress":
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its callbacks; a terminal is not part of a run's state."""
        return {}

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **_: Any) -> None:
        """Move the trial's bar."""
        plan = TrialPlan.from_dict(trial.config["plan"])
        if plan.name not in self._tasks:
            self._tasks[plan.name] = self._bars.add_task(plan.name, total=plan.config.loop.steps, note="")
        self._bars.update(self._tasks[plan.name], completed=result[names.STEP], note=_note(plan, result))
        if not self._reported and not self._console.is_terminal:
            self._console.print(f"first report: {plan.name} at step {result[names.STEP]}, {_note(plan, result)}")
        self._reported = True

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """Replace the bar by a line."""
        plan = TrialPlan.from_dict(trial.config["plan"])
        result = trial.last_result or {}
        step, steps = result.get(names.STEP, 0), plan.config.loop.steps
        self._end(plan, f"step {step:>4}/{steps}  {_note(plan, result)}{'' if step == steps else '  ended early'}")

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """Replace the bar by a line that says so; the sweep goes on."""
        if not self._cannot_work():
            self._end(TrialPlan.from_dict(trial.config["plan"]), "failed")

    def _end(self, plan: TrialPlan, text: str) -> None:
        task = self._tasks.pop(plan.name, None)
        if task is not None:
            self._bars.remove_task(task)
        self._bars.advance(self._all)
        self._console.print(f"  {plan.name:<34} {text}", highlight=False)


def _note(plan: TrialPlan, result: dict[str, Any]) -> str:
    if names.EVAL_LOSS not in result:
        return "no report"
    loss = f"loss {result[names.EVAL_LOSS]:.4f}"
    return loss if plan.role == names.CONTROL else f"{loss}  gain {result[names.GAIN]:+.4f}"
