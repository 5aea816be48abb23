"""A run folder with computed losses: the files of a sweep with every kind of trial, written in milliseconds.

`write_run` writes run.json, `add_trial` a trial with the given losses, `realistic_run` a whole study with controls,
 finished, stopped, failed and running trials, confirmations, a retried ledger and a cut-off line.
"""

import itertools
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from trainable import config, names
from trainable.record.files import write_json
from trainable.record.ledger import ledger_line, read_lines

STEPS, EVERY, TOKENS_A_STEP = 120, 20, 2048
SETTING = config.override(config.TrialConfig(), {"loop.precision": "float32"})  # a record never has auto
SECONDS_A_STEP = 0.1  # of a control with one layer; a guided step takes 5 % longer


def write_run(run: Path, **changes: Any) -> Path:
    """run.json of a study over 2 depths; `changes` replace its top-level entries. Returns `run`."""
    record = {
        "schema": 1,
        "study": "schedule_search",
        "run": run.name,
        "created": "2026-01-02T03:04:05+00:00",
        "command": ["python", "-m", "sweeps.schedule_search"],
        "spec": spec(),
        "versions": {"python": "3.11.0", "torch": "2.13.0", "ray": "2.60.0"},
        "git_commit": None,
        "hardware": {"cpus": 2, "memory_gib": 23.5, "gpus": []},
        "corpus": {
            "source": "builtin",
            "fingerprint": "0" * 16,
            "rows": 15545,
            "train_rows": 12436,
            "eval_rows": 3109,
            "empty_rows": 0,
            "demonstration": True,
        },
        "tokenizer": {"spec": "train:4096", "fingerprint": "1" * 16, "vocab_size": 4096},
        "tokens": {"train_tokens": 256_000, "eval_tokens": 64_000, "train_blocks": 2000, "eval_blocks": 500},
        "teacher": {
            "rows": "student",
            "smoothing": "mle",
            "bigrams": 90_000,
            "counted_tokens": 256_000,
            "checksum": "2" * 16,
            "eval_loss": None,
        },
        "ended": "2026-01-02T03:14:05+00:00",
        "wall_seconds": 600.0,
    }
    write_json(run / names.RUN_FILE, {key: value for key, value in (record | changes).items() if value != "absent"})
    return run


def spec(**changes: Any) -> dict[str, Any]:
    """The `spec` of run.json; `changes` replace its entries."""
    return {
        "study": "schedule_search",
        "question": "Which schedule of a bigram teacher lowers the validation loss most, at each depth?",
        "layers": [1, 2],
        "space": {
            "teacher.schedule": ["linear", "exponential", "reciprocal", "step"],
            "teacher.steps": [20, 40, 60, 80],
            "teacher.min_weight": [0.0, 0.05, 0.1, 0.15, 0.2],
        },
        "search": "optuna",
        "num_samples": 10,
        "search_seed": 0,
        "confirm_seeds": [1, 2, 3],
        "asha": {"grace_period": 80, "reduction_factor": 2},
        "base": config.to_dict(SETTING),
    } | changes


def add_trial(
    run: Path,
    role: str,
    losses: Mapping[int, float],
    *,
    control: Mapping[int, float] | None = None,
    state: str = names.FINISHED,
    reason: str = "",
    seconds_per_step: float = SECONDS_A_STEP,
    **settings: Any,
) -> str:
    """Write a trial whose eval_loss at each step is `losses`, and whose gain is against `control` at the same step.

    `settings` are dotted keys with the dots as `__` (teacher__steps=40). Returns the name of the trial.
    """
    made = config.override(SETTING, {key.replace("__", "."): value for key, value in settings.items()})
    name, own_control = trial_name(made), f"none-L{made.model.layers}-s{made.seed}"
    folder = run / names.TRIALS_FOLDER / name
    facts = {"name": name, "role": role, "control": own_control, "config": config.to_dict(made)}
    write_json(folder / names.TRIAL_FILE, facts)
    if state != names.RUNNING:
        write_json(folder / names.STATUS_FILE, {"state": state, "reason": reason})
    gains = {step: (control or losses)[step] - loss for step, loss in losses.items()}
    rows = [report(made, step, loss, gains[step], seconds_per_step) for step, loss in losses.items()]
    (folder / names.LEDGER_FILE).write_bytes(b"".join(map(ledger_line, rows)))
    return name


def trial_name(made: config.TrialConfig) -> str:
    """Name of a trial as in a sweep: none-L2-s0, linear-T40-min0.05-L2-s0."""
    teacher, ending = made.teacher, f"L{made.model.layers}-s{made.seed}"
    if teacher.schedule == "none":
        return f"none-{ending}"
    return f"{teacher.schedule}-T{teacher.steps}-min{teacher.min_weight:g}-{ending}"


