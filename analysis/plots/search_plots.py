"""Plots of an older search: the gain of every schedule, the best schedules over steps, every trial over steps.

`PLOTS` lists them.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np
import pandas as pd

from analysis.columns import CONTROL_NAME, LAYERS, MIN_WEIGHT, ROLE, SCHEDULE, STATE, TEACHER_STEPS, TRIAL
from analysis.plots.arm_plots import arm_panels
from analysis.plots.looks import BAR, BEST_COLOUR, CONTROL_COLOUR, ScheduleLook, schedule_looks
from analysis.plots.plot import GAIN_TITLE, LOSS_TITLE, ColourScale, Line, Panel, Plot, PlotData, Points
from analysis.results import Findings, Results
from analysis.tables.arm_lines import arm_lines
from analysis.tables.best import CONFIRMED, CONFIRMED_N, CONFIRMED_SD, best
from analysis.tables.differences import gain_lines
from analysis.wording import describe, plural
from trainable import names

FEW: Final = 8  # up to so many values, each value is a tick; above, ticks are round numbers
NUDGE: Final = 0.022  # share of the longest schedule: a sideways shift that keeps markers of different schedules apart
KIND: Final = "kind"  # column: names.CONTROL, GUIDED or BEST
GUIDED: Final = "guided"
BEST: Final = "best"  # the best trial of its depth
BEST_LEGEND: Final = "best schedule of this depth"
SEEDS_NOTE: Final = (
    "The best schedule of each depth and its control, on the seeds of the confirmations, which did not choose it: "
    "mean, with a band from the lowest to the highest seed. Without a confirmation: on the seed that chose it."
)


def gain_points(trials: pd.DataFrame) -> pd.DataFrame:
    """The search trials that finished or were stopped, with a finite gain: a row for each."""
    ended = trials[STATE].isin([names.FINISHED, names.STOPPED]) & np.isfinite(trials[names.GAIN])
    points: pd.DataFrame = trials[ended & (trials[ROLE] == names.SEARCH)]
    return points


def trial_lines(results: Results) -> pd.DataFrame:
    """The finite evaluations of search trials and their controls (of all trials where none was searched), with KIND."""
    trials, curves = results
    searched = trials[trials[ROLE] == names.SEARCH]
    shown = set(searched[TRIAL]) | set(searched[CONTROL_NAME]) if len(searched) else set(trials[TRIAL])
    lines = curves[curves[TRIAL].isin(shown) & np.isfinite(curves[names.EVAL_LOSS])]
    is_best = lines[TRIAL].isin(best(trials, top=1)[TRIAL])
    kind = np.where(lines[ROLE] == names.CONTROL, names.CONTROL, np.where(is_best, BEST, GUIDED))
    return lines.assign(**{KIND: kind})


def gain_by_schedule(found: Findings) -> PlotData:
    """Last gain over scheduling steps: marker by schedule, colour by minimum weight, hollow if stopped by ASHA."""
    points, marks = gain_points(found.results.trials), best(found.results.trials, top=1)
    looks = schedule_looks(points[SCHEDULE])
    nudge = NUDGE * float(points[TEACHER_STEPS].max()) if len(points) else 0.0
    shifts = {name: (i - (len(looks) - 1) / 2) * nudge for i, name in enumerate(looks)}
    panels = []
    for layers, here in points.groupby(LAYERS):
        groups = [
            _schedule_points(here[here[SCHEDULE] == name], look, shifts[name])
            for name, look in looks.items()
            if name in set(here[SCHEDULE])
        ]
        confirmed = marks[(marks[LAYERS] == layers) & (marks[CONFIRMED_N] > 0)]
        groups += [_confirmation(mark, shifts[mark[SCHEDULE]] + 1.2 * nudge) for _, mark in confirmed.iterrows()]
        panels.append(Panel(title=plural(int(layers)), points=tuple(groups)))
    steps, min_weights = sorted(points[TEACHER_STEPS].unique()), sorted(points[MIN_WEIGHT].unique())
    top = max([0.01, *map(float, min_weights)])
    return PlotData(
        title="Gain by schedule",
        note="Each point is a search trial, on the search's seed. Shape: schedule. Colour: minimum weight. Hollow: "
        "stopped by ASHA; the gain is that of the step where it stopped. Orange bar: the best setting on other seeds, "
        "mean ± sd.",
        x_title="scheduling steps T",
        y_title=GAIN_TITLE,
        panels=tuple(panels),
        is_difference=True,
        x_ticks=tuple(map(float, steps)) if len(steps) <= FEW else (),
        scale=ColourScale(
            title="minimum weight of the teacher",
            top=top,
            ticks=tuple(map(float, min_weights if len(min_weights) <= FEW else np.linspace(0, top, 5))),
        ),
    )


def _schedule_points(points: pd.DataFrame, look: ScheduleLook, shift: float) -> Points:
    return Points(
        label=str(points[SCHEDULE].iloc[0]),
        x=points[TEACHER_STEPS].to_numpy(float) + shift,
        y=points[names.GAIN].to_numpy(float),
        marker=look.marker,
        colour=CONTROL_COLOUR,  # in the legend: the colour of a point shows its minimum weight
        values=points[MIN_WEIGHT].to_numpy(float),
        hollow=(points[STATE] == names.STOPPED).to_numpy(bool),
        notes=tuple(
            f"{row[TRIAL]}\n{describe(row)}\n{row[STATE]} at step {row[names.STEP]}: gain {row[names.GAIN]:+.4f}"
            for _, row in points.iterrows()
        ),
    )


def _confirmation(mark: pd.Series, shift: float) -> Points:
    return Points(
        label="best, on other seeds",
        legend="best, other seeds: mean ± sd",
        x=np.array([mark[TEACHER_STEPS] + shift], dtype=float),
        y=np.array([mark[CONFIRMED]], dtype=float),
        marker=BAR,
        colour=BEST_COLOUR,
        spread=float(mark[CONFIRMED_SD]) if mark[CONFIRMED_N] > 1 else 0.0,
        notes=(f"{describe(mark)}, {mark[CONFIRMED_N]:.0f} other seeds: mean gain {mark[CONFIRMED]:+.4f}",),
    )


def best_gain(found: Findings) -> PlotData:
    """Gain of the best schedule of each depth over its control, on the seeds of its confirmations."""
    return PlotData(
        title="Gain over steps",
        note=SEEDS_NOTE,
        y_title=GAIN_TITLE,
        panels=arm_panels(gain_lines(found.results)),
        is_difference=True,
    )


def best_loss(found: Findings) -> PlotData:
    """Validation loss of the best schedule of each depth and of its control, on the seeds of its confirmations."""
    return PlotData(
        title="Validation loss over steps",
        note=SEEDS_NOTE,
        y_title=LOSS_TITLE,
        panels=arm_panels(arm_lines(found.results, names.EVAL_LOSS)),
    )


def trial_gain(found: Findings) -> PlotData:
    """Gain over steps of every trial of the search."""
    lines = trial_lines(found.results)
    return PlotData(
        title="Gain over steps, every trial of the search",
        note="On the search's seed. The control is the line at 0; the best schedule is thick. A circle marks the end "
        "of a trial that ASHA stopped. Point at a line to see its trial.",
        y_title=GAIN_TITLE,
        panels=tuple(_trial_panels(lines[lines[KIND].isin([GUIDED, BEST])], names.GAIN)),
        is_difference=True,
    )


def trial_loss(found: Findings) -> PlotData:
    """Validation loss over steps of every trial of the search and of its controls."""
    return PlotData(
        title="Validation loss, every trial of the search",
        note="Every trial of the search, and its control (grey).",
        y_title=LOSS_TITLE,
        panels=tuple(_trial_panels(trial_lines(found.results), names.EVAL_LOSS)),
    )


def _trial_panels(lines: pd.DataFrame, column: str) -> Iterator[Panel]:
    """A panel for each depth: control grey and thick, best schedule thick, others thin and coloured by schedule."""
    looks = schedule_looks(lines.loc[lines[KIND] == GUIDED, SCHEDULE])
    in_legend = {names.CONTROL: 0, BEST: 1, GUIDED: 2}
    schedules = list(looks)
    for layers, here in lines.groupby(LAYERS):
        trials = sorted(
            (trial for _, trial in here.groupby(TRIAL)),
            key=lambda trial: (
                in_legend[trial[KIND].iloc[0]],
                schedules.index(trial[SCHEDULE].iloc[0]) if trial[KIND].iloc[0] == GUIDED else 0,
            ),
        )
        winners = here[here[KIND] == BEST]
        first = here[names.STEP].min()
        ends = float(winners[TEACHER_STEPS].iloc[0]) if len(winners) else None
        yield Panel(
            title=plural(int(layers)),
            subtitle=describe(winners.iloc[0]) if len(winners) else "",
            lines=tuple(_trial_line(trial, column, looks) for trial in trials),
            best_ends=ends if ends is not None and ends >= first else None,
        )


def _trial_line(trial: pd.DataFrame, column: str, looks: dict[str, ScheduleLook]) -> Line:
    last = trial.iloc[-1]
    kind, schedule = last[KIND], last[SCHEDULE]
    if kind == names.CONTROL:
        label, legend, colour, width, front = "control", "control (no teacher)", CONTROL_COLOUR, 2.0, 1
    elif kind == BEST:
        label, legend, colour, width, front = f"best: {describe(last)}", BEST_LEGEND, BEST_COLOUR, 2.2, 2
    else:
        label, legend, colour, width, front = schedule, "", looks[schedule].colour, 0.9, 0
    return Line(
        label=label,
        legend=legend,
        x=trial[names.STEP].to_numpy(float),
        y=trial[column].to_numpy(float),
        colour=colour,
        width=width,
        opacity=1.0 if front else 0.75,
        front=front,
        stopped=bool(last[STATE] == names.STOPPED),
        trial=str(last[TRIAL]),
        state=str(last[STATE]),
    )


PLOTS: Final = (
    Plot(name="gain_by_schedule", make=gain_by_schedule),
    Plot(name="best_gain", make=best_gain, in_pictures=False, has_tail=True),
    Plot(name="best_curves", make=best_loss, in_pictures=False, has_tail=True),
    Plot(name="trial_gain", make=trial_gain, in_pictures=False, has_tail=True),
    Plot(name="curves", make=trial_loss, has_tail=True),
)
