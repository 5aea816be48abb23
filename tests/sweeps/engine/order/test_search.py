"""The order of trials, without Ray: pairs, turns, confirmations; what Optuna is told; a driver killed at any point."""

import json
import math
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState
from sweep_specs import (
    EVERY,
    STEPS,
    SimulatedTune,
    made_up_loss,
    new_run,
    no_stop,
    small_sweep,
    states,
    three_in_flight,
)

from sweeps.engine.order.search import DepthSearch, Record, SearchOrder
from sweeps.engine.specs.space import Choice, Range, points
from trainable import names
from trainable.plan import TrialPlan


@pytest.fixture(autouse=True)
def no_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of small files: no machine dies between them here."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


def simulated(folder: Path, slots: int = 2, **changes: Any) -> SimulatedTune:
    sweep = small_sweep(**changes)
    return SimulatedTune(folder=new_run(folder, sweep), sweep=sweep, slots=slots)


def of_role(plans: list[TrialPlan], role: str) -> list[TrialPlan]:
    return [plan for plan in plans if plan.role == role]


def study_states(search: SearchOrder, layers: int) -> Counter[TrialState]:
    return Counter(trial.state for trial in search._depths[layers]._study.trials)


# ---- the order ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slots", [1, 2, 5, 20])
def test_controls_of_the_search_come_first(tmp_path: Path, slots: int) -> None:
    tune = simulated(tmp_path, slots)
    tune.run()
    assert [plan.name for plan in tune.given[:2]] == ["none-L1-s0", "none-L2-s0"]


@pytest.mark.parametrize("slots", [1, 2, 5, 20])
def test_no_guided_trial_starts_before_its_control_has_finished(tmp_path: Path, slots: int) -> None:
    tune = simulated(tmp_path, slots)
    tune.run()
    guided = [plan for plan in tune.given if plan.role != names.CONTROL]
    assert len(guided) == 10
    assert all(plan.control in tune.started[plan.name] for plan in guided)


@pytest.mark.parametrize("search", ["optuna", "random", "grid"])
def test_every_depth_gets_num_samples_different_guided_trials(tmp_path: Path, search: str) -> None:
    tune = simulated(tmp_path, search=search, num_samples=18, confirm_seeds=())
    assert tune.run().exhausted
    guided = of_role(tune.given, names.SEARCH)
    assert Counter(plan.config.model.layers for plan in guided) == {1: 18, 2: 18}
    assert len({plan.name for plan in guided}) == 36


def test_depths_take_turns(tmp_path: Path) -> None:
    tune = simulated(tmp_path)
    tune.run()
    depths = [plan.config.model.layers for plan in of_role(tune.given, names.SEARCH)]
    assert all(abs(depths[:n].count(1) - depths[:n].count(2)) <= 1 for n in range(len(depths)))


@pytest.mark.parametrize("slots", [1, 3, 20])
def test_best_schedule_of_a_depth_is_confirmed_on_fresh_seeds_after_its_search(tmp_path: Path, slots: int) -> None:
    tune = simulated(tmp_path, slots, confirm_seeds=(4, 9))
    search = tune.run()
    confirmed = of_role(tune.given, names.CONFIRM)
    assert sorted((p.config.model.layers, p.config.seed) for p in confirmed) == [(1, 4), (1, 9), (2, 4), (2, 9)]
    for plan in confirmed:
        depth = plan.config.model.layers
        searched = {p.name for p in of_role(tune.given, names.SEARCH) if p.config.model.layers == depth}
        best = search._depths[depth].best()
        assert best is not None and plan.config.teacher == best.config.teacher
        assert searched <= set(tune.started[plan.name])
        assert plan.control == f"none-L{depth}-s{plan.config.seed}"


def test_best_is_the_finished_trial_of_largest_final_gain(tmp_path: Path) -> None:
    tune = simulated(tmp_path, search="grid", num_samples=18)
    best = tune.run()._depths[1].best()
    assert best is not None and best.name == "linear-T10-min0.1-L1-s0"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_trial_with_a_report_that_is_no_number_is_never_the_best(tmp_path: Path, value: float) -> None:
    """Its last loss is finite, and the lowest of all; a resumed search says the same."""
    spoilt = "linear-T10-min0.1-L1-s0"

    def loss(plan: TrialPlan, step: int) -> float:
        return value if plan.name == spoilt and step == EVERY else made_up_loss(plan, step)

    sweep = small_sweep(search="grid", num_samples=18, layers=(1,))
    tune = SimulatedTune(folder=new_run(tmp_path, sweep), sweep=sweep, loss=loss)
    for order in (tune.run(), tune.run()):
        best = order._depths[1].best()
        assert best is not None and best.name != spoilt
        assert order._records[spoilt].state == names.FAILED
        assert study_states(order, 1)[TrialState.FAIL] == 1


def test_grid_visits_every_point_once_in_its_order(tmp_path: Path) -> None:
    tune = simulated(tmp_path, search="grid", num_samples=18, layers=(1,), confirm_seeds=())
    tune.run()
    visited = [
        {key: getattr(plan.config.teacher, key.removeprefix("teacher.")) for key in tune.sweep.space}
        for plan in of_role(tune.given, names.SEARCH)
    ]
    assert visited == points(tune.sweep.space)