def report(
    made: config.TrialConfig, step: int, loss: float, gain: float, seconds_per_step: float = SECONDS_A_STEP
) -> dict[str, Any]:
    """One row of a ledger."""
    seconds = step * seconds_per_step
    return {
        names.STEP: step,
        names.EVAL_LOSS: loss,
        names.EVAL_LOSS_SE: 0.01,
        names.GAIN: gain,
        names.TRAIN_LOSS: loss + 0.1 if step else None,
        names.TEACHER_WEIGHT: weight(made.teacher, step),
        names.LEARNING_RATE: made.optimizer.lr,
        names.TOKENS: step * TOKENS_A_STEP,
        names.TOKENS_PER_SECOND: TOKENS_A_STEP / seconds_per_step if step else None,
        names.TRAIN_SECONDS: seconds,
        names.EVAL_SECONDS: 0.5 * (step // EVERY + 1),
        names.PEAK_MEMORY_MIB: 400.0 + 10 * (made.teacher.schedule != "none"),
        names.TIMESTAMP: 1.7e9 + seconds,
    }


def weight(teacher: config.TeacherConfig, step: int) -> float:
    """The teacher's weight, roughly."""
    if teacher.schedule == "none":
        return 0.0
    return teacher.min_weight if step >= teacher.steps else max(teacher.min_weight, 1 - step / teacher.steps)


def realistic_run(run: Path, layers: tuple[int, ...] = (1, 2), trials_per_depth: int = 10) -> Path:
    """Write a study as a sweep leaves it. To look at its pictures:

    python tests/support/synthetic_run.py /tmp/synthetic && python -m analysis.summary /tmp/synthetic
    """
    write_run(run, spec=spec(layers=list(layers), num_samples=trials_per_depth))
    grid = list(itertools.product(["linear", "exponential", "reciprocal", "step"], [20, 40, 80], [0.0, 0.05, 0.2]))
    chosen = [grid[i] for i in np.random.default_rng(0).permutation(len(grid))[:trials_per_depth]]
    for depth in layers:
        _add_search(run, depth, chosen)
    _spoil_ledgers(run, layers[-1])
    return run


def _add_search(run: Path, depth: int, chosen: list[tuple[str, int, float]]) -> None:
    _add_control(run, depth, seed=0)
    fates = {point: _fate(number, point) for number, point in enumerate(chosen)}
    for point, (until, state, reason) in fates.items():
        _add_guided(run, depth, 0, point, names.SEARCH, until, state, reason)
    done = [point for point, (_, state, _) in fates.items() if state == names.FINISHED]
    best = max(done, key=lambda point: _gain(*point, STEPS, 0))
    for seed in (1, 2, 3):
        _add_control(run, depth, seed)
        _add_guided(run, depth, seed, best, names.CONFIRM, STEPS, names.FINISHED, "")


def _fate(number: int, point: tuple[str, int, float]) -> tuple[int, str, str]:
    """Last step, state and reason of the trial that the searcher proposed as `number`."""
    if number == 4:
        return 20, names.FAILED, "RuntimeError: out of memory | at step 33"
    if number == 7:
        return 60, names.RUNNING, ""
    if _gain(*point, 80, 0) < 0.04:
        return 80, names.STOPPED, "ASHA at rung 80"
    return STEPS, names.FINISHED, ""


def _add_control(run: Path, depth: int, seed: int) -> None:
    losses = {step: _control(depth, seed, step) for step in range(0, STEPS + 1, EVERY)}
    add_trial(run, names.CONTROL, losses, seconds_per_step=SECONDS_A_STEP * depth, model__layers=depth, seed=seed)


def _add_guided(
    run: Path, depth: int, seed: int, point: tuple[str, int, float], role: str, until: int, state: str, reason: str
) -> None:
    control = {step: _control(depth, seed, step) for step in range(0, until + 1, EVERY)}
    losses = {step: loss - _gain(*point, step, seed) / math.sqrt(depth) for step, loss in control.items()}
    schedule, steps, min_weight = point
    settings = {"teacher__schedule": schedule, "teacher__steps": steps, "teacher__min_weight": min_weight}
    pace = 1.05 * SECONDS_A_STEP * depth
    more = {"model__layers": depth, "seed": seed, **settings}
    add_trial(run, role, losses, control=control, state=state, reason=reason, seconds_per_step=pace, **more)


def _control(depth: int, seed: int, step: int) -> float:
    wobble = 0.01 * math.sin(3 * seed + step) if step else 0.0
    return 5.2 + 0.15 * depth + (3.1 - 0.15 * depth) * math.exp(-step / 35) + wobble


def _gain(schedule: str, steps: int, min_weight: float, step: int, seed: int) -> float:
    """Gain: below 0 while the teacher's weight is high, above 0 later; a minimum weight costs some of it at the end."""
    if step == 0:
        return 0.0
    lasting = {"linear": 0.30, "exponential": 0.22, "reciprocal": 0.16, "step": 0.24}[schedule] * (steps / 80) ** 0.7
    teaching = 0.25 * max(0.0, 1 - step / steps)
    return lasting * (1 - math.exp(-step / 30)) - teaching - 0.8 * min_weight + 0.02 * math.sin(5 * seed + steps + step)


def _spoil_ledgers(run: Path, depth: int) -> None:
    """Write what killed processes leave: a step reported twice, the older report first, and half a last line."""
    ledger = run / names.TRIALS_FOLDER / f"none-L{depth}-s0" / names.LEDGER_FILE
    first, *others = ledger.read_bytes().splitlines(keepends=True)
    stale = ledger_line(read_lines(ledger)[1] | {names.EVAL_LOSS: 99.0})
    ledger.write_bytes(b"".join([first, stale, *others]) + b'{"step": 140, "eval_lo')


if __name__ == "__main__":
    realistic_run(Path(sys.argv[1]), layers=tuple(range(1, int((sys.argv[2:] or ["2"])[0]) + 1)))
