"""Common style of all pictures (axes, legends, colours of the minimum weight), and functions to save and show them."""

import io
from pathlib import Path
from typing import IO, Any, Final

from matplotlib import rc_context, rcParamsDefault
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from analysis.plots.looks import MIN_WEIGHT_COLOURS
from trainable.record.files import atomic_file

DPI, NOTEBOOK_DPI = 150, 100  # of files, and of pictures in a notebook
# matplotlib's default settings instead of those of any matplotlibrc; a dollar sign in a name does not start a formula.
PLAIN_TEXT: Final[dict[Any, Any]] = {
    **{name: value for name, value in rcParamsDefault.items() if not name.startswith("backend")},
    "text.parse_math": False,
    "text.usetex": False,
}
MIN_WEIGHT_MAP: Final[Colormap] = LinearSegmentedColormap.from_list("minimum weights", MIN_WEIGHT_COLOURS)
GRID_COLOUR, TEXT_COLOUR, AXIS_COLOUR = "#E8E8E8", "#333333", "#999999"


class Picture(Figure):
    """A figure that a notebook shows, also without matplotlib's backend for notebooks."""

    def _repr_png_(self) -> bytes:
        stream = io.BytesIO()
        write_png(self, stream, NOTEBOOK_DPI)
        return stream.getvalue()


def save(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG, atomically."""
    with atomic_file(path) as stream:
        write_png(figure, stream, DPI)
    return path


@rc_context(PLAIN_TEXT)
def write_png(figure: Figure, stream: IO[bytes], dpi: int) -> None:
    """Write a figure as PNG into a stream."""
    layout = figure.get_layout_engine()
    if layout is not None:  # once: `savefig` would draw the figure twice, and lay it out each time
        layout.execute(figure)
        figure.set_layout_engine("none")
    figure.savefig(stream, format="png", dpi=dpi, facecolor="white")
    figure.set_layout_engine(layout)


def dress(axes: Axes) -> None:
    """Give axes a light grid, no frame and small ticks."""
    axes.grid(color=GRID_COLOUR, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(AXIS_COLOUR)
    axes.tick_params(labelsize=8, color=AXIS_COLOUR, labelcolor=TEXT_COLOUR)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, steps=[1, 2, 5, 10]))


def nothing_to_show(axes: Axes) -> None:
    """Write into empty axes that there is nothing to show yet."""
    axes.set(xticks=[], yticks=[])
    axes.text(0.5, 0.5, "nothing to show yet", transform=axes.transAxes, ha="center", color=TEXT_COLOUR)


def handle(label: str, **look: Any) -> Line2D:
    """A legend entry."""
    return Line2D([], [], label=label, **look)


def legend_below(figure: Figure, handles: list[Line2D]) -> None:
    """Put a legend below the panels, in as many columns (at most 4) as the figure is wide enough for."""
    look: dict[str, Any] = {"loc": "outside lower center", "frameon": False, "fontsize": 8, "labelcolor": TEXT_COLOUR}
    renderer = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]
    for columns in (4, 3, 2, 1) if handles else ():
        legend = figure.legend(handles=handles, ncols=columns, columnspacing=1.4, **look)
        if columns == 1 or legend.get_window_extent(renderer).width <= figure.bbox.width:
            return
        legend.remove()
