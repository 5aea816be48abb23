"""Curves by arm: which trials make a line, what a mean is taken over, what the legend says, and the command line."""

import io
import math
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from synthetic_run import add_trial, realistic_run, spec, write_run

from analysis.figures.arm_figures import FIGURES, draw, draw_all
from analysis.figures.arm_looks import ARM_COLOURS, legend_text, looks_of
from analysis.figures.style import CONTROL_COLOUR
from analysis.results import Results, load
from analysis.tables.arm_lines import arm_lines, tail
from trainable import names

ROOT = Path(__file__).parents[1]
PUBLISHED = ROOT / "results" / "published"
STEPS = tuple(range(0, 121, 20))


def trial_rows(
    arm: str, unit: int, offset: float, steps: Iterable[int] = STEPS, **settings: Any
) -> tuple[dict[str, Any], pd.DataFrame]:
    """A trial's row, and its reports: loss 9 - step / 40 + offset, training loss the same + 0.1 ten steps earlier."""
    guided = arm != "none"
    row = {
        "trial": f"{arm}-{unit}-{sorted(settings.items())}",
        "role": names.ARM if guided else names.CONTROL,
        "arm": arm,
        "control": f"none-{unit}",
        "state": names.FINISHED,
        "reason": "",
        "model.layers": 1,
        "teacher.schedule": "linear" if guided else "none",
        "teacher.steps": 60 if guided else 0,
        "teacher.min_weight": 0.0,
        "seed": unit,
        "corpus.fold": 0,
        "corpus.folds": np.nan,
        "corpus.train_rows": 200.0,
        "corpus.eval_rows": 50.0,
        "optimizer.lr": 1e-3,
        "loop.steps": 120,
    } | settings
    at = np.array(list(steps), dtype=float)
    loss = 9 - at / 40 + offset
    evaluated = pd.DataFrame({"step": at, "eval_loss": loss, "train_loss": np.nan, "train_seconds": at})
    trained = pd.DataFrame({"step": at + 10, "eval_loss": np.nan, "train_loss": loss + 0.1, "train_seconds": at + 10})
    curve = pd.concat([evaluated, trained], ignore_index=True).assign(trial=row["trial"])
    return row | {"step": int(at[-1]), "eval_loss": loss[-1], "gain": -offset}, curve


def study(*trials: tuple[dict[str, Any], pd.DataFrame]) -> Results:
    rows, curves = zip(*trials, strict=True)
    return Results(pd.DataFrame(list(rows)), pd.concat(curves, ignore_index=True))


def two_arms(**settings: Any) -> Results:
    controls = [trial_rows("none", unit, 0.1 * unit) for unit in range(3)]
    return study(*controls, *(trial_rows("linear 240", unit, 0.1 * unit - 0.3, **settings) for unit in range(3)))


def line(lines: pd.DataFrame, arm: str) -> pd.DataFrame:
    return lines[lines["arm"] == arm].set_index("step")


def panels(figure: Figure) -> list:
    return [axes for axes in figure.axes if axes.get_visible()]


def run_command(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "analysis.curves", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)


def test_a_line_is_the_mean_over_units_and_its_band_goes_from_lowest_to_highest() -> None:
    end = line(arm_lines(two_arms(), names.EVAL_LOSS), "linear 240").loc[120]
    assert (end["low"], end["mean"], end["high"]) == pytest.approx((5.7, 5.8, 5.9))
    assert end["units"] == 3


def test_training_losses_on_other_steps_than_evaluations_make_a_line_of_their_own() -> None:
    results = two_arms()
    assert list(line(arm_lines(results, names.EVAL_LOSS), "none").index) == list(STEPS)
    assert list(line(arm_lines(results, names.TRAIN_LOSS), "none").index) == [step + 10 for step in STEPS]


