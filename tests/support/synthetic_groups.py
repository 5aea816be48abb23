"""A search in groups with computed losses: the files of a sweep of three arms, written in milliseconds.

`groups_run` writes a whole run whose confirmations end at given losses. To look at its pictures:

    python tests/support/synthetic_groups.py FOLDER && python -m analysis.report FOLDER
"""

import math
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from synthetic_run import EVERY, SETTING, STEPS, report, write_run

from trainable import config, names
from trainable.record.files import read_json, write_json
from trainable.record.ledger import ledger_line

SEEDS: Final = (1, 2, 3)
RATES: Final = [0.001, 0.003, 0.009]
TEACHER: Final = {
    "teacher.schedule": ["linear", "exponential"],
    "teacher.steps": [40, 120],
    "teacher.min_weight": [0.0],
}
RATE_SPACE: Final = {"optimizer.lr": RATES, "optimizer.warmup_steps": [5, 20]}
CHANGES: Final[dict[str, dict[str, Any]]] = {"control": {}, "uniform": {"teacher.kind": "uniform"}, "bigram": {}}
OFFSETS: Final = {"control": 0.0, "uniform": -0.04, "bigram": -0.12, "control, unigram bias": -0.02}  # of a final loss
OWN_LOSS: Final = 5.5  # of the bigram teacher, on the reporting rows
CHOSEN: Final = {"teacher.schedule": "linear", "teacher.steps": 40}  # of the winner, at the middle rate

End = Callable[[str, int, int], float]  # final loss of (arm, depth, seed)


def final_loss(arm: str, depth: int, seed: int) -> float:
    """Final loss: 5.4 at one layer, a little lower at more, with noise for each seed and for each arm."""
    own = 0.004 * math.sin(7 * seed + 3 * len(arm)) if arm != "control" else 0.0
    return 5.5 - 0.1 * depth + 0.02 * math.sin(5 * seed) + OFFSETS[arm] + own


def groups_spec(arms: Mapping[str, Mapping[str, Any]] = CHANGES, **changes: Any) -> dict[str, Any]:
    """The `spec` of run.json; `changes` replace its entries."""
    seeds = list(changes.pop("seeds", SEEDS))
    spaces = {arm: (RATE_SPACE if is_plain(arm) else TEACHER | RATE_SPACE) for arm in arms}
    groups = [
        {"name": arm, "changes": dict(fixed), "space": spaces[arm], "seeds": seeds} for arm, fixed in arms.items()
    ]
    return {
        "kind": "groups",
        "study": "schedule_search",
        "question": "Does a bigram teacher help, at each depth?",
        "base": config.to_dict(SETTING),
        "layers": [1],
        "arms": list(arms),
        "groups": groups,
        "search": "grid",
        "num_samples": 6,
        "search_seed": 0,
        "confirm_seeds": seeds,
        "asha": {"grace_period": 40, "reduction_factor": 2},
        "search_steps": None,
        "extend_rates": False,
        "margin": 0.03,
    } | changes


def groups_run(run: Path, end: End = final_loss, **changes: Any) -> Path:
    """Write a whole run; `changes` apply to its spec, or (registered, complete, tables) to its record."""
    top = {key: changes.pop(key) for key in ("registered", "complete", "tables", "teacher") if key in changes}
    spec = groups_spec(**changes)
    write_run(run, spec=spec, tables=top.pop("tables", tables()), **top)
    for depth in spec["layers"]:
        reference = end("control", depth, 0)
        for group in spec["groups"]:
            add_search(run, group["name"], group["changes"], depth, end, reference)
        for seed in spec["confirm_seeds"]:
            for group in spec["groups"]:
                confirmation(run, group["name"], depth, seed, end, **group["changes"])
    return run


def tables() -> dict[str, dict[str, Any]]:
    """The facts of the teachers' tables on both halves of the validation rows."""
    shared = {"bigrams": 9, "counted_tokens": 9, "checksum": "2" * 16}
    found = {}
    for half, more in (("choosing", 0.2), ("reporting", 0.0)):
        blocks = {"blocks": half, "eval_half": half}
        bigram = {"rows": "student", "smoothing": "mle", "eval_loss": None, "kneser_ney_loss": OWN_LOSS + more}
        found[f"bigram {half}"] = shared | blocks | bigram
        found[f"uniform {half}"] = shared | blocks | {"rows": "none", "smoothing": "uniform", "eval_loss": 8.3}
    return found


def is_plain(arm: str) -> bool:
    """Whether an arm has no teacher."""
    return arm.startswith("control")


