"""Picture of an ASHA replay over the grace period: columns by depth (and arm), lines by reduction factor."""

from itertools import product
from typing import Any, Final

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from analysis.columns import ARM, LAYERS
from analysis.figures.style import PLAIN_TEXT
from analysis.tables.replay import FACTOR, GRACE, OUTCOME, REGRET, SPENT, SURVIVES
from analysis.wording import plural

FIGURE: Final = "asha_replay.png"
STYLES: Final = (
    ("#0072B2", "o", 8),
    ("#E69F00", "s", 6),
    ("#009E73", "^", 4),
    ("#CC79A7", "D", 3),
)  # one for each factor
LABELS: Final = {
    SPENT: "trial-steps spent\n(share)",
    SURVIVES: "best survives\n(chance)",
    REGRET: "regret\n(nats per token)",
}


@rc_context(PLAIN_TEXT)
def draw(table: pd.DataFrame, ends: dict[int, float]) -> Figure:
    """Draw share of steps, chance of survival and regret over the grace period, from a table of `replay`.

    ends: longest schedule of each depth in steps, drawn as a dotted line: rungs before it judge with the teacher on.
    """
    columns = [(plural(layers), rows) for layers, rows in table.groupby(LAYERS)]
    if ARM in table:
        columns = [(f"{plural(layers)}, {arm}", rows) for (layers, arm), rows in table.groupby([LAYERS, ARM])]
    figure = Figure(figsize=(1.5 + 3.6 * len(columns), 6.6), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(OUTCOME), len(columns), sharex=True, sharey="row", squeeze=False)
    for (row, measure), (column, (title, rows)) in product(enumerate(OUTCOME), enumerate(columns)):
        _draw_panel(panels[row][column], rows, measure, ends.get(int(rows[LAYERS].iloc[0]), np.nan))
        panels[row][0].set_ylabel(LABELS[measure])
        panels[0][column].set_title(title)
    figure.supxlabel("grace period (optimizer steps)", fontsize="medium")
    figure.legend(*panels[0][0].get_legend_handles_labels(), loc="outside upper center", ncols=2, frameon=False)
    return figure


def _draw_panel(axes: Axes, table: pd.DataFrame, measure: str, end: float) -> None:
    for number, (factor, line) in enumerate(table.groupby(FACTOR)):
        colour, marker, size = STYLES[number % len(STYLES)]
        look: dict[str, Any] = {"color": colour, "marker": marker, "markersize": size, "linewidth": size / 3}
        axes.plot(line[GRACE], line[measure], label=f"factor {factor}", **look)
    if np.isfinite(end):
        axes.axvline(end, color="#6E6E6E", linestyle=(0, (2, 2)), label="longest schedule ends")
    axes.grid(color="#E8E8E8")
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_ylim(bottom=0, top=1.05 if measure != REGRET else None)