def test_a_step_that_one_unit_has_not_reported_has_no_mean() -> None:
    cut = trial_rows("none", 1, 5.0, steps=STEPS[:3], state=names.FINISHED)
    lines = arm_lines(study(trial_rows("none", 0, 0.0), cut), names.EVAL_LOSS)
    assert list(lines["step"]) == [0, 20, 40]


def test_an_unfinished_unit_is_left_out_of_a_mean_of_finished_ones() -> None:
    for state in (names.RUNNING, names.FAILED, names.STOPPED):
        cut = trial_rows("none", 1, 5.0, steps=STEPS[:3], state=state)
        lines = arm_lines(study(trial_rows("none", 0, 0.0), cut), names.EVAL_LOSS)
        assert line(lines, "none").loc[120, "mean"] == pytest.approx(6.0)
        assert set(lines["units"]) == {1}


def test_an_arm_of_which_nothing_has_finished_is_shown_and_called_so() -> None:
    running = trial_rows("linear 240", 0, 0.0, steps=STEPS[:3], state=names.RUNNING)
    lines = arm_lines(study(trial_rows("none", 0, 0.0), running), names.EVAL_LOSS)
    assert legend_text(lines)["linear 240"] == "linear 240 (teacher ends at 60; not finished)"


def test_losses_that_are_not_finite_do_not_move_a_mean() -> None:
    results = two_arms()
    results.curves.loc[(results.curves["trial"] == results.trials["trial"][1]), "eval_loss"] = np.inf
    assert line(arm_lines(results, names.EVAL_LOSS), "none").loc[120, "units"] == 2


def test_a_teacher_with_a_floor_never_ends_and_a_control_has_none() -> None:
    ends = arm_lines(two_arms(**{"teacher.min_weight": 0.1}), names.EVAL_LOSS).groupby("arm")["teacher_ends"].first()
    assert ends["linear 240"] == math.inf
    assert math.isnan(ends["none"])


def test_the_legend_says_where_each_teacher_ends_and_how_many_units_there_are() -> None:
    assert legend_text(arm_lines(two_arms(), names.EVAL_LOSS)) == {
        "none": "control (n = 3)",
        "linear 240": "linear 240 (teacher ends at 60; n = 3)",
    }
    never = arm_lines(two_arms(**{"teacher.min_weight": 0.1}), names.EVAL_LOSS)
    assert legend_text(never)["linear 240"] == "linear 240 (teacher never ends; n = 3)"


def test_the_legend_gives_the_end_in_every_panel_where_it_differs() -> None:
    scaled = [
        trial_rows("scaled", 0, 0.0, **{"loop.steps": 120 * times, "teacher.steps": 60 * times}) for times in (1, 2)
    ]
    text = legend_text(arm_lines(study(*scaled), names.EVAL_LOSS))
    assert text["scaled"] == "scaled (teacher ends at 60 / 120)"


def test_arms_are_listed_controls_first_and_numbers_as_numbers() -> None:
    arms = ["linear 240", "linear 60", "none", "exponential 588"]
    lines = arm_lines(study(*(trial_rows(arm, 0, 0.0) for arm in arms)), names.EVAL_LOSS)
    assert list(legend_text(lines)) == ["none", "exponential 588", "linear 60", "linear 240"]


def test_arms_are_listed_and_coloured_in_the_order_of_the_study() -> None:
    order = ["none", "linear 588", "exponential 588", "bigram"]
    results = study(*(trial_rows(arm, 0, 0.0) for arm in sorted([*order, "a stranger"])))
    looks = looks_of(arm_lines(results, names.EVAL_LOSS, order))
    assert list(looks) == [*order, "a stranger"]
    assert [look["color"] for look in looks.values()] == [CONTROL_COLOUR, *ARM_COLOURS[:4]]


def test_the_order_is_that_of_the_study_at_tuned_learning_rates_too() -> None:
    trials = [trial_rows(arm, 0, 0.0, **{"optimizer.lr": rate}) for arm in ("none", "b", "a") for rate in (1, 2)]
    lines = arm_lines(study(*trials), names.EVAL_LOSS, ["none", "b", "a"])
    assert list(looks_of(lines)) == ["none, lr 1", "b, lr 1", "a, lr 1"]


