"""Plots of a search in groups as data: the answer shows three arms and the teacher's own loss; no plot mixes arms."""

import shutil
from pathlib import Path

import pytest
from synthetic_groups import OWN_LOSS, final_loss, groups_run

from analysis.plots.group_plots import answer, search_loss
from analysis.results import Findings, read_findings
from analysis.summary import rebuild
from trainable import names
from trainable.record.files import read_json, write_json


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    return read_findings(groups_run(tmp_path_factory.mktemp("groups") / "run", layers=[1, 2]))


def test_the_answer_shows_control_best_rival_and_content_arm_and_the_teachers_own_loss(found: Findings) -> None:
    panels = answer(found).panels
    assert [panel.title for panel in panels] == ["1 layer", "2 layers"]
    for depth, panel in enumerate(panels, start=1):
        arms = [line.label for line in panel.lines]
        assert arms == ["control", "uniform", "bigram", "the teacher's own loss (Kneser-Ney estimate)"]
        for line in panel.lines[:3]:
            ends = [final_loss(line.label, depth, seed) for seed in (1, 2, 3)]
            assert line.y[-1] == pytest.approx(sum(ends) / 3)
            assert line.low is not None and line.high is not None
            assert (line.low[-1], line.high[-1]) == pytest.approx((min(ends), max(ends)))
        assert [line.ring for line in panel.lines] == [None, 40, 40, None]
        assert set(panel.lines[-1].y) == {OWN_LOSS} and panel.lines[-1].dash == "dash"


def test_the_answer_is_drawn_over_all_units_of_the_arms_it_shows_and_a_rival_without_a_teacher_has_no_ring(
    tmp_path: Path,
) -> None:
    """An arm with fewer seeds that is not drawn takes no unit from the arms that are drawn."""
    biased = {"control": {}, "control with bias": {"model.output_bias": "unigram"}, "bigram": {}}
    few = {"uniform": {"teacher.kind": "uniform"}}

    def end(arm: str, depth: int, seed: int) -> float:
        return final_loss({"control with bias": "control, unigram bias"}.get(arm, arm), depth, seed) + 0.1 * (
            arm == "uniform"
        )

    run = groups_run(tmp_path / "run", end, arms={**biased, **few})
    path = run / names.RUN_FILE
    record = read_json(path)
    next(group for group in record["spec"]["groups"] if group["name"] == "uniform")["seeds"] = [1]
    write_json(path, record)
    for folder in (run / names.TRIALS_FOLDER).glob("uniform-*-s[23]"):
        shutil.rmtree(folder)
    (panel,) = answer(read_findings(run)).panels
    lines = {line.label: line for line in panel.lines}
    assert list(lines)[:3] == ["control", "control with bias", "bigram"]
    for name in ("control", "control with bias", "bigram"):
        assert lines[name].units is not None and set(lines[name].units) == {3}
        assert "of 3 units" not in lines[name].legend
    assert (lines["control with bias"].ring, lines["bigram"].ring) == (None, 40)
    assert "teacher ends" not in lines["control with bias"].legend


def test_every_trial_of_the_search_is_in_the_panel_of_its_group(found: Findings) -> None:
    panels = search_loss(found).panels
    assert [panel.title for panel in panels] == [
        f"{depth}, {arm}" for depth in ("1 layer", "2 layers") for arm in ("control", "uniform", "bigram")
    ]
    for panel in panels:
        arm = panel.title.split(", ")[1]
        assert len(panel.lines) == 6 and all(line.trial.startswith(arm) for line in panel.lines)
        assert sum(line.front for line in panel.lines) == 1


def test_the_pictures_of_a_run_of_groups_are_drawn(tmp_path: Path) -> None:
    run = groups_run(tmp_path / "run")
    assert rebuild(run) == []
    drawn = {path.name for path in (run / "figures").iterdir()}
    assert {"answer.png", "curves.png", "curves_tail.png", "search.png", "train_loss.png"} <= drawn
