"""The order of a search's trials, without Ray: groups, confirmations, Optuna's studies, and a killed driver."""

import json
import math
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState
from sweep_specs import (
    BEST_BIGRAM,
    BEST_CONTROL,
    EVERY,
    REFERENCE,
    STEPS,
    Loss,
    SimulatedTune,
    made_up_loss,
    new_run,
    no_stop,
    small_arms,
    small_sweep,
    states,
    three_in_flight,
)

from sweeps.engine.order.search import GroupSearch, Record, SearchOrder
from sweeps.engine.specs.space import Range, levels, points
from trainable import names
from trainable.config import flatten
from trainable.plan import TrialPlan

BIGRAM = (1, "bigram")


@pytest.fixture(autouse=True)
def no_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Turn fsync off: the tests write thousands of small files, and no test simulates a crash of the machine."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


def simulated(folder: Path, slots: int = 2, loss: Loss = made_up_loss, **changes: Any) -> SimulatedTune:
    sweep = small_sweep(**changes)
    return SimulatedTune(folder=new_run(folder, sweep), sweep=sweep, slots=slots, loss=loss)


def searched(plans: list[TrialPlan], arm: str | None = None) -> list[TrialPlan]:
    """Trials with the seed of the search, of one arm or of all arms."""
    return [plan for plan in plans if plan.config.seed == 0 and arm in (None, plan.arm)]


def confirmations(plans: list[TrialPlan]) -> list[TrialPlan]:
    """Trials with another seed than that of the search."""
    return [plan for plan in plans if plan.config.seed != 0]


def group(plan: TrialPlan) -> tuple[int, str]:
    return plan.config.model.layers, plan.arm


def study_states(search: SearchOrder, key: tuple[int, str]) -> Counter[TrialState]:
    return Counter(trial.state for trial in search._groups[key]._study.trials)


# ---- the order ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slots", [1, 2, 5, 20])
def test_reference_controls_come_first(tmp_path: Path, slots: int) -> None:
    tune = simulated(tmp_path, slots)
    tune.run()
    assert [plan.name for plan in tune.given[:2]] == [REFERENCE.format(1), REFERENCE.format(2)]
    assert [plan.role for plan in tune.given[:2]] == [names.CONTROL, names.CONTROL]


@pytest.mark.parametrize("slots", [1, 2, 5, 20])
def test_no_trial_starts_before_its_control_has_finished(tmp_path: Path, slots: int) -> None:
    """A searched trial waits for the reference control, a confirmation for the control's confirmation on its seed."""
    tune = simulated(tmp_path, slots, arms=small_arms((1, 2)))
    tune.run()
    paired = [plan for plan in tune.given if plan.role != names.CONTROL]
    assert len(paired) == 2 * ((3 + 4 + 4) + 2 * 2)
    assert all(plan.control in tune.started[plan.name] for plan in paired)


@pytest.mark.parametrize("search", ["optuna", "random", "grid"])
@pytest.mark.parametrize("num_samples", [8, 12])
def test_every_group_gets_the_same_number_of_different_trials_or_its_whole_space(
    tmp_path: Path, search: str, num_samples: int
) -> None:
    tune = simulated(tmp_path, search=search, num_samples=num_samples, arms=small_arms(()), layers=(1, 3))
    assert tune.run().exhausted
    teachers = 12 if search == "grid" else num_samples
    for layers in (1, 3):
        given = Counter(plan.arm for plan in tune.given if plan.config.model.layers == layers)
        assert given == {"control": 6, "uniform": teachers, "bigram": teachers}
    assert len({plan.name for plan in tune.given}) == len(tune.given)


def test_groups_take_turns(tmp_path: Path) -> None:
    tune = simulated(tmp_path, search="random", num_samples=6)
    tune.run()
    order = [group(plan) for plan in searched(tune.given)]
    keys = [one.key for one in tune.sweep.groups]
    for n in range(2, len(order)):
        counts = [order[:n].count(key) for key in keys]
        assert max(counts) - min(counts) <= 1


def test_searched_trials_read_the_choosing_half_and_confirmations_the_reporting_half(tmp_path: Path) -> None:
    tune = simulated(tmp_path)
    tune.run()
    assert {plan.config.corpus.eval_half for plan in searched(tune.given)} == {"choosing"}
    assert {plan.config.corpus.eval_half for plan in confirmations(tune.given)} == {"reporting"}


