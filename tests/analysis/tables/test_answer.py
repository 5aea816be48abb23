"""Verdict on a content arm, from numbers made by hand: every verdict of results/README.md and its boundaries."""

import itertools
import math
from typing import Any

import pytest
from arm_trials import study, trial_rows
from scipy import stats

from analysis.results import Results
from analysis.tables.answer import word
from analysis.tables.arms import compare_arms
from trainable import names

MARGIN = 0.03
UNIFORM = {"teacher.kind": "uniform"}
Trial = tuple[dict[str, Any], Any]


def arms(losses: dict[str, list[float]], **more: Any) -> Results:
    """Make trials whose final losses are 6 + `losses`, by arm and seed; "uniform", "shuffled" and "ramp" are rivals."""
    kinds = {"uniform": UNIFORM, "shuffled": {"teacher.kind": "shuffled"}, "ramp": {"teacher.kind": "ramp"}}
    trials = [
        trial_rows(arm, seed, offset, **{"teacher.kind": "bigram", **kinds.get(arm, {}), **more})
        for arm, offsets in losses.items()
        for seed, offset in enumerate(offsets)
    ]
    return study(*trials)


def row_of(results: Results, arm: str = "bigram") -> dict[Any, Any]:
    listed = list(dict.fromkeys(results.trials["arm"]))
    table = compare_arms(results, listed)
    (found,) = table[table["arm"] == arm].to_dict("records")
    return dict(found)


def said(bigram: list[float], **others: list[float]) -> str:
    control = [0.0] * len(bigram)
    return word(row_of(arms({"none": control, **others, "bigram": bigram})), MARGIN)


NOISE = [-0.002, 0.0, 0.002]


def around(mean: float) -> list[float]:
    """Return three losses close to a mean, which is also their mean."""
    return [mean + one for one in NOISE]


def test_the_content_helps_where_it_is_better_than_control_and_rival_by_the_margin() -> None:
    assert said(around(-0.10), uniform=[-0.05] * 3) == "the content helps"


def test_an_optimisation_aid_is_better_than_the_control_but_not_than_the_rival() -> None:
    assert said(around(-0.10), uniform=around(-0.11)) == "an optimisation aid"


def test_every_rival_must_be_beaten_and_the_best_one_by_the_margin() -> None:
    assert said(around(-0.10), shuffled=[0.4] * 3) == "the content helps"
    assert said(around(-0.10), shuffled=[0.4] * 3, uniform=around(-0.10)) == "an optimisation aid"
    assert said(around(-0.10), shuffled=[0.4] * 3, uniform=[-0.08] * 3) == "an optimisation aid"


def test_a_rival_that_is_worse_only_on_average_is_not_beaten() -> None:
    """A rival that is worse by (0, 0, 0.3), one-sided p 0.21, is not beaten, so the arm is no more than an aid."""
    assert said(around(-0.10), uniform=[-0.04] * 3, shuffled=[-0.10, -0.10, 0.2]) == "an optimisation aid"


def test_a_content_arm_that_is_better_only_than_a_harmful_rival_does_not_help() -> None:
    """A content arm that is better than a harmful rival but not than the control has no effect."""
    assert said(around(0.0), uniform=[0.2] * 3) == "no effect"


def test_no_effect_needs_the_upper_bound_below_the_margin() -> None:
    assert said(around(-0.01), uniform=around(-0.05)) == "no effect"
    assert said([0.10, -0.08, -0.04], uniform=around(-0.05)) == "undecided"


def test_a_mean_gain_equal_to_the_margin_is_enough_despite_rounding_and_a_smaller_one_is_not() -> None:
    assert said([-0.03] * 3, uniform=[0.0] * 3) == "the content helps"
    assert said([-0.0299] * 3, uniform=[0.0] * 3) == "no effect"
    row = row_of(arms({"none": [0.0] * 3, "uniform": [0.0] * 3, "bigram": [-0.03] * 3}))
    assert word(row, 0.03 + 1e-9) == "no effect"


def test_the_verdict_changes_where_the_one_sided_p_crosses_five_percent() -> None:
    """A spread of the gains for which p is just above 0.05 gives "undecided"; just below 0.05, the content helps."""
    critical = float(stats.t.ppf(0.95, 2))
    for factor, expected in ((0.999, "undecided"), (1.001, "the content helps")):
        spread = 0.1 * math.sqrt(3) / (critical * factor)
        gains = [0.1 - spread, 0.1, 0.1 + spread]
        assert said([-gain for gain in gains], uniform=[0.0] * 3) == expected


def test_one_seed_allows_no_claim() -> None:
    assert said([-0.5], uniform=[0.0]) == "no claim"


def test_without_a_rival_only_the_control_can_be_beaten() -> None:
    assert said(around(-0.10)) == "better than the control"
    assert said(around(-0.01)) == "no effect"


def test_an_arm_with_one_common_seed_does_not_count_as_a_rival() -> None:
    results = arms({"none": [0.0] * 3, "uniform": [-0.2], "bigram": around(-0.10)})
    row = row_of(results)
    assert row["best_rival"] == "" and word(row, MARGIN) == "better than the control"