def test_the_control_is_grey_and_arms_differ_in_colour_or_line_style() -> None:
    arms = [f"arm {number}" for number in range(2 * len(ARM_COLOURS))]
    looks = looks_of(arm_lines(study(*(trial_rows(arm, 0, 0.0) for arm in ["none", *arms])), names.EVAL_LOSS))
    assert looks["none"]["color"] == CONTROL_COLOUR
    assert len({(looks[arm]["color"], looks[arm]["linestyle"]) for arm in arms}) == len(arms)


def test_there_is_a_panel_a_depth_and_budget() -> None:
    settings = [{"model.layers": layers, "loop.steps": steps} for layers in (1, 2) for steps in (120, 240)]
    figure = draw(arm_lines(study(*(trial_rows("none", 0, 0.0, **one) for one in settings)), names.EVAL_LOSS), "loss")
    assert [axes.get_title(loc="left") for axes in panels(figure)] == [
        *("1 layer, 120 steps", "1 layer, 240 steps"),
        *("2 layers, 120 steps", "2 layers, 240 steps"),
    ]


def test_folds_that_differ_by_a_step_share_a_panel() -> None:
    folds = [trial_rows("none", 0, 0.1 * n, **{"loop.steps": 587 - n, "corpus.fold": n}) for n in range(2)]
    lines = arm_lines(study(*folds), names.EVAL_LOSS)
    assert set(lines["budget"]) == {587}
    assert set(lines["units"]) == {2}


def test_a_trial_that_does_not_say_its_budget_stands_with_its_depth() -> None:
    odd = trial_rows("unknown 588", 0, 0.0, **{"loop.steps": np.nan})
    lines = arm_lines(study(trial_rows("none", 0, 0.0), odd), names.EVAL_LOSS)
    assert set(lines["budget"]) == {120}


def test_other_validation_rows_are_another_panel_and_never_one_mean() -> None:
    sizes = [trial_rows("none", 0, 0.0, **{"corpus.eval_rows": rows}) for rows in (50.0, 250.0)]
    lines = arm_lines(study(*sizes), names.EVAL_LOSS)
    assert set(lines["units"]) == {1}
    assert [axes.get_title(loc="left") for axes in panels(draw(lines, "loss"))] == [
        *("1 layer, 50 validation rows", "1 layer, 250 validation rows"),
    ]


def test_where_learning_rates_vary_each_arm_is_drawn_at_its_own_best() -> None:
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
    assert list(legend_text(arm_lines(older, names.EVAL_LOSS))) == ["none", "linear, T = 60, floor 0"]


def test_the_tail_is_the_last_forty_percent_of_each_panel() -> None:
    short = trial_rows("none", 0, 0.0, steps=range(0, 61, 20), **{"loop.steps": 60})
    late = tail(arm_lines(study(trial_rows("none", 1, 0.0), short), names.EVAL_LOSS))
    assert late.groupby("budget")["step"].apply(list).to_dict() == {60: [40, 60], 120: [80, 100, 120]}


def test_of_a_search_the_winner_stands_beside_its_controls_on_the_seeds_that_confirmed_it(tmp_path: Path) -> None:
    results = load(realistic_run(tmp_path / "run"))
    lines = arm_lines(results, names.EVAL_LOSS)
    assert set(lines["units"]) == {3}
    for layers, here in lines[lines["step"] == 120].groupby("model.layers"):
        confirmed = results.trials[
            (results.trials["role"] == names.CONFIRM) & (results.trials["model.layers"] == layers)
        ]
        loss = here.set_index("role")["mean"]
        assert loss[names.CONTROL] - loss[names.CONFIRM] == pytest.approx(confirmed["gain"].mean())