def test_same_search_seed_gives_the_same_trials_and_another_others(tmp_path: Path) -> None:
    def given(folder: str, seed: int) -> list[str]:
        tune = simulated(tmp_path / folder, 1, search_seed=seed)
        tune.run()
        return [plan.name for plan in tune.given]

    assert given("a", 1) == given("b", 1) != given("c", 2)


def test_tpe_finds_a_better_schedule_than_random_search_of_the_same_budget() -> None:
    space = {
        "teacher.schedule": Choice(("linear", "exponential", "reciprocal")),
        "teacher.steps": Range(1, 40, 1),
        "teacher.min_weight": Range(0.0, 1.0, 0.05),
    }

    def gain(plan: TrialPlan) -> float:
        teacher = plan.config.teacher
        return (teacher.schedule == "linear") - abs(teacher.steps - 13) / 40 - abs(teacher.min_weight - 0.3)

    def best_gain(search: str, seed: int) -> float:
        sweep = small_sweep(space=space, search=search, num_samples=40, search_seed=seed, asha=None)
        depth = DepthSearch(sweep, 1)
        for _ in range(40):
            plan = depth.propose()
            record = depth.records[plan.name]
            record.book({names.STEP: STEPS, names.GAIN: gain(plan), names.TIMESTAMP: 0.0})
            record.state = names.FINISHED
            depth.tell(record)
        best = depth.best()
        assert best is not None
        return gain(best)

    seeds = range(6)
    tpe, rand = [sum(best_gain(search, seed) for seed in seeds) / 6 for search in ("optuna", "random")]
    assert tpe > rand and tpe > 0.9  # of at most 1


# ---- ends --------------------------------------------------------------------------------------------------------


def test_trial_that_asha_stopped_is_pruned_in_the_study_and_never_the_best(tmp_path: Path) -> None:
    tune = simulated(tmp_path, layers=(1,), search="grid", num_samples=18, confirm_seeds=())
    best = "linear-T10-min0.1-L1-s0"
    tune.stopped[best] = 20
    search = tune.run()
    assert study_states(search, 1) == {TrialState.COMPLETE: 17, TrialState.PRUNED: 1}
    pruned = next(t for t in search._depths[1]._study.trials if t.state == TrialState.PRUNED)
    assert sorted(pruned.intermediate_values) == [0, 10, 20]
    assert tune.folder.status(best) == (names.STOPPED, "stopped by ASHA at step 20")
    plan = search._depths[1].best()
    assert plan is not None and plan.name != best


def test_failed_trial_is_fail_in_the_study_and_the_sweep_ends(tmp_path: Path) -> None:
    tune = simulated(tmp_path, layers=(1,), search="grid", num_samples=18, confirm_seeds=())
    tune.failing = frozenset({"linear-T10-min0.1-L1-s0"})
    search = tune.run()
    assert search.exhausted
    assert study_states(search, 1) == {TrialState.COMPLETE: 17, TrialState.FAIL: 1}
    assert states(tune.folder, names.FAILED) == ["linear-T10-min0.1-L1-s0"]


def test_depth_whose_control_failed_has_no_guided_trials_and_the_sweep_ends(tmp_path: Path) -> None:
    tune = simulated(tmp_path)
    tune.failing = frozenset({"none-L1-s0"})
    assert tune.run().exhausted
    guided = [plan for plan in tune.given if plan.role != names.CONTROL]
    assert {plan.config.model.layers for plan in guided} == {2} and len(guided) == 5


def test_worker_that_dies_too_often_fails_its_trial_with_the_reason(tmp_path: Path) -> None:
    sweep = small_sweep()
    folder = new_run(tmp_path, sweep)
    search = SearchOrder(sweep, folder, {}, no_stop, three_in_flight)
    search.suggest("a")
    search.on_trial_complete("a", error=True)
    assert folder.status("none-L1-s0")[0] == names.RUNNING, "it may be no failure of its own"
    search.fail("none-L1-s0", "MemoryError: too much")
    assert folder.status("none-L1-s0") == (names.FAILED, "MemoryError: too much")


def test_resumed_guided_trial_whose_control_failed_ends_as_failed(tmp_path: Path) -> None:
    """A control that was lost and fails when it is run again leaves a guided trial that could never go on."""
    tune = simulated(tmp_path)
    tune.run(events=14)
    guided = [plan.name for plan in of_role(tune.given, names.SEARCH) if plan.config.model.layers == 1]
    running = set(guided) & set(states(tune.folder, names.RUNNING))
    assert running
    (tune.folder.trial("none-L1-s0") / names.STATUS_FILE).unlink()
    (tune.folder.trial("none-L1-s0") / names.LEDGER_FILE).unlink()
    tune.failing = frozenset({"none-L1-s0"})
    assert tune.run().exhausted
    assert not states(tune.folder, names.RUNNING)
    for name in running:
        assert tune.folder.status(name) == (names.FAILED, "its control none-L1-s0 failed")