def test_gain_aid_and_content_gain_are_those_of_scipy_and_add_up() -> None:
    losses = {"none": [0.3, 0.1, 0.2], "uniform": [0.25, 0.09, 0.12], "bigram": [0.11, 0.02, 0.0]}
    row = row_of(arms(losses))
    pairs = {
        ("gain", "gain_low", "gain_high"): ("none", "bigram"),
        ("aid", "aid_low", "aid_high"): ("none", "uniform"),
        ("content_gain", "content_low", "content_high"): ("uniform", "bigram"),
    }
    for columns, (first, second) in pairs.items():
        values = [a - b for a, b in zip(losses[first], losses[second], strict=True)]
        test = stats.ttest_1samp(values, 0)
        interval = test.confidence_interval(0.95)
        expected = (sum(values) / 3, interval.low, interval.high)
        assert [row[name] for name in columns] == pytest.approx(expected)
    assert row["gain"] == pytest.approx(row["aid"] + row["content_gain"])
    one_sided = stats.ttest_rel(losses["uniform"], losses["bigram"], alternative="greater").pvalue
    assert row["rivals_p"] == pytest.approx(one_sided)
    gains = [a - b for a, b in zip(losses["none"], losses["bigram"], strict=True)]
    upper = stats.ttest_1samp(gains, 0, alternative="less").confidence_interval(0.95).high
    assert row["gain_upper"] == pytest.approx(upper)


def test_the_best_rival_has_the_lowest_loss_among_those_with_all_seeds() -> None:
    results = arms({"none": [0.0] * 3, "uniform": around(-0.05), "ramp": around(-0.06), "bigram": around(-0.2)})
    assert row_of(results)["best_rival"] == "ramp"
    lacking = arms({"none": [0.0] * 3, "uniform": around(-0.05), "ramp": around(-0.06)[:2], "bigram": around(-0.2)})
    assert row_of(lacking)["best_rival"] == "uniform"


def test_over_folds_the_intervals_are_those_of_nadeau_and_bengio() -> None:
    losses = {"none": [0.3, 0.1, 0.2], "uniform": [0.25, 0.09, 0.12], "bigram": [0.11, 0.02, 0.0]}
    kinds = {"none": "bigram", "uniform": "uniform", "bigram": "bigram"}
    trials = [
        trial_rows(arm, 0, offset, **{"teacher.kind": kinds[arm], "corpus.fold": fold, "corpus.folds": 3.0})
        for arm, offsets in losses.items()
        for fold, offset in enumerate(offsets)
    ]
    row = row_of(study(*trials))
    values = [a - b for a, b in zip(losses["uniform"], losses["bigram"], strict=True)]
    error = stats.tstd(values) * math.sqrt(1 / 3 + 50 / 200)
    assert row["content_high"] - row["content_gain"] == pytest.approx(float(stats.t.ppf(0.975, 2)) * error)


def test_steps_to_the_rivals_loss_are_a_mean_over_seeds_that_all_got_there() -> None:
    """An arm that is lower by 0.25 gets there 10 steps earlier, for losses fall by 1/40 a step; a step takes 1 s."""
    row = row_of(arms({"none": [0.5] * 2, "uniform": [0.25] * 2, "bigram": [0.0, 0.125]}))
    assert (row["steps_to_rival"], row["seconds_to_rival"]) == pytest.approx((112.5, 112.5))
    assert (row["steps_to_control"], row["seconds_to_control"]) == pytest.approx((102.5, 102.5))
    late = row_of(arms({"none": [0.5] * 2, "uniform": [0.25] * 2, "bigram": [0.0, 0.3]}))
    assert math.isnan(late["steps_to_rival"])


def test_rivals_and_controls_have_no_content_gain() -> None:
    results = arms({"none": [0.1] * 3, "uniform": around(-0.05), "bigram": around(-0.2)})
    for arm, expected in (("none", "control"), ("uniform", "rival"), ("bigram", "content")):
        row = row_of(results, arm)
        assert row["class"] == expected
        assert math.isnan(row["content_gain"]) == (arm != "bigram")


def test_a_leak_probe_is_recognised_by_the_rows_that_its_teacher_counted() -> None:
    results = arms({"none": [0.0] * 3, "bigram": around(-0.2)}, **{"teacher.rows": "all"})
    assert row_of(results)["is_leak"]
    assert not row_of(arms({"none": [0.0] * 3, "bigram": around(-0.2)}, **{"teacher.rows": "student"}))["is_leak"]


def test_the_verdict_follows_its_definition_for_many_numbers() -> None:
    """The verdict equals one recomputed from the definition, for all combinations of values around its boundaries."""
    for gain, p, content, rivals_p, upper in itertools.product(
        (0.02, 0.03, 0.1), (0.049, 0.05), (0.02, 0.03), (0.049, 0.05), (0.029, 0.03, 0.2)
    ):
        row = {names.GAIN: gain, "gain_p": p, "gain_upper": upper, "best_rival": "uniform"}
        row |= {"content_gain": content, "rivals_p": rivals_p}
        aids = gain >= 0.03 and p < 0.05
        helps = aids and content >= 0.03 and rivals_p < 0.05
        expected = "the content helps" if helps else "an optimisation aid" if aids else None
        assert word(row, MARGIN) == (expected or ("no effect" if upper < 0.03 else "undecided"))
