"""Plots of a search in groups: the answer in one picture, every arm over steps, every trial of each group.

All plots but the last show the confirmations (`analysis.tables.confirmations`). `PLOTS` lists the plots.
"""

from dataclasses import replace
from itertools import product
from typing import Final

import numpy as np
import pandas as pd

from analysis.columns import ARM, LAYERS, STATE, TRIAL
from analysis.plots.arm_plots import UNITS_NOTE, arm_panels, gain_by_arm, loss_by_arm, training_loss_by_arm
from analysis.plots.looks import BEST_COLOUR, CONTROL_COLOUR
from analysis.plots.plot import LOSS_TITLE, Line, Panel, Plot, PlotData
from analysis.results import Findings, Results
from analysis.tables.answer import BEST_RIVAL, CLASS, CONTENT_GAIN
from analysis.tables.arm_lines import ENDS, arm_lines
from analysis.tables.arms import compare_arms
from analysis.tables.confirmations import CONTENT, confirmed
from analysis.tables.gate import gate_of
from analysis.tables.group_search import searched, winners
from analysis.tables.planned import planned_trials
from analysis.wording import plural, setting_words
from trainable import names

SHOWN_FROM: Final = (
    0.2  # share of the run's steps before which nothing is shown: the first fall would flatten all differences
)
TEACHER_COLOUR: Final = "#000000"
TEACHER_LABEL: Final = "the teacher's own loss"


def answer(found: Findings) -> PlotData:
    """Control, best rival and best content arm of each depth on the fresh seeds, with the teacher's own loss."""
    confirmations, plans = confirmed(found.results, found.record), planned_trials(found.record)
    compared = compare_arms(confirmations, found.record.arms, None, plans)
    groups = dict(iter(compared.groupby(LAYERS))) if len(compared) else {}
    shown = {depth: _shown(rows) for depth, rows in groups.items()}

    def of_shown(trials: pd.DataFrame) -> pd.DataFrame:
        """The trials of the drawn arms, so that other arms with missing units do not change the means."""
        arms = zip(trials[LAYERS], trials[ARM], strict=True)
        return trials[[arm in shown.get(depth, ()) for depth, arm in arms]] if len(trials) else trials

    drawn = Results(of_shown(confirmations.trials), confirmations.curves)
    lines = arm_lines(drawn, names.EVAL_LOSS, found.record.arms, of_shown(plans))
    panels = []
    for panel, (depth, here) in zip(arm_panels(lines), lines.groupby(LAYERS), strict=True):
        arms = shown.get(depth, [])
        own = replace(panel, lines=tuple(line for line in panel.lines if line.label in arms))
        panels.append(_with_teacher(_late(own, here), groups[depth], arms, found) if arms else own)
    return PlotData(
        title="The answer",
        note=f"{UNITS_NOTE}; a ring shows where a teacher ends. Shown are the winners of their groups, on seeds and "
        "validation rows that chose nothing. Dashed: the teacher's own loss; a student below it has passed its "
        "teacher.",
        y_title=LOSS_TITLE,
        panels=tuple(panels),
    )


def _shown(rows: pd.DataFrame) -> list[str]:
    """Names of a depth's control, its content arm with the largest content gain (else gain), and its best rival."""
    contents = rows[rows[CLASS] == CONTENT]
    first = [str(rows[ARM].iloc[0])]
    if contents.empty:
        return first
    order = contents.sort_values([CONTENT_GAIN, names.GAIN], ascending=False).iloc[0]
    return first + ([order[BEST_RIVAL]] if order[BEST_RIVAL] else []) + [order[ARM]]


def _late(panel: Panel, lines: pd.DataFrame) -> Panel:
    """A panel cut to start at SHOWN_FROM, or at the last evaluation before the first end of a teacher, if earlier."""
    ends = lines[ENDS].min()
    start = SHOWN_FROM * float(lines[names.STEP].max())
    before = lines.loc[lines[names.STEP] <= (ends if np.isfinite(ends) else np.inf), names.STEP].max()
    start = min(start, float(before)) if before > 0 else start
    return replace(panel, lines=tuple(_cut(line, start) for line in panel.lines if (line.x >= start).any()))


