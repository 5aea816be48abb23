"""The report of a run as one HTML page that needs no network: the summary's words and tables, and interactive plots.

    python -m analysis.report results/schedule_types/my_run [--out report.html]
    python -m analysis.report results/schedule_types/my_run --serve [--port 8080]

With `--serve` nothing is written: the page is served on 127.0.0.1, and shows the trials live during the run.

The page loads nothing else, so it can be mailed or kept with the run (about 0.6 MB; the same run gives the same bytes).
Its text and tables are those of summary.md. Where the study repeats a published one, a plot shows both.
"""

import sys
from pathlib import Path
from typing import Annotated, Final

import tyro

from analysis.command import RunPath, files_of, run_command, shown, write_or_say
from analysis.page.html_page import page
from analysis.page.server import address_of, listening
from analysis.page.server import serve as serve_page
from analysis.results import Findings, read_findings
from trainable.errors import require
from trainable.record.files import atomic_file
from trainable.record.option import option
from trainable.record.run_record import read_record

REPORT_FILE: Final = "report.html"


def write_report(run: Path, out: Path | None = None, called: str = "") -> Path:
    """Write the page of a run folder (atomically; default RUN/report.html) and return its path.

    called: name of the folder on the page, if not its path. Raises InputError if the folder is not a run.
    """
    return write_page(read_findings(Path(run), called), out)


def write_page(found: Findings, out: Path | None = None) -> Path:
    """Write the page of a run that has been read, as `write_report` does."""
    target = found.folder / REPORT_FILE if out is None else Path(out)
    text = page(found, target.parent)
    with atomic_file(target, "w") as stream:
        stream.write(text)
    return target


def main(
    run: Annotated[RunPath, tyro.conf.Positional],
    out: Annotated[Path | None, option("PATH", "report.html in the run folder")] = None,
    serve: bool = False,
    port: Annotated[int | None, option("INT", "the first free one from 8080 on")] = None,
) -> None:
    """Write the report of a run as one HTML page that needs no network, or serve a page that shows the run live.

    Args:
        run: a run folder, such as results/schedule_types/my_run
        out: file of the page
        serve: write nothing; show the run on 127.0.0.1 until Ctrl-C: live during the run, its report afterwards
        port: port of the page that --serve shows
    """
    require(serve or port is None, "--port says where --serve shows the page: add --serve, or leave --port out.")
    require(not (serve and out), "--serve writes no file: leave out --out, or --serve.")
    if serve:
        with listening(port) as listener:
            read_record(run)
            print(f"{address_of(listener)} shows {shown(run)}, on this machine alone; Ctrl-C ends it.", flush=True)
            serve_page(listener, files_of(run), shown(run))
        return
    target = out or run / REPORT_FILE
    require(not target.is_dir(), f"--out {out} is a folder: name a file in it, such as {REPORT_FILE}.")
    if not write_or_say(target, lambda path: write_report(run, path, shown(run)), "--out FILE"):
        sys.exit(2)
    print(shown(target))


if __name__ == "__main__":
    run_command(main, "report")