def test_interrupted_trial_stays_running_and_keeps_its_checkpoint(tmp_path: Path) -> None:
    sweep = small_sweep()
    folder = new_run(tmp_path, sweep)
    search = SearchOrder(sweep, folder, {}, no_stop, three_in_flight)
    search.suggest("a")
    checkpoint = folder.trial("none-L1-s0") / names.CHECKPOINT_FILE
    checkpoint.write_bytes(b"weights")
    search.on_trial_complete("a", {names.STEP: 10, names.GAIN: 0.0, names.TIMESTAMP: 1.7e9})
    assert folder.status("none-L1-s0")[0] == names.RUNNING
    assert checkpoint.exists() and not search.exhausted


def test_searcher_waits_rather_than_ends_while_trials_run(tmp_path: Path) -> None:
    sweep = small_sweep(confirm_seeds=(), layers=(1,))
    search = SearchOrder(sweep, new_run(tmp_path, sweep), {"key": "sum"}, no_stop, three_in_flight)
    config = search.suggest("a")
    assert isinstance(config, dict)
    assert (config["name"], config["checksums"]) == ("none-L1-s0", {"key": "sum"})
    assert json.loads(json.dumps(config)) == config  # plain values only, no object reference
    assert search.suggest("b") is None and not search.exhausted


# ---- resumption --------------------------------------------------------------------------------------------------


def test_resumed_searcher_continues_unfinished_trials_first(tmp_path: Path) -> None:
    tune = simulated(tmp_path, 2)
    tune.run(events=13)
    unfinished = states(tune.folder, names.RUNNING)
    assert unfinished
    before = len(tune.given)
    tune.run(events=1)
    assert {plan.name for plan in tune.given[before : before + len(unfinished)]} == set(unfinished)


@pytest.mark.parametrize("search", ["optuna", "random", "grid"])
@pytest.mark.parametrize("slots", [1, 3])
def test_driver_killed_at_any_point_loses_nothing_and_repeats_nothing(tmp_path: Path, search: str, slots: int) -> None:
    num_samples = 4 if search != "grid" else 6
    space = {"teacher.schedule": Choice(("linear", "reciprocal")), "teacher.steps": Range(5, 15, 5)}
    changes = {"search": search, "num_samples": num_samples, "space": space}
    whole = simulated(tmp_path / "whole", slots, **changes)
    whole.run()
    expected = states(whole.folder, names.FINISHED)
    assert len(expected) == whole.sweep.trials
    for kill in range(0, 5 * len(expected) + 1, 2 if search == "optuna" else 5):
        tune = simulated(tmp_path / f"{kill}", slots, **changes)
        tune.run(events=kill)
        done = set(states(tune.folder, names.FINISHED))
        before = len(tune.given)
        resumed = tune.run()
        again = [plan.name for plan in tune.given[before:]]
        assert resumed.exhausted and not states(tune.folder, names.RUNNING)
        assert not done & set(again) and len(again) == len(set(again))
        finished = [plan for plan, state, _ in tune.folder.trials() if state == names.FINISHED]
        assert Counter((p.role, p.config.model.layers) for p in finished) == Counter(
            {(names.CONTROL, d): 2 for d in (1, 2)}
            | {(names.SEARCH, d): num_samples for d in (1, 2)}
            | {(names.CONFIRM, d): 1 for d in (1, 2)}
        )


def test_resumed_study_knows_what_the_first_one_learnt(tmp_path: Path) -> None:
    tune = simulated(tmp_path, layers=(1,), search="grid", num_samples=18, confirm_seeds=())
    tune.stopped["linear-T10-min0-L1-s0"] = 20
    tune.failing = frozenset({"linear-T20-min0-L1-s0"})
    first = tune.run()
    second = SearchOrder(tune.sweep, tune.folder, {}, no_stop, three_in_flight)
    assert second.suggest("x") == "FINISHED" and second.exhausted and second.ended == 19

    def known(search: SearchOrder) -> list[Any]:
        trials = search._depths[1]._study.trials
        return sorted((sorted(map(str, t.params.items())), t.state.name, t.values or []) for t in trials)

    assert known(second) == known(first)


def test_searcher_proposes_no_more_trials_than_may_be_in_flight(tmp_path: Path) -> None:
    """What is proposed early has learnt less."""
    sweep = small_sweep(confirm_seeds=(), layers=(1, 2, 3, 4))
    search = SearchOrder(sweep, new_run(tmp_path, sweep), {}, no_stop, three_in_flight)
    given = [search.suggest(str(number)) for number in range(4)]
    assert [isinstance(config, dict) for config in given] == [True, True, True, False]
    assert not search.exhausted
    end = {names.STEP: sweep.base.loop.steps, names.GAIN: 0.0, names.TIMESTAMP: 1.7e9}
    search.on_trial_complete("0", end)
    assert isinstance(search.suggest("5"), dict)


def test_record_without_reports_has_ended_at_no_step() -> None:
    plan = TrialPlan(name="a", role=names.CONTROL, control="a", config=small_sweep().base)
    record = Record(plan=plan)
    assert (record.last_step, record.ended) == (-1, False)