@pytest.mark.parametrize("slots", [1, 3, 20])
def test_winner_of_every_group_runs_on_the_arms_own_seeds_after_its_search(tmp_path: Path, slots: int) -> None:
    control, uniform, _ = small_arms((4, 9))
    _, _, bigram = small_arms((9,))
    tune = simulated(tmp_path, slots, arms=(control, uniform, bigram))
    search = tune.run()
    expected = [(d, *c) for d in (1, 2) for c in [("control", 4), ("control", 9), ("uniform", 4), ("uniform", 9)]]
    assert sorted((*group(plan), plan.config.seed) for plan in confirmations(tune.given)) == sorted(
        [*expected, (1, "bigram", 9), (2, "bigram", 9)]
    )
    for plan in confirmations(tune.given):
        best = search._groups[group(plan)].best()
        assert best is not None
        ours, theirs = flatten(plan.config), flatten(best.config)
        assert {key for key in ours if ours[key] != theirs[key]} == {"seed", "corpus.eval_half"}
        assert {other.name for other in searched(tune.given) if group(other) == group(plan)} <= set(
            tune.started[plan.name]
        )


def test_winner_of_the_controls_group_is_the_control_of_all_confirmations(tmp_path: Path) -> None:
    """The winner need not be the reference control, against which gains within the search are taken."""
    tune = simulated(tmp_path, search="grid", arms=small_arms((1, 2)))
    tune.run()
    by_name = {plan.name: plan for plan in tune.given}
    for plan in confirmations(tune.given):
        layers, arm = group(plan)
        assert plan.control == BEST_CONTROL.format(layers).replace("-s0", f"-s{plan.config.seed}")
        assert plan.role == (names.CONTROL if arm == "control" else names.CONFIRM)
        assert by_name[plan.control].role == names.CONTROL
    for plan in searched(tune.given):
        assert plan.control == REFERENCE.format(plan.config.model.layers)
        assert plan.role == (names.CONTROL if plan.name == plan.control else names.SEARCH)


def test_without_seeds_nothing_is_confirmed(tmp_path: Path) -> None:
    tune = simulated(tmp_path, arms=small_arms(()))
    assert tune.run().exhausted and confirmations(tune.given) == []


def test_best_is_the_finished_trial_with_the_largest_final_gain(tmp_path: Path) -> None:
    search = simulated(tmp_path, search="grid").run()
    for layers in (1, 2):
        for arm, best in {"control": BEST_CONTROL, "bigram": BEST_BIGRAM}.items():
            found = search._groups[layers, arm].best()
            assert found is not None and found.name == best.format(layers)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_trial_with_a_report_that_is_no_number_is_never_the_best(tmp_path: Path, value: float) -> None:
    """The trial's last loss is finite, and the lowest of all; a resumed search leaves the trial out as well."""
    spoilt = BEST_BIGRAM.format(1)

    def loss(plan: TrialPlan, step: int) -> float:
        return value if plan.name == spoilt and step == EVERY else made_up_loss(plan, step)

    tune = simulated(tmp_path, loss=loss, search="grid", layers=(1,))
    for order in (tune.run(), tune.run()):
        best = order._groups[BIGRAM].best()
        assert best is not None and best.name != spoilt
        assert order._records[spoilt].state == names.FAILED
        assert study_states(order, BIGRAM)[TrialState.FAIL] == 1


def test_grid_visits_every_point_once_in_order(tmp_path: Path) -> None:
    tune = simulated(tmp_path, search="grid", layers=(1,))
    tune.run()
    for one in tune.sweep.groups:
        visited = [one.parameters(plan) for plan in searched(tune.given, one.arm.name)]
        expected = points(one.arm.space)
        if one.control is None:  # the control's group begins with the reference
            expected = [one.reference, *(point for point in expected if point != one.reference)]
        assert visited == expected


def test_same_search_seed_gives_the_same_trials_and_another_seed_gives_other_trials(tmp_path: Path) -> None:
    def given(folder: str, seed: int) -> list[str]:
        tune = simulated(tmp_path / folder, 1, search_seed=seed)
        tune.run()
        return [plan.name for plan in tune.given]

    assert given("a", 1) == given("b", 1) != given("c", 2)


