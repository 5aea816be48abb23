"""The curves of a study's arms, as in the published figures: validation loss, its tail, training loss.

    python -m analysis.curves results/kfold/my_run results/published/k_fold [--out FOLDER]

What a line is says `analysis.tables.arm_lines`; of a search in groups, the winners on fresh seeds. Each folder gets
pictures of its own; those of an older search, which has pictures of all its trials, are called best_*.png.
"""

from pathlib import Path
from typing import Annotated, Final

import tyro

from analysis.columns import CONTROL_NAME, LAYERS, LOOP_STEPS, MIN_WEIGHT, ROLE, STATE, TEACHER_STEPS, TRIAL
from analysis.command import RunPath, run_command, shown
from analysis.figures.draw import save_plot
from analysis.plots.arm_plots import LOSS, TRAINING_LOSS, loss_by_arm, training_loss_by_arm
from analysis.results import load_with
from analysis.tables.arm_lines import is_search
from analysis.tables.confirmations import confirmed
from analysis.tables.planned import planned_trials
from trainable import names
from trainable.errors import InputError
from trainable.record.option import option
from trainable.record.run_record import read_record

SEARCH_PREFIX: Final = "best_"
TRIAL_COLUMNS: Final = (TRIAL, ROLE, CONTROL_NAME, STATE, LAYERS, TEACHER_STEPS, MIN_WEIGHT, LOOP_STEPS, names.STEP)
CURVE_COLUMNS: Final = (TRIAL, names.STEP, names.EVAL_LOSS, names.TRAIN_LOSS)


def main(
    results: Annotated[tuple[RunPath, ...], tyro.conf.Positional, option("DIR|URI ...", "none")],
    out: Annotated[Path | None, option("PATH", "figures/ of each")] = None,
) -> None:
    """Draw validation loss, its tail and training loss of each arm of a study.

    Args:
        results: run folders, or folders with kept tables, such as results/published/k_fold
        out: folder for the pictures, with a subfolder for each of several RESULTS
    """
    if not results:
        raise InputError("RESULTS: give at least one run folder.")
    for folder, target in zip(results, _targets(results, out), strict=True):
        loaded = load_with(folder, TRIAL_COLUMNS, CURVE_COLUMNS)
        record = read_record(folder) if (folder / names.RUN_FILE).is_file() else None  # kept tables have no run.json
        loaded = confirmed(loaded, record)
        arms, plans = (record.arms, planned_trials(record)) if record else ((), None)
        prefix = SEARCH_PREFIX if is_search(loaded.trials) else ""
        drawn = [(LOSS, loss_by_arm(loaded, arms, plans)), (TRAINING_LOSS, training_loss_by_arm(loaded, arms, plans))]
        try:
            paths = [path for plot, data in drawn for path in save_plot(plot, data, target, prefix)]
        except OSError as error:
            raise InputError(
                f"the pictures could not be written to {target} ({error.strerror or error}): give --out FOLDER."
            ) from None
        print(*(shown(path) for path in paths), sep="\n")


def _targets(results: tuple[Path, ...], out: Path | None) -> list[Path]:
    """Folder for the pictures of each of the given folders."""
    if out is None:
        return [folder / names.FIGURES_FOLDER for folder in results]
    if len(results) == 1:
        return [out]
    whole = [folder.resolve() for folder in results]
    short = [folder.name for folder in whole]
    return [out / (one.name if short.count(one.name) == 1 else f"{one.parent.name}_{one.name}") for one in whole]


if __name__ == "__main__":
    run_command(main, "curves")
