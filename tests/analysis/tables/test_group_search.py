"""Search in groups: the winner of each group, settings at an end of their range, planned trials, and the gate."""

from pathlib import Path

import pandas as pd
import pytest
from paths import ROOT
from synthetic_groups import OWN_LOSS, SEEDS, final_loss, groups_run, tables

from analysis.results import Findings, read_findings
from analysis.tables.arms import compare_arms
from analysis.tables.confirmations import confirmed
from analysis.tables.gate import gate_of
from analysis.tables.group_search import at_ends, rises, searched, winners
from analysis.tables.planned import missing_trials, pending, planned_by_role, planned_trials, search_lacks
from trainable import names


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    return read_findings(groups_run(tmp_path_factory.mktemp("groups") / "run", layers=[1, 2]))


def test_the_winner_is_the_finished_trial_of_a_group_with_the_lowest_loss_and_groups_keep_their_order(
    found: Findings,
) -> None:
    best = winners(found.results.trials, found.record)
    arms = ["control", "uniform", "bigram"]
    assert list(zip(best["model.layers"], best["arm"], strict=True)) == [(n, arm) for n in (1, 2) for arm in arms]
    assert set(best["optimizer.lr"]) == {0.003}
    tried = searched(found.results.trials)
    for row in best.to_dict("records"):
        own = tried[(tried["model.layers"] == row["model.layers"]) & (tried["arm"] == row["arm"])]
        assert row["eval_loss"] == own.loc[own["state"] == names.FINISHED, "eval_loss"].min()
        assert row["finished"] + row["stopped"] + row["others"] == len(own) == 6


def test_the_rise_of_a_winner_is_its_mean_on_fresh_seeds_less_its_search_loss(found: Findings) -> None:
    best, confirmations = winners(found.results.trials, found.record), confirmed(found.results, found.record).trials
    table = rises(best, confirmations)
    assert list(zip(table["model.layers"], table["arm"], strict=True)) == [
        (depth, arm) for depth in (1, 2) for arm in ("control", "uniform", "bigram")
    ]
    for row in table.to_dict("records"):
        arm, depth = row["arm"], row["model.layers"]
        losses = [final_loss(arm, depth, seed) for seed in SEEDS]
        assert row["rise"] == pytest.approx(sum(losses) / len(SEEDS) - final_loss(arm, depth, 0))
        assert (row["fresh_low"], row["fresh_high"]) == pytest.approx((min(losses), max(losses)))
    for _, own in table.groupby("model.layers"):
        assert own["excess"].median() == 0 and list(own["excess"]) == pytest.approx(own["rise"] - own["rise"].median())


def test_two_arms_have_no_excess_and_a_longer_confirmation_has_no_rise(found: Findings) -> None:
    best, confirmations = winners(found.results.trials, found.record), confirmed(found.results, found.record).trials
    assert rises(best[best["arm"] != "uniform"], confirmations)["excess"].isna().all()
    assert rises(best, confirmations.assign(**{"loop.steps": 10 * confirmations["loop.steps"]})).empty


def test_numbers_at_an_end_of_what_was_tried_are_named_but_not_0_nor_scheduling_steps_of_a_whole_run() -> None:
    space = {
        "teacher.schedule": ["linear", "step"],
        "teacher.steps": [40, 120],
        "teacher.min_weight": [0.0, 0.1],
        "optimizer.lr": [0.001, 0.003, 0.009],
    }
    winner = {"teacher.schedule": "linear", "teacher.min_weight": 0.0, "loop.steps": 120}

    def ends(lr: float, steps: int, *rates: float) -> list[str]:
        tried = pd.DataFrame({"optimizer.lr": [0.001, *rates], "teacher.steps": 40, "teacher.min_weight": 0.0})
        return at_ends(winner | {"optimizer.lr": lr, "teacher.steps": steps}, tried, space)

    assert ends(0.003, 120) == []
    assert ends(0.009, 40) == ["teacher.steps", "optimizer.lr"]
    assert ends(0.009, 120, 0.027) == []  # a higher rate was tried and lost


def test_a_whole_run_lacks_nothing(found: Findings) -> None:
    assert search_lacks(found) == [] and missing_trials(found) == []
    confirmations = confirmed(found.results, found.record).trials
    assert pending(confirmations, planned_trials(found.record)).empty
    assert planned_by_role(found) == {names.SEARCH: 36, names.CONTROL: 6, names.CONFIRM: 12}


def test_the_gate_takes_the_teachers_loss_on_the_reporting_half(found: Findings) -> None:
    compared = compare_arms(confirmed(found.results, found.record), found.record.arms)
    rows = compared[(compared["arm"] == "bigram")].to_dict("records")
    for row in rows:
        gate = gate_of(row, found.record)
        control = compared[(compared["arm"] == "control") & (compared["model.layers"] == row["model.layers"])]
        assert gate is not None and (gate.own_loss, gate.is_estimate, gate.passed) == (OWN_LOSS, True, True)
        assert gate.control_loss == pytest.approx(control["eval_loss"].item())


def test_a_teacher_with_an_infinite_loss_and_no_estimate_of_it_has_no_gate(tmp_path: Path) -> None:
    facts = tables()
    facts["bigram reporting"].pop("kneser_ney_loss")
    found = read_findings(groups_run(tmp_path / "run", tables=facts))
    compared = compare_arms(confirmed(found.results, found.record), found.record.arms)
    assert [gate_of(row, found.record) for row in compared.to_dict("records") if row["arm"] == "bigram"] == [None]


def test_every_n_gram_of_the_kept_teacher_order_has_the_gate_of_its_own_order() -> None:
    """The control passes the unigrams and the bigrams, and ends above the own losses of all longer n-grams."""
    found = read_findings(ROOT / "results" / "record" / "teacher_order_books")
    compared = compare_arms(confirmed(found.results, found.record), found.record.arms)
    gates = {gate.arm: gate for row in compared.to_dict("records") if (gate := gate_of(row, found.record))}
    own = {arm: round(gate.own_loss, 3) for arm, gate in gates.items()}
    assert own == {"unigram": 6.541, "bigram": 4.904, "trigram": 4.610, "4-gram": 4.588, "5-gram": 4.584}
    assert [arm for arm, gate in gates.items() if not gate.passed] == ["trigram", "4-gram", "5-gram"]
