"""Display of `Results` in a notebook or at a prompt: short tables, the best settings, and plots of the page.

    results = trainable.load("results/schedule_search/my_run")
    results
    results.best()
    results.plot("curves")

Choices and plots are those of the run's page and pictures.
"""

import html
from typing import TYPE_CHECKING, Any, Final

import pandas as pd

from analysis.columns import ARM, LAYERS, ROLE, STATE, TRIAL
from analysis.results import Findings, Results
from trainable import names
from trainable.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TRIAL_COLUMNS: Final = (TRIAL, ROLE, ARM, STATE, LAYERS, names.STEP, names.EVAL_LOSS, names.GAIN)
CURVE_COLUMNS: Final = (TRIAL, names.STEP, names.EVAL_LOSS, names.TRAIN_LOSS, names.GAIN, names.TEACHER_WEIGHT)
TRIAL_ROWS, CURVE_ROWS = 10, 6  # rows of each table that are shown
TAIL_ENDING: Final = "_tail"
LOOK: Final[dict[str, Any]] = {"index": False, "na_rep": "-", "float_format": "{:.4f}".format}


def best(found: Findings) -> pd.DataFrame:
    """The best settings of a run."""
    from analysis.kinds import best_settings  # here, because it imports the modules that make reports

    return best_settings(found)


def figure(found: Findings, name: str | None) -> "Figure":
    """A plot of a run as a picture. name: of a picture; None: the plot that opens the page."""
    from analysis.figures.draw import draw  # imports matplotlib
    from analysis.kinds import plots
    from analysis.plots.plot import tail

    listed = plots(found)
    named = {plot.name: (plot, False) for plot in listed}
    named |= {plot.name + TAIL_ENDING: (plot, True) for plot in listed if plot.has_tail}
    if name is None:
        name = next((plot.name for plot in listed if plot.opens_page), listed[0].name)
    plot, is_tail = named.get(name, (None, False))
    data = None if plot is None else plot.make(found)
    if data is None:
        known = ", ".join(name for name, (plot, _) in sorted(named.items()) if plot.make(found) is not None)
        raise InputError(f"{found.called} has no plot {name!r}: choose one of {known}.")
    return draw(tail(data) if is_tail else data)


def as_text(results: Results) -> str:
    """The first and last rows of both tables as text."""
    parts = [f"{title}\n{shown.to_string(max_rows=rows, **LOOK)}" for title, shown, rows in _parts(results)]
    return "\n\n".join([_heading(results), *parts, _more(results)])


def as_html(results: Results) -> str:
    """The first and last rows of both tables as HTML."""
    parts = [
        f"<p>{html.escape(title)}</p>{shown.to_html(max_rows=rows, border=0, **LOOK)}"
        for title, shown, rows in _parts(results)
    ]
    heading, more = (html.escape(text) for text in (_heading(results), _more(results)))
    return f"<p><b>{heading}</b></p>{''.join(parts)}<p>{more}</p>"


def _heading(results: Results) -> str:
    return f"Results of {results.called}" if results.called else "Results"


def _parts(results: Results) -> list[tuple[str, pd.DataFrame, int]]:
    """Return (title, main columns, number of rows to show) for each table."""
    parts = []
    for called, table, columns, rows in (
        ("trials, a row a trial", results.trials, TRIAL_COLUMNS, TRIAL_ROWS),
        ("curves, a row a report", results.curves, CURVE_COLUMNS, CURVE_ROWS),
    ):
        shown = table[[name for name in columns if name in table]]
        title = f"{called}: {len(table):,} rows, {shown.shape[1]} of {table.shape[1]} columns"
        parts.append((title, shown, rows))
    return parts


def _more(results: Results) -> str:
    whole = "Whole tables: .trials, .curves"
    return f"{whole}; the best settings: .best(); plots: .plot()" if results.run is not None else whole