def add_search(run: Path, arm: str, changes: Mapping[str, Any], depth: int, end: End, reference: float) -> None:
    """Add six trials: three rates, with two schedules each (a control: two warm-ups); ASHA stopped one guided trial."""
    for number, rate in enumerate(RATES):
        for second in (0, 1):
            varied = {"optimizer.warmup_steps": (5, 20)[second]} if is_plain(arm) else dict(CHOSEN)
            if second and not is_plain(arm):
                varied["teacher.schedule"] = "exponential"
            loss = end(arm, depth, 0) + (0.05, 0.0, 0.08)[number] + 0.01 * second
            is_reference = arm == "control" and (number, second) == (1, 0)
            stopped = not is_plain(arm) and (number, second) == (2, 1)
            add(
                run,
                arm,
                names.CONTROL if is_reference else names.SEARCH,
                loss,
                against=reference,
                control=trial_name("control", depth, 0, 0.003, "", "choosing"),
                until=40 if stopped else STEPS,
                state=names.STOPPED if stopped else names.FINISHED,
                **{**changes, **varied, "optimizer.lr": rate, "model.layers": depth, "corpus.eval_half": "choosing"},
            )


def confirmation(run: Path, arm: str, depth: int, seed: int, end: End = final_loss, **settings: Any) -> str:
    """Add the winner of a group on a fresh seed; `settings` may also have `state`, `reason` and `until`."""
    control = trial_name("control", depth, seed, 0.003, "", "reporting")
    own = {} if is_plain(arm) else CHOSEN
    varied = {**own, "optimizer.lr": 0.003, "model.layers": depth, "corpus.eval_half": "reporting", "seed": seed}
    role = names.CONTROL if arm == "control" else names.CONFIRM
    return add(
        run,
        arm,
        role,
        end(arm, depth, seed),
        against=end("control", depth, seed),
        control=control,
        **settings,
        **varied,
    )


def trial_name(arm: str, depth: int, seed: int, rate: float, schedule: str, half: str) -> str:
    return "-".join([arm.replace(", ", "-"), *([schedule] if schedule else []), f"lr{rate:g}-L{depth}-s{seed}-{half}"])


def add(
    run: Path,
    arm: str,
    role: str,
    last: float,
    *,
    against: float,
    control: str,
    until: int = STEPS,
    state: str = names.FINISHED,
    reason: str = "",
    **settings: Any,
) -> str:
    """Add a trial that would end at the loss `last`, with a control that ends at `against`; return its name."""
    made = config.override(SETTING, settings)
    plain = made.teacher.schedule == "none"
    rate = made.optimizer.lr
    tail = f"w{made.optimizer.warmup_steps}" if plain and made.optimizer.warmup_steps == 20 else ""
    schedule = tail if plain else made.teacher.schedule
    name = trial_name(arm, made.model.layers, made.seed, rate, schedule, made.corpus.eval_half)
    folder = run / names.TRIALS_FOLDER / name
    facts = {"name": name, "role": role, "control": control, "arm": arm, "config": config.to_dict(made)}
    write_json(folder / names.TRIAL_FILE, facts)
    if state != names.RUNNING:
        write_json(folder / names.STATUS_FILE, {"state": state, "reason": reason})
    rows = []
    for step in range(0, until + 1, EVERY):
        loss, plain_loss = (curve(value, step) for value in (last, against))
        diagnostics = {names.GRAD_NORM: 0.5, names.CLIPPED_SHARE: 0.25, names.OUTPUT_ENTROPY: 5.1}
        diagnostics |= {names.HIDDEN_COSINE: 0.3, names.UNIGRAM_KL: 1.2 if plain else 1.5}
        rows.append(report(made, step, loss, plain_loss - loss, 0.1 if plain else 0.11) | diagnostics)
    (folder / names.LEDGER_FILE).write_bytes(b"".join(map(ledger_line, rows)))
    return name


def curve(last: float, step: int) -> float:
    """From 8.3 to exactly `last` at the end, steep first."""
    left = (math.exp(-step / 30) - math.exp(-STEPS / 30)) / (1 - math.exp(-STEPS / 30))
    return last + (8.3 - last) * left


def change_record(run: Path, **changes: Any) -> None:
    """Replace top-level entries of run.json."""
    write_json(run / names.RUN_FILE, read_json(run / names.RUN_FILE) | changes)


if __name__ == "__main__":
    groups_run(Path(sys.argv[1]), layers=[1, 2])
