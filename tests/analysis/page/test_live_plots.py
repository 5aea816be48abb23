"""Curves of a live run: the losses in each trial's ledger, a grey control, and a limited number of points."""

from pathlib import Path

from comparisons import comparison
from synthetic_groups import groups_run

from analysis.page.live_plots import live_plots, thinned
from analysis.page.live_state import LiveRun
from analysis.plots.looks import CONTROL_COLOUR
from trainable import names
from trainable.record.ledger import read_reports
from trainable.record.run_files import run_files


def live(run: Path) -> LiveRun:
    found = LiveRun(run_files(run), "run")
    found.refresh()
    return found


def test_a_line_has_the_losses_of_its_ledger_and_the_controls_are_grey(tmp_path: Path) -> None:
    run = comparison(tmp_path / "run", seeds=1)
    drawn = live_plots(live(run))
    assert drawn["arms"] == [
        {"name": "none", "label": "control", "is_control": True},
        {"name": "linear 588", "label": "linear 588", "is_control": False},
    ]
    loss, gain = drawn["plots"]
    lines = {trace["name"]: trace for trace in loss["figures"][0]["figure"]["data"] if "hovertemplate" in trace}
    for label, trial in (("control", "none-L1-s0"), ("linear 588", "linear-T90-min0-L1-s0")):
        rows = read_reports(run / names.TRIALS_FOLDER / trial / names.LEDGER_FILE)
        assert lines[label]["y"] == [row[names.EVAL_LOSS] for row in rows]
        assert trial in lines[label]["hovertemplate"]
    assert lines["control"]["line"]["color"] == CONTROL_COLOUR != lines["linear 588"]["line"]["color"]
    assert {trace["name"] for trace in gain["figures"][0]["figure"]["data"]} == {"linear 588"}


def test_a_search_in_groups_has_a_panel_for_each_depth_and_part(tmp_path: Path) -> None:
    loss, _ = live_plots(live(groups_run(tmp_path / "run", layers=[1, 2])))["plots"]
    titles = {figure["title"] for figure in loss["figures"]}
    assert titles == {f"{depth}, {part}" for depth in ("1 layer", "2 layers") for part in ("search", "fresh seeds")}


def test_long_curves_are_thinned_but_keep_their_first_and_last_point() -> None:
    rows = [{names.STEP: step} for step in range(1000)]
    kept = [row[names.STEP] for row in thinned(rows, 20)]
    assert len(kept) == 20 and (kept[0], kept[-1]) == (0, 999) and kept == sorted(set(kept))
    assert thinned(rows, 1000) == rows