def test_of_a_search_without_confirmation_the_best_stand_beside_the_one_control_and_say_so(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", spec=spec(layers=[1]))
    for seed in (0, 1):
        add_trial(run, names.CONTROL, {0: 8.0, 120: 5.0 + seed}, seed=seed)
    for number in range(5):
        losses, linear = {0: 8.0, 120: 4.0 + number / 10}, {"teacher__schedule": "linear"}
        add_trial(run, names.SEARCH, losses, control={0: 8.0, 120: 5.0}, teacher__steps=20 + 10 * number, **linear)
    lines = arm_lines(load(run), names.EVAL_LOSS)
    assert set(lines["units"]) == {1}
    assert set(lines["arm"]) == {"none", *(f"linear, T = {steps}, floor 0" for steps in (20, 30, 40))}
    assert "only the seed that chose it" in legend_text(lines)["linear, T = 20, floor 0"]


def test_a_ring_is_drawn_where_a_teacher_ends_and_nowhere_else() -> None:
    lines = arm_lines(two_arms(), names.EVAL_LOSS)
    for shown, drawn in ((lines, [60.0]), (tail(lines), [])):
        rings = [mark for mark in panels(draw(shown, "loss"))[0].lines if mark.get_marker() == "o"]
        assert [float(ring.get_xdata()[0]) for ring in rings] == drawn


@pytest.mark.parametrize("arms", [1, 6, 14])
def test_the_legend_lies_inside_the_figure_and_below_the_panels(arms: int) -> None:
    trials = [trial_rows(f"exponential {n}, as published", 0, n / 9) for n in range(arms)]
    figure = draw(arm_lines(study(*trials), names.EVAL_LOSS), "loss")
    figure.savefig(io.BytesIO())
    (legend,), (axes,) = figure.legends, panels(figure)
    box = legend.get_window_extent()
    assert box.x0 >= 0 and box.x1 <= figure.bbox.x1 and box.y0 >= 0
    assert box.y1 <= axes.get_window_extent().y0
    assert axes.get_window_extent().height > 1.5 * figure.dpi


def test_a_comparison_has_three_figures_and_a_search_keeps_its_own_beside_them(tmp_path: Path) -> None:
    paths = draw_all(tmp_path / "comparison", two_arms())
    assert [path.name for path in paths] == list(FIGURES)
    run = realistic_run(tmp_path / "run", layers=(1,))
    assert [path.name for path in draw_all(run, load(run))] == [f"best_{name}" for name in FIGURES]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)


def test_a_run_without_reports_can_be_drawn(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    assert all(path.is_file() for path in draw_all(run, load(run)))


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="the published runs are not kept here")
def test_the_published_folds_end_at_the_published_losses() -> None:
    end = arm_lines(load(PUBLISHED / "k_fold"), names.EVAL_LOSS).query("step == 570").set_index("arm")
    assert set(end["units"]) == {5}
    assert end.loc["none", "mean"] - end.loc["linear 240", "mean"] == pytest.approx(0.0338, abs=5e-5)


def test_the_command_draws_each_folder_into_a_folder_of_its_own(tmp_path: Path) -> None:
    runs = [realistic_run(tmp_path / name, layers=(1,)) for name in ("a", "b")]
    done = run_command(*map(str, runs), "--out", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a", "b"]
    assert len(done.stdout.splitlines()) == 6


@pytest.mark.parametrize("arguments", [[], ["nowhere"]])
def test_the_command_says_in_one_sentence_what_is_wrong(arguments: list[str]) -> None:
    done = run_command(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1


def test_tables_that_lack_a_column_are_an_error_that_names_it(tmp_path: Path) -> None:
    results = two_arms()
    results.trials.drop(columns="loop.steps").to_csv(tmp_path / "trials.csv", index=False)
    results.curves.to_csv(tmp_path / "curves.csv", index=False)
    done = run_command(str(tmp_path))
    assert done.returncode == 2
    assert "lack loop.steps" in done.stderr
