"""A search at one depth, with any gains."""

import itertools
from pathlib import Path

from synthetic_run import add_trial, spec, write_run

from analysis.results import load
from analysis.sections.document import markdown
from analysis.sections.schedule_sections import sections
from analysis.tables.schedule_effects import read_space
from trainable import names

CONTROL = {0: 8.0, 60: 6.0, 120: 5.0}
SPACE = {
    "teacher.schedule": ["linear", "step"],
    "teacher.steps": [20, 40, 60, 80],
    "teacher.min_weight": [0.0, 0.1, 0.2],
}


def search(tmp_path: Path) -> Path:
    """A run at one depth without guided trials."""
    run = write_run(tmp_path / "run", spec=spec(layers=[1], space=SPACE))
    add_trial(run, names.CONTROL, CONTROL)
    return run


def guided(run: Path, gain: float, schedule: str, steps: int, min_weight: float, state: str = names.FINISHED) -> None:
    losses = {step: loss - (gain if step else 0) for step, loss in CONTROL.items()}
    settings = {"teacher__schedule": schedule, "teacher__steps": steps, "teacher__min_weight": min_weight}
    add_trial(run, names.SEARCH, losses, control=CONTROL, state=state, **settings)


def steps_matter(tmp_path: Path) -> Path:
    """24 trials whose gain is the scheduling steps / 100 and hardly anything else."""
    run = search(tmp_path)
    for number, (schedule, steps, min_weight) in enumerate(itertools.product(*SPACE.values())):
        guided(run, steps / 100 + number * 1e-4, schedule, steps, min_weight)
    return run


def text(run: Path) -> str:
    return markdown("report", sections(load(run).trials, read_space(run)), [])
