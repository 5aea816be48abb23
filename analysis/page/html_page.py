"""The page around the plots: `report.html.jinja`, which escapes all that it is given, and plotly.js, compressed.

`plotly-basic.min.js` is plotly.js 4.1.1 (MIT licence: its first lines and `plotly-basic.LICENSE`), the bundle that has
scatter, bar and pie alone. It is the npm package plotly.js-basic-dist-min; to renew it, copy both files from what
`npm pack plotly.js-basic-dist-min` unpacks to, and run the tests of the page where Chromium is.
"""

import os
import zlib
from base64 import b64encode
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from analysis.columns import ARM, FOLDS, ROLE
from analysis.page.plot_groups import groups
from analysis.sections.document import Section
from analysis.sections.run_sections import LEAK, Run
from analysis.sections.summary_sections import sections
from trainable import names

TEMPLATE: Final = "report.html.jinja"
PLOTLY: Final = Path(__file__).with_name("plotly-basic.min.js")
OPENING: Final = ("Question", "Verdict", "Setting")  # titles of sections, in the order of the page
PROBE: Final = "LEAK PROBE"  # how the status of a run starts in which a teacher knows validation rows
CLOSING: Final = ("Not controlled", "Where things are")


def page(run: Run, folder: Path) -> str:
    """The page; its links are relative to `folder`."""
    written = sections(run)
    record = run.record
    dates = [f"{key} {record[key]}" for key in ("created", "ended") if record.get(key)]
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template(TEMPLATE).render(
        title=f"{record['study']}: {record['run']}",
        subtitle=", ".join(dates),
        opening=_titled(written, OPENING),
        middle=[section for section in written if section.title not in (*OPENING, *CLOSING)],
        closing=_titled(written, CLOSING),
        groups=groups(run),
        leak=leak_status(run),
        leaks=leak_status(run).startswith(PROBE),
        links=links(run.folder, folder),
        plotly=packed_plotly(),
    )


def packed_plotly() -> str:
    """plotly.js as the page holds it: zlib's format, which DecompressionStream calls "deflate", in base64."""
    return b64encode(zlib.compress(PLOTLY.read_bytes(), level=9)).decode("ascii")


def _titled(written: Iterable[Section], titles: Sequence[str]) -> list[Section]:
    return sorted((section for section in written if section.title in titles), key=lambda s: titles.index(s.title))


def leak_status(run: Run) -> str:
    """Whether a teacher of this run has counted rows that validate, from the setting teacher.rows of each trial."""
    trials = run.results.trials
    guided = trials[trials[ROLE] != names.CONTROL]
    counted, leaking = set(guided["teacher.rows"]), guided[guided["teacher.rows"] == "all"]
    arms = sorted(set(leaking[ARM])) if ARM in trials else []
    if len(leaking) == len(guided) > 0 or "" in arms or (len(leaking) and not arms):
        return LEAK
    if not counted:
        return "No leak: no trial of this run has a teacher."
    known = {"student": "the rows that the student trains on", "train_split": "rows of the training split"}
    folds = " Each fold has a table of its own, without the fold's rows." if run.settings[FOLDS] else ""
    which = " or ".join(known[rows] for rows in sorted(counted - {"all"}))
    if arms:
        return (
            f"{PROBE} in {', '.join(arms)}: that teacher has counted the validation rows too, so its gain does not say "
            f"that a teacher helps. The other teachers counted only {which}.{folds}"
        )
    return f"No leak: teachers counted only {which}; none of the validation rows were counted.{folds}"


def links(run: Path, folder: Path) -> list[tuple[str, str]]:
    """Name and address, relative to `folder`, of what there is in a run folder."""
    tables = (names.SUMMARY_FILE, names.RUN_FILE, names.TRIALS_TABLE, names.CURVES_TABLE, names.RUNGS_FILE)
    pictures = sorted(f"{names.FIGURES_FOLDER}/{path.name}" for path in (run / names.FIGURES_FOLDER).glob("*.png"))
    there = [name for name in (*tables, *pictures, names.TRIALS_FOLDER) if (run / name).exists()]
    base = Path(os.path.relpath(run.resolve(), folder.resolve())).as_posix()
    return [(name, quote(f"{base}/{name}".removeprefix("./"))) for name in there]
