"""The report as an HTML page: `report.html.jinja`, which escapes its values, and plotly.js in compressed form.

`plotly-basic.min.js` is plotly.js 4.1.1 (MIT licence: see its first lines and `plotly-basic.LICENSE`), in the bundle
that has only scatter, bar and pie plots. It comes from the npm package plotly.js-basic-dist-min. To update it, copy
both files from the output of `npm pack plotly.js-basic-dist-min`, and run the tests of the page on a machine with
Chromium.
"""

import os
import zlib
from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from analysis.kinds import plots, sections
from analysis.page.plotly import PageFigure, page_figures
from analysis.plots.plot import Plot
from analysis.results import Findings
from analysis.sections.document import Section, Subject
from analysis.sections.run_sections import leak_status
from trainable import names

TEMPLATE: Final = "report.html.jinja"
OPENING: Final[tuple[Subject, ...]] = ("verdict",)  # first on the page, above its picture
SECOND: Final[tuple[Subject, ...]] = ("question", "setting")  # after that picture, in this order
CLOSING: Final[tuple[Subject, ...]] = ("not controlled", "files")
PLOTLY: Final = Path(__file__).with_name("plotly-basic.min.js")


@dataclass(frozen=True)
class Group:
    """A plot on the page: a title, and a figure for each panel."""

    title: str
    note: str
    figures: tuple[PageFigure, ...]
    has_tail: bool
    is_warning: bool = False  # whether the plot could not be drawn; `note` has the reason


def page(found: Findings, folder: Path) -> str:
    """The page as HTML; its links are relative to `folder`."""
    written = sections(found)
    record = found.record
    dates = [f"{key} {date}" for key, date in (("created", record.created), ("ended", record.ended)) if date]
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template(TEMPLATE).render(
        title=f"{record.study}: {record.run}",
        question=record.question,
        subtitle=", ".join(dates),
        opening=_about(written, OPENING),
        middle=_about(written, SECOND) + [one for one in written if one.subject not in (*OPENING, *SECOND, *CLOSING)],
        closing=_about(written, CLOSING),
        first=groups(found, opening=True),
        groups=groups(found, opening=False),
        leak=leak_status(found),
        links=links(found.folder, folder),
        plotly=packed_plotly(),
    )


def groups(found: Findings, opening: bool) -> list[Group]:
    """The plots that open the page, or all others. A plot that fails is replaced by the reason."""
    shown = [plot for plot in plots(found) if plot.on_page and plot.opens_page == opening]
    return [group for plot in shown for group in _group(plot, found)]


def _group(plot: Plot, found: Findings) -> Iterator[Group]:
    try:
        if data := plot.make(found):
            yield Group(data.title, data.note, page_figures(data), plot.has_tail)
    except Exception as error:
        reason = f"Could not be drawn ({type(error).__name__}: {error})."
        yield Group(plot.name, reason, (), has_tail=False, is_warning=True)


def _about(written: Iterable[Section], subjects: Sequence[Subject]) -> list[Section]:
    return sorted((one for one in written if one.subject in subjects), key=lambda one: subjects.index(one.subject))


def packed_plotly() -> str:
    """plotly.js for the page: zlib's format, which DecompressionStream calls "deflate", in base64."""
    return b64encode(zlib.compress(PLOTLY.read_bytes(), level=9)).decode("ascii")


def links(run: Path, folder: Path) -> list[tuple[str, str]]:
    """Name and address (relative to `folder`) of each existing file of a run folder."""
    tables = (names.SUMMARY_FILE, names.RUN_FILE, names.TRIALS_TABLE, names.CURVES_TABLE, names.RUNGS_FILE)
    pictures = sorted(f"{names.FIGURES_FOLDER}/{path.name}" for path in (run / names.FIGURES_FOLDER).glob("*.png"))
    there = [name for name in (*tables, *pictures, names.TRIALS_FOLDER) if (run / name).exists()]
    base = Path(os.path.relpath(run.resolve(), folder.resolve())).as_posix()
    return [(name, quote(f"{base}/{name}".removeprefix("./"))) for name in there]
