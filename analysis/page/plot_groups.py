"""All plots of the page, in groups with a title and a note."""

from collections.abc import Sequence

from analysis.columns import ROLE
from analysis.page.arm_plots import arm_plots
from analysis.page.plot_data import GAIN_TITLE, LOSS_TITLE, Group
from analysis.page.published_plots import published_groups
from analysis.page.search_plots import schedule_plots, trial_plots
from analysis.results import Results
from analysis.sections.run_sections import Run
from analysis.sections.summary_sections import is_comparison
from analysis.tables.arm_lines import PANEL, arm_lines
from analysis.tables.differences import gain_lines
from analysis.tables.search_lines import KIND, best_points, gain_points, trial_lines
from trainable import names


def groups(run: Run) -> list[Group]:
    """All plots of the page."""
    results = run.results
    arms = run.record["spec"].get("arms", ())
    drawn = _comparison_groups(results, arms) if is_comparison(run.record) else _search_groups(results)
    return [*drawn, *published_groups(run)]


def _comparison_groups(results: Results, arms: Sequence[str]) -> list[Group]:
    loss, gain = arm_lines(results, names.EVAL_LOSS, arms), gain_lines(results, arms)
    units = "A line is the mean over units (seeds, folds), its band runs from the lowest to the highest of them"
    drawn = [
        Group(
            "Validation loss by arm",
            f"{units}; a ring shows where a teacher ends. Plain cross-entropy, teacher off. Click an arm in the legend "
            "to hide it, drag to zoom.",
            tuple(arm_plots(loss, LOSS_TITLE)),
            zooms=True,
        )
    ]
    gain = gain[(gain[ROLE] != names.CONTROL).groupby([gain[key] for key in PANEL], dropna=False).transform("any")]
    if len(gain):
        note = f"{units}. The control of the same unit is the line at 0; above it, guided is better."
        drawn.append(Group("Gain over steps", note, tuple(arm_plots(gain, GAIN_TITLE)), zooms=True))
    return drawn


def _search_groups(results: Results) -> list[Group]:
    points, marks, lines = gain_points(results.trials), best_points(results.trials), trial_lines(results)
    loss, gain = arm_lines(results, names.EVAL_LOSS), gain_lines(results)
    seeds = "The best schedule of each depth beside its control, on the seeds that confirmed it and did not choose it"
    band = "mean, with a band from the lowest to the highest seed. Without a confirmation: on the seed that chose it."
    return [
        Group(
            "Gain by schedule",
            "A point a trial of the search, on the search's seed: shape by type, colour by floor; hollow: stopped by "
            "ASHA, with its gain then. Orange bar: the best on other seeds, mean ± sd.",
            tuple(schedule_plots(points, marks)),
        ),
        Group("Gain over steps", f"{seeds}: {band}", tuple(arm_plots(gain, GAIN_TITLE)), zooms=True),
        Group("Validation loss over steps", f"{seeds}: {band}", tuple(arm_plots(loss, LOSS_TITLE)), zooms=True),
        Group(
            "Gain over steps, every trial of the search",
            "On the search's seed; the control is the line at 0, the best schedule is thick. A circle ends a trial "
            "that ASHA stopped. Point at a line to see which trial it is.",
            tuple(trial_plots(lines[lines[KIND] != "control"], names.GAIN, GAIN_TITLE)),
            zooms=True,
        ),
        Group(
            "Validation loss, every trial of the search",
            "The same trials with their control (grey).",
            tuple(trial_plots(lines, names.EVAL_LOSS, LOSS_TITLE)),
            zooms=True,
        ),
    ]