def best_gain(search: str, seed: int) -> float:
    """The best gain of 40 trials of a group; it is at most 1: linear, at rate 0.003, T 13 and minimum weight 0.3."""

    def gain(plan: TrialPlan) -> float:
        teacher, rate = plan.config.teacher, plan.config.optimizer.lr
        from_best = abs(math.log(rate / 0.003)) / 4 + abs(teacher.steps - 13) / 40 + abs(teacher.min_weight - 0.3)
        return (teacher.schedule == "linear") - from_best

    space = {"teacher__steps": Range(1, 40, 1), "teacher__min_weight": Range(0.0, 1.0, 0.05)}
    sweep = small_sweep(arms=small_arms(**space), search=search, num_samples=40, search_seed=seed, asha=None)
    searching = GroupSearch(sweep, sweep.groups[2])
    for _ in range(40):
        plan = searching.propose()
        record = searching.records[plan.name]
        record.book({names.STEP: STEPS, names.GAIN: gain(plan), names.TIMESTAMP: 0.0})
        record.state = names.FINISHED
        searching.tell(record)
    best = searching.best()
    assert best is not None and searching.ended
    return gain(best)


def test_tpe_finds_a_better_setting_than_random_search_of_the_same_budget() -> None:
    seeds = range(4)
    tpe, rand = [sum(best_gain(search, seed) for seed in seeds) / 4 for search in ("optuna", "random")]
    assert tpe > rand and tpe > 0.9


def test_tpe_learns_within_a_group_only(tmp_path: Path) -> None:
    """Other losses of the uniform arm change the proposals for this arm, and for no other arm."""

    def upside_down(plan: TrialPlan, step: int) -> float:
        return (20 if plan.arm == "uniform" else 0) - made_up_loss(plan, step) * (-1) ** (plan.arm != "uniform")

    def given(folder: str, loss: Loss) -> dict[str, list[str]]:
        arms = small_arms(teacher__steps=Range(1, 20, 1))
        tune = simulated(tmp_path / folder, 1, loss, arms=arms, num_samples=10, layers=(1,))
        tune.run()
        return {arm: [plan.name for plan in searched(tune.given, arm)] for arm in ("control", "uniform", "bigram")}

    usual, turned = given("usual", made_up_loss), given("turned", upside_down)
    assert turned["uniform"] != usual["uniform"]
    assert turned["uniform"][:4] == usual["uniform"][:4], "the first four are random, before TPE has a model"
    assert (turned["control"], turned["bigram"]) == (usual["control"], usual["bigram"])


# ---- one more rate -----------------------------------------------------------------------------------------------


def at_an_end(arm: str, rate: float) -> Loss:
    """The made-up loss, but one arm does best at the given rate, and still better at a rate beyond the grid."""

    def loss(plan: TrialPlan, step: int) -> float:
        lr = plan.config.optimizer.lr
        helps = 0.5 * (lr == rate) + 0.7 * (lr not in (0.001, 0.003, 0.009))
        return made_up_loss(plan, step) - helps * (plan.arm == arm)

    return loss


@pytest.mark.parametrize(("rate", "more"), [(0.001, 0.0003333), (0.009, 0.027)])
@pytest.mark.parametrize("search", ["grid", "optuna"])
def test_a_winner_at_the_lowest_or_highest_rate_gets_one_more_rate_at_all_other_settings_once(
    tmp_path: Path, rate: float, more: float, search: str
) -> None:
    """The new rate is the best of all, and still no further rate follows."""
    loss, changes = at_an_end("bigram", rate), {"search": search, "num_samples": 10, "layers": (1,)}
    tune = simulated(tmp_path, loss=loss, extend_rates=True, **changes)
    search_order = tune.run()
    assert search_order.exhausted
    tried = [plan for plan in searched(tune.given, "bigram") if plan.config.optimizer.lr == more]
    settings = {(plan.config.teacher.schedule, plan.config.teacher.steps) for plan in tried}
    assert len(tried) == 4 and settings == {(s, t) for s in ("linear", "exponential") for t in (10, 20)}
    assert len(searched(tune.given, "bigram")) == (12 if search == "grid" else 10) + 4
    (confirmation,) = [plan for plan in confirmations(tune.given) if plan.arm == "bigram"]
    assert confirmation.config.optimizer.lr == more, "the new rate may win"
    others = {plan.config.optimizer.lr for arm in ("control", "uniform") for plan in searched(tune.given, arm)}
    assert others == {0.001, 0.003, 0.009}, "the winners of the other arms lie between the lowest and the highest rate"


