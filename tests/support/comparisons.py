"""A comparison at one depth, and the content of its page."""

from pathlib import Path
from typing import Any

from synthetic_run import add_trial, spec, write_run

from analysis.page.html_page import groups, packed_plotly
from analysis.report import write_report
from analysis.results import read_findings
from trainable import names
from trainable.record.files import read_json, write_json

NONE = {0: 8.0, 60: 6.0, 120: 5.0}
LINEAR = {0: 8.0, 60: 6.2, 120: 4.8}


def comparison(run: Path, study: str = "schedule_types", arm: str = "linear 588", seeds: int = 3, **more: Any) -> Path:
    """A comparison at one depth: a control and a guided arm, 0.2 better at the end, 0.2 worse at step 60."""
    table = {"rows": "student", "smoothing": "mle", "bigrams": 9, "counted_tokens": 9, "eval_loss": 4.9}
    table |= {"checksum": "2" * 16, "blocks": "3" * 16}
    kept = spec(kind="comparison", arms=["none", arm], tuned=None, layers=None)
    write_run(run, study=study, spec=kept, tables={"0": table})
    for seed in range(seeds):
        shift = 0.1 * seed
        control, guided = ({s: v + shift for s, v in losses.items()} for losses in (NONE, LINEAR))
        name_arm(run, add_trial(run, names.CONTROL, control, seed=seed, **more), "none")
        linear = {"teacher__schedule": "linear", "teacher__steps": 90}
        name_arm(run, add_trial(run, names.ARM, guided, control=control, seed=seed, **linear | more), arm)
    return run


def name_arm(run: Path, trial: str, arm: str) -> None:
    path = run / names.TRIALS_FOLDER / trial / names.TRIAL_FILE
    write_json(path, read_json(path) | {"arm": arm})


def plan_all(run: Path) -> None:
    """Write all present trials into the plan of run.json, so that a trial removed later counts as missing."""
    record = read_json(run / names.RUN_FILE)
    files = sorted((run / names.TRIALS_FOLDER).glob(f"*/{names.TRIAL_FILE}"))
    record["spec"]["plans"] = [read_json(file) for file in files]
    write_json(run / names.RUN_FILE, record)


def page_of(run: Path) -> str:
    """The page without plotly.js."""
    return write_report(run).read_text(encoding="utf-8").replace(packed_plotly(), "")


def drawn(run: Path) -> dict[str, list[dict[str, Any]]]:
    """Title of a group -> its figures."""
    found = read_findings(run)
    shown = [*groups(found, opening=True), *groups(found, opening=False)]
    return {group.title: [one.figure for one in group.figures] for group in shown}


def line(figure: dict[str, Any], name: str) -> dict[str, Any]:
    found = [trace for trace in figure["data"] if trace["name"] == name and "hovertemplate" in trace]
    assert len(found) == 1
    return found[0]
