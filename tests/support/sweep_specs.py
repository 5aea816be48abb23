"""A small sweep spec that tests vary, and a simulated Tune that runs it without Ray or training."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ray.tune.search import Searcher

from sweeps.engine.folder import RunFolder
from sweeps.engine.order.orders import ORDERS
from sweeps.engine.order.trial_order import TrialOrder
from sweeps.engine.specs.search import AshaSpec, Sweep
from sweeps.engine.specs.space import Choice, Range
from sweeps.engine.specs.spec import Spec
from trainable import names
from trainable.config import TrialConfig, override
from trainable.plan import TrialPlan
from trainable.record.files import write_json
from trainable.record.ledger import append_row
from trainable.record.run_record import CorpusFacts, RunRecord, TokenFacts, TokenizerFacts

STEPS, EVERY = 40, 10
Loss = Callable[[TrialPlan, int], float]  # of a trial at a step


def small_sweep(base: dict[str, Any] | None = None, **changes: Any) -> Sweep:
    """Two depths, 3 x 2 x 3 schedules, 4 guided trials a depth, one fresh seed, ASHA at step 20."""
    settings = {"loop.steps": STEPS, "loop.eval_every": EVERY, "loop.checkpoint_every": EVERY}
    return Sweep(
        **{
            "study": "study",
            "question": "Which?",
            "base": override(TrialConfig(), settings | (base or {})),
            "layers": (1, 2),
            "space": {
                "teacher.schedule": Choice(("linear", "exponential", "reciprocal")),
                "teacher.steps": Range(10, 20, 10),
                "teacher.min_weight": Range(0.0, 0.2, 0.1),
            },
            "num_samples": 4,
            "confirm_seeds": (1,),
            "asha": AshaSpec(grace_period=20),
            **changes,
        }
    )


def run_record(sweep: Spec) -> RunRecord:
    """run.json of a sweep that nobody has prepared anything for."""
    return RunRecord(
        study=sweep.study,
        run="run",
        spec=sweep.to_dict(),
        corpus=CorpusFacts(
            source="builtin",
            fingerprint="0" * 16,
            rows=9,
            train_rows=6,
            eval_rows=3,
            empty_rows=0,
            demonstration=True,
        ),
        tokenizer=TokenizerFacts(spec="train:4096", fingerprint="1" * 16, vocab_size=4096),
        tokens=TokenFacts(train_tokens=600, eval_tokens=300, train_blocks=6, eval_blocks=3),
        teacher=None,
        versions={},
        git_commit=None,
        hardware={},
    )


def new_run(folder: Path, sweep: Spec) -> RunFolder:
    """A run folder with run.json, as the driver makes it."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / names.RUN_FILE, run_record(sweep).to_dict())
    return RunFolder.open(folder)


def made_up_loss(plan: TrialPlan, step: int) -> float:
    """Falls with the steps; a teacher helps, most with 10 scheduling steps and a floor of 0.1."""
    teacher = plan.config.teacher
    loss = 8.0 - step / STEPS - plan.config.model.layers - plan.config.seed / 100
    if teacher.schedule == "none":
        return loss
    return loss - 0.1 - 0.1 * (teacher.schedule == "linear") + abs(teacher.min_weight - 0.1) + teacher.steps / 1000


def no_stop(name: str) -> bool:
    """ASHA that stops nobody."""
    return False


def three_in_flight() -> int:
    """Of a machine that runs two trials at once."""
    return 3


@dataclass(kw_only=True)
class SimulatedTune:
    """Asks the searcher for trials, `slots` at a time, runs them in turn, and can break off after any event."""

    folder: RunFolder
    sweep: Any  # a Sweep or a Comparison
    loss: Loss = made_up_loss
    slots: int = 2
    stopped: dict[str, int] = field(default_factory=dict)  # name -> step at which ASHA stops it
    failing: frozenset[str] = frozenset()  # names of trials that diverge at their second report
    given: list[TrialPlan] = field(default_factory=list)  # in the order they were given out
    started: dict[str, list[str]] = field(default_factory=dict)  # name -> trials finished when it was given out

    def run(self, events: int = 10**6) -> Any:
        """Run to the end, or until `events` reports and ends have happened: then the driver dies. Returns the order."""
        search = ORDERS[self.sweep.kind](self.sweep, self.folder, {}, self.stopped.__contains__, lambda: self.slots)
        running: dict[str, tuple[TrialPlan, int]] = {}  # Tune's id -> plan, next step
        number = 0
        while True:
            while len(running) < self.slots:
                number += 1
                config = search.suggest(f"id{number}")
                if config is None or config == Searcher.FINISHED:
                    break
                assert isinstance(config, dict)
                plan = TrialPlan.from_dict(config["plan"])
                self.given.append(plan)
                self.started[plan.name] = states(self.folder, names.FINISHED)
                running[f"id{number}"] = plan, self._first_step(plan)
            if not running:
                return search
            for trial_id in list(running):
                if events <= 0:
                    return search
                events -= 1
                plan, step = running[trial_id]
                if self._advance(search, trial_id, plan, step):
                    del running[trial_id]
                else:
                    running[trial_id] = plan, step + EVERY

    def _first_step(self, plan: TrialPlan) -> int:
        rows = self.folder.trial(plan.name) / names.LEDGER_FILE
        return rows.read_text().count("\n") * EVERY if rows.exists() else 0

    def _advance(self, search: TrialOrder, trial_id: str, plan: TrialPlan, step: int) -> bool:
        """One report, and the end where it comes; whether it came."""
        if plan.name in self.failing and step == EVERY:
            status = {"state": names.FAILED, "reason": "loss is nan"}
            write_json(self.folder.trial(plan.name) / names.STATUS_FILE, status)
            search.on_trial_complete(trial_id)
            return True
        loss = self.loss(plan, step)
        control = plan if plan.role == names.CONTROL else None
        gain = 0.0 if control else self._control_loss(plan, step) - loss
        report = {names.STEP: step, names.EVAL_LOSS: loss, names.GAIN: gain, names.TIMESTAMP: 1.7e9 + step}
        append_row(self.folder.trial(plan.name) / names.LEDGER_FILE, report)
        if step == STEPS:
            search.on_trial_result(trial_id, report)
            search.on_trial_complete(trial_id, report)
        elif self.stopped.get(plan.name) == step:
            search.on_trial_complete(trial_id, report)  # Tune tells this report in no other way
        else:
            search.on_trial_result(trial_id, report)
            return False
        return True

    def _control_loss(self, plan: TrialPlan, step: int) -> float:
        control = next(p for p, _, _ in self.folder.trials() if p.name == plan.control)
        return self.loss(control, step)


def states(folder: RunFolder, state: str) -> list[str]:
    """Names of the trials in a state."""
    return sorted(plan.name for plan, its_state, _ in folder.trials() if its_state == state)
