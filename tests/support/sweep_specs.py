"""A small sweep spec that tests vary, and a simulated Tune that runs it without Ray or training."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ray.tune.search import Searcher

from sweeps.engine.folder import RunFolder
from sweeps.engine.order.orders import ORDERS
from sweeps.engine.order.trial_order import TrialOrder
from sweeps.engine.specs.arms import SearchArm
from sweeps.engine.specs.asha_spec import AshaSpec
from sweeps.engine.specs.search import Sweep
from sweeps.engine.specs.space import Choice, Parameter, Range, levels
from sweeps.engine.specs.spec import Spec
from trainable import names
from trainable.config import TrialConfig, override
from trainable.plan import TrialPlan
from trainable.record.files import write_json
from trainable.record.ledger import append_row
from trainable.record.run_record import CorpusFacts, RunRecord, TokenFacts, TokenizerFacts
from trainable.record.trial_files import read_status

STEPS, EVERY = 40, 10
RATES = levels([0.001, 0.003, 0.009])
CONTROL_SPACE = {"optimizer.lr": RATES, "optimizer.warmup_steps": Range(5, 10, 5)}
# Trials of a depth by `made_up_loss`: reference control, best control, best trial with the bigram teacher.
REFERENCE, BEST_CONTROL = "control-lr0.003-wu10-L{}-s0", "control-lr0.003-wu5-L{}-s0"
BEST_BIGRAM = "bigram-linear-T10-min0-lr0.003-L{}-s0"
Loss = Callable[[TrialPlan, int], float]  # of a trial at a step


def small_sweep(base: dict[str, Any] | None = None, **changes: Any) -> Sweep:
    """Two depths, a control and two teachers, 4 searched trials and 1 confirmation a group, ASHA at step 20."""
    settings = {"loop.steps": STEPS, "loop.eval_every": EVERY, "loop.checkpoint_every": EVERY}
    settings |= {"loop.precision": "float32"}
    return Sweep(
        **{
            "study": "study",
            "question": "Which?",
            "base": override(TrialConfig(), settings | (base or {})),
            "layers": (1, 2),
            "arms": small_arms(),
            "num_samples": 4,
            "asha": AshaSpec(grace_period=20),
            **changes,
        }
    )


def small_arms(seeds: tuple[int, ...] = (1,), **more: Parameter) -> tuple[SearchArm, ...]:
    """The control with 3 x 2 settings, uniform and bigram with 2 x 2 x 3; `more` by names such as teacher__steps."""
    teaching = {
        "teacher.schedule": Choice(("linear", "exponential")),
        "teacher.steps": Range(10, 20, 10),
        "optimizer.lr": RATES,
        **{key.replace("__", "."): parameter for key, parameter in more.items()},
    }
    control = SearchArm(name="control", space=CONTROL_SPACE, seeds=seeds)
    kinds = ("uniform", "bigram")
    return (
        control,
        *(SearchArm(name=kind, changes={"teacher.kind": kind}, space=teaching, seeds=seeds) for kind in kinds),
    )


def run_record(sweep: Spec) -> RunRecord:
    """run.json of a sweep without prepared data."""
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
    """A loss that falls with the steps; best are the middle rate, and the bigram teacher, linear over 10 steps."""
    config, teacher = plan.config, plan.config.teacher
    loss = 8.0 - step / STEPS - config.model.layers - config.seed / 100 + 0.1 * (config.optimizer.lr != 0.003)
    if teacher.schedule == "none":
        return loss + config.optimizer.warmup_steps / 1000
    return loss - 0.1 * (teacher.kind == "bigram") - 0.1 * (teacher.schedule == "linear") + teacher.steps / 1000


def no_stop(name: str) -> bool:
    """ASHA that stops no trial."""
    return False


def three_in_flight() -> int:
    """Let a machine with two slots have three trials in flight: two that run, and one that waits."""
    return 3


@dataclass(kw_only=True)
class SimulatedTune:
    """Asks the searcher for trials, `slots` at a time, runs them in turn, and can stop after any event."""

    folder: RunFolder
    sweep: Any  # a Sweep or a Comparison
    loss: Loss = made_up_loss
    slots: int = 2
    stopped: dict[str, int] = field(default_factory=dict)  # name -> step at which ASHA stops it
    failing: frozenset[str] = frozenset()  # names of trials that diverge at their second report
    given: list[TrialPlan] = field(default_factory=list)  # in the order they were given out
    _controls: dict[str, TrialPlan] = field(default_factory=dict)
    started: dict[str, list[str]] = field(default_factory=dict)  # name -> trials finished at that time

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
                self.started[plan.name] = sorted(self._finished())
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

    def _finished(self) -> Iterator[str]:
        """Names of the trials whose status says so, read without their plans and ledgers."""
        for file in self.folder.path.glob(f"{names.TRIALS_FOLDER}/*/{names.STATUS_FILE}"):
            if read_status(file.parent).state == names.FINISHED:
                yield file.parent.name

    def _first_step(self, plan: TrialPlan) -> int:
        rows = self.folder.trial(plan.name) / names.LEDGER_FILE
        return rows.read_text().count("\n") * EVERY if rows.exists() else 0

    def _advance(self, search: TrialOrder, trial_id: str, plan: TrialPlan, step: int) -> bool:
        """Give a trial's next report, and its end after the last one; return whether the trial has ended."""
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
        if step == plan.config.loop.steps:
            search.on_trial_result(trial_id, report)
            search.on_trial_complete(trial_id, report)
        elif self.stopped.get(plan.name) == step:
            search.on_trial_complete(trial_id, report)  # the only way in which Tune passes on this report
        else:
            search.on_trial_result(trial_id, report)
            return False
        return True

    def _control_loss(self, plan: TrialPlan, step: int) -> float:
        if plan.control not in self._controls:
            self._controls |= {known.name: known for known, _, _ in self.folder.trials()}
        return self.loss(self._controls[plan.control], step)


def states(folder: RunFolder, state: str) -> list[str]:
    """Names of the trials in a state."""
    return sorted(plan.name for plan, its_state, _ in folder.trials() if its_state == state)
