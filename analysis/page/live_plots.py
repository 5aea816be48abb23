"""Curves of a run that is under way: a line a trial, coloured by arm (controls grey), panels by depth and part."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from analysis.page.live_state import LiveRun
from analysis.page.live_trials import LiveTrial
from analysis.page.plotly import page_figures
from analysis.plots.looks import ARM_COLOURS, ARM_DASHES, CONTROL_COLOUR, arm_label
from analysis.plots.plot import GAIN_TITLE, LOSS_TITLE, Line, Panel, PlotData
from analysis.wording import plural
from trainable import names
from trainable.record.ledger import Row
from trainable.record.run_record import RunRecord

POINTS: Final = 20_000  # in all lines of a plot together; longer curves are thinned
FEWEST: Final = 20  # points that a line keeps, whatever the number of lines
NOTE: Final = (
    "Each trial is a line; controls are grey. A circle marks the end of a trial that ASHA stopped. The table has all "
    "trials."
)


def live_plots(live: LiveRun) -> dict[str, Any]:
    """The plots for the page (title, note, a figure for each panel), and the arms of their lines."""
    if live.record is None:
        return {"arms": [], "plots": []}
    data = (
        _plot(live, live.record, names.EVAL_LOSS, "Validation loss so far", LOSS_TITLE),
        _plot(live, live.record, names.GAIN, "Gain over the control so far", GAIN_TITLE),
    )
    looks = {arm: colour == CONTROL_COLOUR for arm, (colour, _) in arm_colours(live.record, live.trials).items()}
    return {
        "arms": [{"name": arm, "label": arm_label(arm, grey), "is_control": grey} for arm, grey in looks.items()],
        "plots": [
            {"title": one.title, "note": one.note, "figures": [vars(figure) for figure in page_figures(one)]}
            for one in data
            if one.panels
        ],
    }


def _plot(live: LiveRun, record: RunRecord, value: str, title: str, y_title: str) -> PlotData:
    """Plot of one value of the reports over steps; a plot of the gain leaves out controls, whose gain is 0."""
    is_gain = value == names.GAIN
    drawn = [trial for trial in live.trials if trial.reports and not (is_gain and trial.role == names.CONTROL)]
    colours = arm_colours(record, live.trials)
    most = max(FEWEST, POINTS // max(len(drawn), 1))
    panels: dict[tuple[int, str], list[Line]] = {}
    for trial in sorted(
        drawn, key=lambda trial: (trial.part, trial.layers, list(colours).index(trial.arm), trial.name)
    ):
        rows = thinned([row for row in trial.reports if row.get(value) is not None], most)
        panels.setdefault((trial.layers, trial.part), []).append(_line(trial, rows, value, colours[trial.arm]))
    return PlotData(
        title=title,
        note=NOTE,
        y_title=y_title,
        is_difference=is_gain,
        panels=tuple(Panel(title=_title(*key), lines=tuple(lines)) for key, lines in panels.items()),
    )


def _title(layers: int, part: str) -> str:
    return plural(layers) + (f", {part}" if part else "")


def _line(trial: LiveTrial, rows: Sequence[Row], value: str, look: tuple[str, Any]) -> Line:
    colour, dash = look
    is_control = colour == CONTROL_COLOUR
    return Line(
        label=arm_label(trial.arm, is_control),
        x=np.array([row[names.STEP] for row in rows], dtype=float),
        y=np.array([row[value] for row in rows], dtype=float),
        colour=colour,
        dash=dash,
        width=2.0 if is_control else 1.2,
        opacity=1.0 if trial.is_running else 0.75,
        front=int(is_control),
        stopped=trial.status.state == names.STOPPED and bool(rows),
        trial=trial.name,
        state=trial.status.state,
    )


def arm_colours(record: RunRecord, trials: Sequence[LiveTrial]) -> dict[str, tuple[str, Any]]:
    """Colour and dash of each arm: arms of controls first and grey, then the others in the order of the study."""
    grey = {trial.arm for trial in trials if trial.role == names.CONTROL} | set(record.arms[:1])
    listed = list(dict.fromkeys([*record.arms, *sorted(trial.arm for trial in trials)]))
    controls, others = [arm for arm in listed if arm in grey], [arm for arm in listed if arm not in grey]
    looks = {arm: (CONTROL_COLOUR, ARM_DASHES[i % len(ARM_DASHES)]) for i, arm in enumerate(controls)}
    count = len(ARM_COLOURS)
    return looks | {
        arm: (ARM_COLOURS[i % count], ARM_DASHES[i // count % len(ARM_DASHES)]) for i, arm in enumerate(others)
    }


def thinned(rows: Sequence[Row], most: int) -> Sequence[Row]:
    """At most `most` rows, evenly chosen, with the first and the last."""
    if len(rows) <= most:
        return rows
    return [rows[round(i * (len(rows) - 1) / (most - 1))] for i in range(most)]
