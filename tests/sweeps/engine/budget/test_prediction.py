"""Predicted time of a run, from made-up rates; no time is measured."""

import pytest
from made_up_rates import GUIDED, PLAIN, made_up_rates, made_up_size

from sweeps.engine.budget.prediction import (
    BETWEEN_TRIALS,
    END,
    REPORT,
    START,
    duration,
    guided_steps,
    makespan,
    predict,
    trial_seconds,
    trials_of,
)
from sweeps.engine.specs.comparison import Arm, Comparison, grid, paired_plans
from sweeps.engine.specs.workload import Workload
from trainable.config import TrialConfig, override

BASE = override(TrialConfig(), {"loop.steps": 40, "loop.eval_every": 10, "loop.checkpoint_every": 20})


def comparison(base: TrialConfig = BASE, seeds: int = 3, depths: tuple[int, ...] = (1,)) -> Comparison:
    """A comparison of a control and a linear arm (T 10) on each seed, at each depth."""
    arm = Arm("linear 10", {"teacher.schedule": "linear", "teacher.steps": 10})
    units = grid(base, {"model.layers": depths, "seed": range(seeds)})
    return Comparison(study="study", question="Does it?", base=base, plans=paired_plans(units, lambda unit: [arm]))


def test_a_trial_takes_its_start_steps_evaluations_reports_and_checkpoints() -> None:
    spec = comparison()
    control, *_, guided = spec.workloads()
    around = (
        BETWEEN_TRIALS + 0.2 + 5 * (REPORT + 20 * 0.01) + 2 * 0.5
    )  # reports at 0, 10, ... 40; checkpoints at 20, 40
    rates, size = made_up_rates(spec), made_up_size(spec)
    assert trial_seconds(control, rates, size) == pytest.approx(around + 40 * PLAIN.step)
    assert trial_seconds(guided, rates, size) == pytest.approx(around + 10 * GUIDED.step + 30 * PLAIN.step)


def test_a_trial_that_is_expected_to_be_stopped_halfway_takes_half_its_steps_and_the_same_start() -> None:
    spec = comparison()
    load = Workload(config=BASE, trials=4, steps=20)
    rates, size = made_up_rates(spec), made_up_size(spec)
    expected = BETWEEN_TRIALS + 0.2 + 20 * 0.1 + 3 * (REPORT + 0.2) + 1 * 0.5
    assert trial_seconds(load, rates, size) == pytest.approx(expected)


def test_each_trial_imports_and_warms_up_if_no_process_is_reused() -> None:
    spec = comparison()
    load, size = spec.workloads()[0], made_up_size(spec)
    alone = trial_seconds(load, made_up_rates(spec, reused=False), size)
    assert alone - trial_seconds(load, made_up_rates(spec), size) == pytest.approx(4.0 + PLAIN.warm_up)


@pytest.mark.parametrize(
    ("teacher", "steps"),
    [
        ({"teacher.schedule": "none"}, 0),
        ({"teacher.schedule": "linear", "teacher.steps": 10}, 10),
        ({"teacher.schedule": "step", "teacher.steps": 7}, 7),
        ({"teacher.schedule": "linear", "teacher.steps": 10, "teacher.min_weight": 0.1}, 40),
    ],
)
def test_steps_are_guided_as_long_as_the_teacher_has_weight(teacher: dict[str, object], steps: int) -> None:
    assert guided_steps(override(BASE, teacher)) == steps


@pytest.mark.parametrize(
    ("trials", "slots", "seconds"),
    [([4.0] * 4, 2, 8.0), ([4.0] * 5, 2, 12.0), ([1.0, 1.0, 4.0], 2, 5.0), ([3.0], 8, 3.0), ([], 2, 0.0)],
)
def test_trials_begin_in_turn_as_slots_get_free(trials: list[float], slots: int, seconds: float) -> None:
    assert makespan(trials, slots) == seconds


def test_a_fraction_of_a_trial_counts_as_a_shorter_trial() -> None:
    load = Workload(config=BASE, trials=2.5, steps=40)
    assert list(trials_of(load, 10.0)) == [10.0, 10.0, 5.0]


def test_a_run_takes_its_start_preparation_trials_and_end() -> None:
    spec = comparison(seeds=2)
    rates, size = made_up_rates(spec), made_up_size(spec)
    trials = sorted(trial_seconds(load, rates, size) for load in spec.workloads())  # two controls, two guided trials
    expected = (START + END + 1) * 4.0 + 3.0 + trials[0] + trials[-1] + 2 * 1.0  # two shapes warm up
    prediction = predict(spec, rates, size)
    assert prediction.seconds == pytest.approx(expected)
    assert (prediction.slots, prediction.plain, prediction.guided) == (2, pytest.approx(0.1), pytest.approx(0.2))


def test_only_the_time_left_is_predicted_for_a_run_that_has_begun() -> None:
    spec = comparison()
    rates, size = made_up_rates(spec), made_up_size(spec)
    whole, half, done = (predict(spec, rates, size, share).seconds for share in (0.0, 0.5, 1.0))
    assert whole - half == pytest.approx(half - done) and done > 0
    assert "for what is left" in predict(spec, rates, size, 0.5).line(left=True)


def test_depths_between_the_extremes_are_interpolated() -> None:
    spec = comparison(depths=(1, 2, 5))
    rates = made_up_rates(spec)
    assert {shape.model.layers for shape in rates.of_shape} == {1, 5}
    assert rates.of(override(BASE, {"model.layers": 2}), guided=False).step == pytest.approx(0.2)


def test_the_line_of_the_plan_says_the_trials_at_a_time_and_the_seconds_of_a_step() -> None:
    spec = comparison()
    line = predict(spec, made_up_rates(spec), made_up_size(spec)).line()
    assert line.endswith("on this machine (2 trials at a time; 0.1 s a plain step, 0.2 s a guided one)")
    assert "1 trial at a time" in predict(spec, made_up_rates(spec, slots=1), made_up_size(spec)).line()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(17.4, "17 s"), (250, "4.2 min"), (1234, "21 min"), (3 * 3600, "3.0 hours"), (4 * 86400, "4.0 days")],
)
def test_times_are_printed_in_a_suitable_unit(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_the_time_of_the_teachers_is_included_and_is_printed_if_it_is_at_least_a_second() -> None:
    bigram, model = (comparison(override(BASE, {"teacher.kind": kind})) for kind in ("bigram", "model"))
    plain, taught = (predict(spec, made_up_rates(spec), made_up_size(spec)) for spec in (bigram, model))
    assert taught.seconds - plain.seconds == pytest.approx(taught.teachers) and taught.teachers > 1
    assert taught.line().endswith(f"0.2 s a guided one; {duration(taught.teachers)} of it for the teachers)")
    assert "teachers" not in plain.line()