def test_one_more_rate_of_the_control_may_become_the_control_of_all_confirmations(tmp_path: Path) -> None:
    loss = at_an_end("control", 0.009)
    tune = simulated(tmp_path, loss=loss, search="grid", extend_rates=True, layers=(1,))
    assert tune.run().exhausted
    assert {plan.control for plan in confirmations(tune.given)} == {"control-lr0.027-wu5-L1-s1"}


def test_no_rate_is_added_unless_the_sweep_says_so(tmp_path: Path) -> None:
    tune = simulated(tmp_path, loss=at_an_end("bigram", 0.009), search="grid", layers=(1,))
    tune.run()
    assert len(searched(tune.given)) == 6 + 12 + 12


def test_a_single_rate_gets_no_further_rate(tmp_path: Path) -> None:
    arms = small_arms(optimizer__lr=levels([0.009]))
    tune = simulated(tmp_path, arms=arms, search="grid", extend_rates=True, layers=(1,))
    assert tune.run().exhausted
    assert Counter(plan.arm for plan in searched(tune.given)) == {"control": 6, "uniform": 4, "bigram": 4}


def test_no_confirmation_starts_before_the_trials_of_one_more_rate_have_ended(tmp_path: Path) -> None:
    tune = simulated(tmp_path, 3, at_an_end("bigram", 0.009), search="grid", extend_rates=True, layers=(1,))
    tune.run()
    more = {plan.name for plan in searched(tune.given, "bigram") if plan.config.optimizer.lr == 0.027}
    (confirmation,) = [plan for plan in confirmations(tune.given) if plan.arm == "bigram"]
    assert more <= set(tune.started[confirmation.name])


