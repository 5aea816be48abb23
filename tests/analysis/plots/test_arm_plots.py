"""Plots of arms as data: panels, rings, bands, and the gain over each unit's control."""

import numpy as np
from arm_trials import study, trial_rows, two_arms

from analysis.plots.arm_plots import gain_by_arm, loss_by_arm
from analysis.plots.plot import tail


def test_each_depth_and_budget_has_a_panel() -> None:
    settings = [{"model.layers": layers, "loop.steps": steps} for layers in (1, 2) for steps in (120, 240)]
    data = loss_by_arm(study(*(trial_rows("none", 0, 0.0, **one) for one in settings)), ())
    assert [panel.title for panel in data.panels] == [
        *("1 layer, 120 steps", "1 layer, 240 steps"),
        *("2 layers, 120 steps", "2 layers, 240 steps"),
    ]


def test_trials_with_different_validation_rows_are_in_different_panels() -> None:
    data = loss_by_arm(study(*(trial_rows("none", 0, 0.0, **{"corpus.eval_rows": rows}) for rows in (50.0, 250.0))), ())
    assert [panel.title for panel in data.panels] == ["1 layer, 50 validation rows", "1 layer, 250 validation rows"]
    assert all(line.low is None for panel in data.panels for line in panel.lines)


def test_a_ring_is_where_a_teacher_ends_and_nowhere_else() -> None:
    data = loss_by_arm(two_arms(), ())
    for shown, rings in ((data, [None, 60.0]), (tail(data), [None, None])):
        assert [line.ring for line in shown.panels[0].lines] == rings


def test_a_line_is_the_mean_over_units_and_its_band_from_the_lowest_to_the_highest() -> None:
    control, guided = loss_by_arm(two_arms(), ()).panels[0].lines
    assert (control.label, guided.label) == ("control", "linear 240")
    assert control.low is not None and control.high is not None and control.units is not None
    np.testing.assert_allclose([control.low[0], control.y[0], control.high[0]], [9.0, 9.1, 9.2])
    assert set(control.units) == {3}


def test_gains_are_0_for_the_control_and_there_are_none_without_a_guided_arm() -> None:
    data = gain_by_arm(two_arms(), ())
    assert data is not None
    control, guided = data.panels[0].lines
    assert not control.y.any()
    np.testing.assert_allclose(guided.y, 0.3)
    assert gain_by_arm(study(trial_rows("none", 0, 0.0)), ()) is None


def test_the_tail_is_the_last_forty_percent_of_the_steps() -> None:
    data = tail(loss_by_arm(two_arms(), ()))
    assert [sorted(set(line.x)) for line in data.panels[0].lines] == [[80, 100, 120]] * 2


def test_each_setting_of_a_run_without_a_teacher_has_a_line_and_a_colour() -> None:
    settings = [{"optimizer.lr": rate, "optimizer.beta2": beta2} for rate in (1e-3, 2e-3) for beta2 in (0.95, 0.999)]
    lines = loss_by_arm(study(*(trial_rows("none", 0, 0.0, **one) for one in settings)), ["none"]).panels[0].lines
    assert [line.label for line in lines] == [
        *("control, lr 0.001, beta2 0.95", "control, lr 0.001, beta2 0.999"),
        *("control, lr 0.002, beta2 0.95", "control, lr 0.002, beta2 0.999"),
    ]
    assert len({line.colour for line in lines}) == 4 and all(line.low is None for line in lines)