def _cut(line: Line, start: float) -> Line:
    arrays = {name: getattr(line, name) for name in ("x", "y", "low", "high", "units")}
    return replace(line, **{name: array[line.x >= start] for name, array in arrays.items() if array is not None})


def _with_teacher(panel: Panel, rows: pd.DataFrame, shown: list[str], found: Findings) -> Panel:
    """A panel with a level line at the own loss of its content arm's teacher, where run.json has that loss."""
    content = rows[(rows[ARM] == shown[-1]) & (rows[CLASS] == CONTENT)].to_dict("records")
    gate = gate_of(content[0], found.record) if content else None
    if gate is None or not panel.lines:
        return panel
    x = panel.lines[0].x
    label = TEACHER_LABEL + (" (Kneser-Ney estimate)" if gate.is_estimate else "")
    level = Line(label=label, x=x, y=np.full(x.size, gate.own_loss), colour=TEACHER_COLOUR, width=1.0, dash="dash")
    return replace(panel, lines=(*panel.lines, level))


def search_loss(found: Findings) -> PlotData:
    """Validation loss over steps of every trial of the search, with a panel for each group."""
    tried, best = searched(found.results.trials), winners(found.results.trials, found.record)
    curves = found.results.curves
    curves = curves[np.isfinite(curves[names.EVAL_LOSS])]
    spaces = {group.name: tuple(group.space) for group in found.record.groups}
    panels = []
    for depth, arm in product(found.record.layers, found.record.arms):
        own = tried[(tried[LAYERS] == depth) & (tried[ARM] == arm)].set_index(TRIAL)
        reports = {str(trial): rows for trial, rows in curves[curves[TRIAL].isin(own.index)].groupby(TRIAL)}
        winner = {str(row[TRIAL]): row for _, row in best.iterrows()}
        lines = tuple(_trial(own.loc[trial], rows, trial in winner) for trial, rows in reports.items())
        first = next((winner[trial] for trial in reports if trial in winner), None)
        subtitle = "" if first is None else setting_words(first, spaces.get(arm, ()))
        if lines:
            panels.append(Panel(title=f"{plural(depth)}, {arm}", subtitle=subtitle, lines=lines))
    return PlotData(
        title="Every trial of the search",
        note="Each group has a panel, on the search's seed and the validation rows that choose. The best trial of a "
        "group is thick. A circle marks the end of a trial that ASHA stopped. Point at a line to see its trial.",
        y_title=LOSS_TITLE,
        panels=tuple(panels),
    )


def _trial(trial: pd.Series, reports: pd.DataFrame, is_best: bool) -> Line:
    return Line(
        label="best of its group" if is_best else "trial of the search",
        x=reports[names.STEP].to_numpy(float),
        y=reports[names.EVAL_LOSS].to_numpy(float),
        colour=BEST_COLOUR if is_best else CONTROL_COLOUR,
        width=2.2 if is_best else 0.9,
        opacity=1.0 if is_best else 0.75,
        front=int(is_best),
        stopped=bool(trial[STATE] == names.STOPPED),
        trial=str(trial.name),
        state=str(trial[STATE]),
    )


def _of(found: Findings) -> tuple[Results, tuple[str, ...], pd.DataFrame]:
    """Confirmations, arms and planned trials of a run, for the plots by arm."""
    return confirmed(found.results, found.record), found.record.arms, planned_trials(found.record)


ANSWER: Final = Plot(name="answer", make=answer, opens_page=True)
PLOTS: Final = (
    ANSWER,
    Plot(name="curves", make=lambda found: loss_by_arm(*_of(found)), has_tail=True),
    Plot(name="gain", make=lambda found: gain_by_arm(*_of(found)), in_pictures=False, has_tail=True),
    Plot(name="train_loss", make=lambda found: training_loss_by_arm(*_of(found)), on_page=False),
    Plot(name="search", make=search_loss, has_tail=True),
)
