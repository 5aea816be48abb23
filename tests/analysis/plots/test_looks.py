"""Legend texts of arms; colours of arms by their order in the study, and of schedules by their name."""

import pandas as pd
from arm_trials import STEPS, study, trial_rows, two_arms
from matplotlib.lines import Line2D

from analysis.page.html_page import PLOTLY
from analysis.plots.looks import ARM_COLOURS, CONTROL_COLOUR, SCHEDULES, arm_looks, schedule_looks
from analysis.results import Results
from analysis.tables.arm_lines import arm_lines
from trainable import names


def legend_text(lines: pd.DataFrame) -> dict[str, str]:
    return {arm: look.legend for arm, look in arm_looks(lines).items()}


def test_an_arm_without_a_finished_trial_is_shown_and_called_not_finished() -> None:
    running = trial_rows("linear 240", 0, 0.0, steps=STEPS[:3], state=names.RUNNING)
    lines = arm_lines(study(trial_rows("none", 0, 0.0), running), names.EVAL_LOSS)
    assert legend_text(lines)["linear 240"] == "linear 240 (teacher ends at 60; not finished)"


def test_the_legend_says_where_each_teacher_ends_and_how_many_units_there_are() -> None:
    assert legend_text(arm_lines(two_arms(), names.EVAL_LOSS)) == {
        "none": "control (n = 3)",
        "linear 240": "linear 240 (teacher ends at 60; n = 3)",
    }
    never = arm_lines(two_arms(**{"teacher.min_weight": 0.1}), names.EVAL_LOSS)
    assert legend_text(never)["linear 240"] == "linear 240 (teacher never ends; n = 3)"


def test_the_legend_lists_all_steps_at_which_a_teacher_ends() -> None:
    scaled = [
        trial_rows("scaled", 0, 0.0, **{"loop.steps": 120 * times, "teacher.steps": 60 * times}) for times in (1, 2)
    ]
    text = legend_text(arm_lines(study(*scaled), names.EVAL_LOSS))
    assert text["scaled"] == "scaled (teacher ends at 60 / 120)"


def test_arms_are_listed_with_the_control_first_and_sorted_by_their_numbers() -> None:
    arms = ["linear 240", "linear 60", "none", "exponential 588"]
    lines = arm_lines(study(*(trial_rows(arm, 0, 0.0) for arm in arms)), names.EVAL_LOSS)
    assert list(legend_text(lines)) == ["none", "exponential 588", "linear 60", "linear 240"]


def test_arms_are_listed_and_coloured_in_the_order_of_the_study() -> None:
    order = ["none", "linear 588", "exponential 588", "bigram"]
    results = study(*(trial_rows(arm, 0, 0.0) for arm in sorted([*order, "a stranger"])))
    looks = arm_looks(arm_lines(results, names.EVAL_LOSS, order))
    assert list(looks) == [*order, "a stranger"]
    assert [look.colour for look in looks.values()] == [CONTROL_COLOUR, *ARM_COLOURS[:4]]


def test_arms_with_tuned_learning_rates_keep_the_order_of_the_study() -> None:
    trials = [trial_rows(arm, 0, 0.0, **{"optimizer.lr": rate}) for arm in ("none", "b", "a") for rate in (1, 2)]
    lines = arm_lines(study(*trials), names.EVAL_LOSS, ["none", "b", "a"])
    assert list(arm_looks(lines)) == ["none, lr 1", "b, lr 1", "a, lr 1"]


def test_the_control_is_grey_and_arms_differ_in_colour_or_line_style() -> None:
    arms = [f"arm {number}" for number in range(2 * len(ARM_COLOURS))]
    looks = arm_looks(arm_lines(study(*(trial_rows(arm, 0, 0.0) for arm in ["none", *arms])), names.EVAL_LOSS))
    assert looks["none"].colour == CONTROL_COLOUR
    assert len({(looks[arm].colour, looks[arm].dash) for arm in arms}) == len(arms)


def test_where_learning_rates_vary_each_arm_is_drawn_at_its_own_best_rate() -> None:
    bad, good = {"optimizer.lr": 1e-2}, {"optimizer.lr": 1e-3}
    trials = [trial_rows(arm, unit, 1.0, **bad) for arm in ("none", "linear 240") for unit in range(2)]
    trials += [trial_rows("none", unit, 0.0, **good) for unit in range(2)]
    trials += [trial_rows("linear 240", unit, 2.0, **good) for unit in range(2)]
    lines = arm_lines(study(*trials), names.EVAL_LOSS)
    assert list(legend_text(lines)) == ["none, lr 0.001", "linear 240, lr 0.01"]
    assert set(lines["units"]) == {2}


def test_tables_older_than_arms_are_named_by_their_schedule() -> None:
    results = two_arms()
    older = Results(results.trials.drop(columns="arm"), results.curves)
    assert list(legend_text(arm_lines(older, names.EVAL_LOSS))) == ["none", "linear, T = 60, min weight 0"]


def test_known_schedules_keep_their_looks_and_unknown_ones_get_looks_of_their_own() -> None:
    unknown = [f"new {number}" for number in range(12)]
    looks = schedule_looks([*reversed(unknown), "step", "linear"])
    assert list(looks)[:2] == ["linear", "step"]
    assert all(looks[name] == SCHEDULES[name] for name in ("linear", "step"))
    assert len(set(looks.values())) == len(looks)
    assert len({look.marker for look in looks.values()}) >= 9
    assert schedule_looks(unknown) == {name: looks[name] for name in sorted(unknown)}


def test_every_marker_is_one_that_matplotlib_and_plotly_know() -> None:
    looks = schedule_looks([*SCHEDULES, *(f"new {number}" for number in range(12))]).values()
    assert {look.marker.matplotlib for look in looks} <= set(Line2D.markers)
    code = PLOTLY.read_text(encoding="utf-8")
    assert all(f'"{look.marker.plotly}"' in code or f"{look.marker.plotly}:" in code for look in looks)