@pytest.mark.parametrize("slots", [1, 3])
def test_a_resumed_search_tries_one_more_rate_as_an_unbroken_search_does(tmp_path: Path, slots: int) -> None:
    arms = small_arms(teacher__steps=Range(10, 10, 10))
    changes = {"loss": at_an_end("bigram", 0.009), "search": "grid", "extend_rates": True, "layers": (1,), "arms": arms}
    whole = simulated(tmp_path / "whole", slots, **changes)
    whole.run()
    expected = states(whole.folder, names.FINISHED)
    assert len([name for name in expected if "lr0.027" in name]) == 2 + 1, "two schedules and the confirmation"
    new_rate = 5 * (len(expected) - 3 - 2)  # event at which its two trials begin, just before the three confirmations
    for kill in (new_rate // 2, *range(new_rate - 2, new_rate + 14, 2)):
        tune = simulated(tmp_path / f"{kill}", slots, **changes)
        tune.run(events=kill)
        assert tune.run().exhausted
        assert states(tune.folder, names.FINISHED) == expected


# ---- a short search ----------------------------------------------------------------------------------------------


def test_a_short_search_is_confirmed_at_the_whole_length(tmp_path: Path) -> None:
    arms = small_arms(teacher__steps=levels([5, 10, 20]))
    tune = simulated(tmp_path, search="grid", search_steps=20, asha=None, layers=(1,), arms=arms)
    assert tune.run().exhausted
    assert {plan.config.loop.steps for plan in searched(tune.given)} == {20}
    assert {plan.config.loop.steps for plan in confirmations(tune.given)} == {40}
    (confirmation,) = [plan for plan in confirmations(tune.given) if plan.arm == "bigram"]
    assert confirmation.name == "bigram-linear-T10-min0-lr0.003-L1-s1", "T 5 of 20 steps won"
    assert confirmation.config.optimizer.warmup_steps == 10


# ---- ends --------------------------------------------------------------------------------------------------------


def test_trial_that_asha_stopped_is_pruned_in_the_study_and_never_the_best(tmp_path: Path) -> None:
    tune = simulated(tmp_path, layers=(1,), search="grid", arms=small_arms(()))
    best = BEST_BIGRAM.format(1)
    tune.stopped[best] = 20
    search = tune.run()
    assert study_states(search, BIGRAM) == {TrialState.COMPLETE: 11, TrialState.PRUNED: 1}
    pruned = next(t for t in search._groups[BIGRAM]._study.trials if t.state == TrialState.PRUNED)
    assert sorted(pruned.intermediate_values) == [0, 10, 20]
    assert tune.folder.status(best) == (names.STOPPED, "stopped by ASHA at step 20")
    plan = search._groups[BIGRAM].best()
    assert plan is not None and plan.name != best


def test_failed_trial_counts_as_failed_in_the_study_and_the_sweep_ends(tmp_path: Path) -> None:
    tune = simulated(tmp_path, layers=(1,), search="grid", arms=small_arms(()))
    tune.failing = frozenset({BEST_BIGRAM.format(1)})
    search = tune.run()
    assert search.exhausted
    assert study_states(search, BIGRAM) == {TrialState.COMPLETE: 11, TrialState.FAIL: 1}
    assert states(tune.folder, names.FAILED) == [BEST_BIGRAM.format(1)]


def test_depth_whose_reference_failed_has_no_other_trials_and_the_sweep_ends(tmp_path: Path) -> None:
    tune = simulated(tmp_path)
    tune.failing = frozenset({REFERENCE.format(1)})
    assert tune.run().exhausted
    assert Counter(plan.config.model.layers for plan in tune.given) == {1: 1, 2: 3 * (4 + 1)}


def test_confirmations_on_the_seed_of_a_failed_control_are_not_run_and_all_others_are(tmp_path: Path) -> None:
    tune = simulated(tmp_path, search="grid", layers=(1,), arms=small_arms((1, 2)))
    tune.failing = frozenset({"control-lr0.003-wu5-L1-s1"})
    assert tune.run().exhausted
    assert sorted((plan.config.seed, plan.arm) for plan in confirmations(tune.given)) == [
        (1, "control"),
        (2, "bigram"),
        (2, "control"),
        (2, "uniform"),
    ]


def test_group_without_a_finished_trial_has_no_confirmation_and_the_other_groups_have_theirs(tmp_path: Path) -> None:
    sweep = small_sweep(search="grid", layers=(1,))
    uniform = sweep.groups[1]
    tune = simulated(tmp_path, search="grid", layers=(1,))
    tune.failing = frozenset(uniform.search_plan(point).name for point in points(uniform.arm.space))
    assert tune.run().exhausted
    assert {plan.arm for plan in confirmations(tune.given)} == {"control", "bigram"}


def test_worker_that_dies_too_often_fails_its_trial_with_the_reason(tmp_path: Path) -> None:
    sweep, name = small_sweep(), REFERENCE.format(1)
    folder = new_run(tmp_path, sweep)
    search = SearchOrder(sweep, folder, {}, no_stop, three_in_flight)
    search.suggest("a")
    search.on_trial_complete("a", error=True)
    assert folder.status(name)[0] == names.RUNNING, "the cause of the death may lie outside the trial"
    search.fail(name, "MemoryError: too much")
    assert folder.status(name) == (names.FAILED, "MemoryError: too much")


def test_resumed_trial_whose_control_failed_ends_as_failed(tmp_path: Path) -> None:
    """A control was lost, and fails when it is run again: a trial that waits for it could never go on."""
    tune, control = simulated(tmp_path), REFERENCE.format(1)
    tune.run(events=14)
    paired = [plan.name for plan in tune.given if plan.control == control and plan.name != control]
    running = set(paired) & set(states(tune.folder, names.RUNNING))
    assert running
    (tune.folder.trial(control) / names.STATUS_FILE).unlink()
    (tune.folder.trial(control) / names.LEDGER_FILE).unlink()
    tune.failing = frozenset({control})
    assert tune.run().exhausted
    assert not states(tune.folder, names.RUNNING)
    for name in running:
        assert tune.folder.status(name) == (names.FAILED, f"its control {control} failed")


def test_interrupted_trial_stays_running_and_keeps_its_checkpoint(tmp_path: Path) -> None:
    sweep, name = small_sweep(), REFERENCE.format(1)
    folder = new_run(tmp_path, sweep)
    search = SearchOrder(sweep, folder, {}, no_stop, three_in_flight)
    search.suggest("a")
    checkpoint = folder.trial(name) / names.CHECKPOINT_FILE
    checkpoint.write_bytes(b"weights")
    search.on_trial_complete("a", {names.STEP: 10, names.GAIN: 0.0, names.TIMESTAMP: 1.7e9})
    assert folder.status(name)[0] == names.RUNNING
    assert checkpoint.exists() and not search.exhausted


def test_searcher_waits_and_does_not_end_while_trials_run(tmp_path: Path) -> None:
    sweep = small_sweep(layers=(1,))
    search = SearchOrder(sweep, new_run(tmp_path, sweep), {"key": "sum"}, no_stop, three_in_flight)
    config = search.suggest("a")
    assert isinstance(config, dict)
    assert (config["name"], config["checksums"]) == (REFERENCE.format(1), {"key": "sum"})
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
def test_a_killed_driver_loses_no_trial_and_repeats_no_finished_trial(tmp_path: Path, search: str, slots: int) -> None:
    arms = small_arms(optimizer__lr=levels([0.003]))[::2]
    changes = {"search": search, "num_samples": 4, "arms": arms}
    samples = {"control": 6 if search == "grid" else 4, "bigram": 4}
    whole = simulated(tmp_path / "whole", slots, **changes)
    whole.run()
    expected = states(whole.folder, names.FINISHED)
    assert len(expected) == whole.sweep.trials == 2 * (sum(samples.values()) + 2)
    for kill in range(0, 5 * len(expected) + 1, 13 if search == "optuna" else 17):
        tune = simulated(tmp_path / f"{kill}", slots, **changes)
        tune.run(events=kill)
        done = set(states(tune.folder, names.FINISHED))
        before = len(tune.given)
        resumed = tune.run()
        again = [plan.name for plan in tune.given[before:]]
        assert resumed.exhausted and not states(tune.folder, names.RUNNING)
        assert not done & set(again) and len(again) == len(set(again))
        finished = [plan for plan, state, _ in tune.folder.trials() if state == names.FINISHED]
        found = Counter((*group(plan), plan.config.seed) for plan in finished)
        assert found == {(d, arm, 0): n for d in (1, 2) for arm, n in samples.items()} | {
            (d, arm, 1): 1 for d in (1, 2) for arm in samples
        }
        if search != "optuna":  # TPE's proposals depend on the trials that have ended
            assert states(tune.folder, names.FINISHED) == expected


def test_resumed_study_has_the_trials_of_the_first_one(tmp_path: Path) -> None:
    tune = simulated(tmp_path, layers=(1,), search="grid", arms=small_arms(()))
    tune.stopped["bigram-linear-T10-min0-lr0.001-L1-s0"] = 20
    tune.failing = frozenset({"bigram-linear-T20-min0-lr0.001-L1-s0"})
    first = tune.run()
    second = SearchOrder(tune.sweep, tune.folder, {}, no_stop, three_in_flight)
    assert second.suggest("x") == "FINISHED" and second.exhausted and second.ended == 6 + 12 + 12

    def known(search: SearchOrder, key: tuple[int, str]) -> list[Any]:
        trials = search._groups[key]._study.trials
        return sorted((sorted(map(str, t.params.items())), t.state.name, t.values or []) for t in trials)

    for one in tune.sweep.groups:
        assert known(second, one.key) == known(first, one.key)


def test_searcher_proposes_no_more_trials_than_may_be_in_flight(tmp_path: Path) -> None:
    """A setting that is proposed earlier is chosen from fewer results."""
    sweep = small_sweep(layers=(1, 2, 3, 4))
    search = SearchOrder(sweep, new_run(tmp_path, sweep), {}, no_stop, three_in_flight)
    given = [search.suggest(str(number)) for number in range(4)]
    assert [isinstance(config, dict) for config in given] == [True, True, True, False]
    assert not search.exhausted
    end = {names.STEP: sweep.base.loop.steps, names.GAIN: 0.0, names.TIMESTAMP: 1.7e9}
    search.on_trial_complete("0", end)
    assert isinstance(search.suggest("5"), dict)


def test_record_without_reports_has_no_last_step_and_has_not_ended() -> None:
    plan = TrialPlan(name="a", role=names.CONTROL, control="a", config=small_sweep().base)
    record = Record(plan=plan)
    assert (record.last_step, record.ended) == (-1, False)
