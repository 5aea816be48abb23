"""Contrasts of arms: which trials make a pair, numbers recomputed with scipy, and what is missing."""

import math
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import pytest
from arm_trials import STEPS, study, trial_rows
from paths import ROOT
from scipy import stats

from analysis.results import Results, load
from analysis.tables.contrasts import END, NOT_BEGUN, compared_trials, contrasts, unconfirmed_depths
from analysis.tables.statistics import nadeau_bengio
from trainable import names
from trainable.record.run_record import RunRecord, read_record

RECORD = ROOT / "results" / "record"
PUBLISHED = ROOT / "results" / "published"
OFFSETS = {"none": (0.0, 0.1, 0.2), "linear": (-0.3, -0.28, -0.05), "uniform": (-0.31, -0.25, -0.1)}


def three_arms(**settings: Any) -> Results:
    return study(
        *(trial_rows(arm, unit, off, **settings) for arm, offs in OFFSETS.items() for unit, off in enumerate(offs))
    )


def made(results: Results, record: RunRecord | None = None, **more: Any) -> pd.DataFrame:
    return contrasts(compared_trials(results, record), results.curves, record, **more)


def one(table: pd.DataFrame, first: str, second: str, at: float = END, **more: Any) -> pd.Series:
    rows = table[(table["first"] == first) & (table["second"] == second) & (table["at"] == at)]
    for name, value in more.items():
        rows = rows[rows[name.replace("__", ".")] == value]
    assert len(rows) == 1
    return rows.iloc[0]


def changed(results: Results, arm: str, unit: int, **changes: Any) -> Results:
    trials = results.trials.copy()
    trials.loc[(trials["arm"] == arm) & (trials["seed"] == unit), list(changes)] = list(changes.values())
    return Results(trials, results.curves)


# ---- the numbers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("first", "second"), [("none", "linear"), ("none", "uniform"), ("linear", "uniform")])
def test_contrasts_over_seeds_equal_those_of_scipy(first: str, second: str) -> None:
    row = one(made(three_arms(), margin=0.2), first, second)
    a, b = np.array(OFFSETS[first]), np.array(OFFSETS[second])
    both = stats.ttest_rel(a, b)
    assert row["difference"] == pytest.approx((a - b).mean())
    assert (row["low"], row["high"]) == pytest.approx(tuple(both.confidence_interval(0.95)))
    assert row["p"] == pytest.approx(both.pvalue)
    assert row["p_one_sided"] == pytest.approx(stats.ttest_rel(a, b, alternative="greater").pvalue)
    above = stats.ttest_1samp(a - b, -0.2, alternative="greater").pvalue
    below = stats.ttest_1samp(a - b, 0.2, alternative="less").pvalue
    assert row["p_equivalent"] == pytest.approx(max(above, below))
    assert row["equivalent"] == (max(above, below) < 0.05)


def test_contrasts_of_a_kept_run_over_folds_equal_those_recomputed_from_its_curves() -> None:
    run = RECORD / "kfold_published_h200"
    record, results = read_record(run), load(run)
    table = made(results, record)
    curves = pd.read_parquet(run / names.CURVES_TABLE)
    for first, second in combinations(record.arms, 2):
        for at, step in ((0.1, 59), (0.25, 147), (0.5, 294), (END, 588)):
            losses = {arm: by_hand(curves, arm, step) for arm in (first, second)}
            gaps = losses[first] - losses[second]
            row = one(table, first, second, at)
            error = gaps.std(ddof=1) * math.sqrt(1 / 5 + 10_000 / 1_000_000)
            assert row["step"] == step
            assert row["difference"] == pytest.approx(gaps.mean())
            reach = stats.t.ppf(0.975, 4) * error
            assert (row["low"], row["high"]) == pytest.approx((gaps.mean() - reach, gaps.mean() + reach))
            shrunk = stats.ttest_1samp(gaps, 0).statistic / math.sqrt(1 + 5 * 0.01)
            assert row["p"] == pytest.approx(2 * stats.t.sf(abs(shrunk), 4))
            assert row["p_one_sided"] == pytest.approx(stats.t.sf(shrunk, 4))
            nearer = min(0.03 - gaps.mean(), 0.03 + gaps.mean()) / error
            assert row["p_equivalent"] == pytest.approx(stats.t.sf(nearer, 4))
            assert (row["pairs"], row["planned"], row["folds"]) == (5, 5, 5)
    end = one(table, "linear 240", "uniform, linear 240")
    assert (round(end["difference"], 4), round(end["low"], 4), round(end["high"], 4)) == (0.0359, 0.0228, 0.0490)


def by_hand(curves: pd.DataFrame, arm: str, step: int) -> np.ndarray:
    """Return the losses of an arm by fold, interpolated linearly between reports, which are 30 steps apart."""
    own = curves[curves["arm"] == arm].pivot(index="step", columns="corpus.fold", values="eval_loss")
    if step in own.index:
        return own.loc[step].to_numpy()
    before = step // 30 * 30
    share = (step - before) / 30
    return ((1 - share) * own.loc[before] + share * own.loc[before + 30]).to_numpy()


def test_the_published_folds_have_the_published_interval_though_one_fold_is_a_step_shorter() -> None:
    row = one(made(load(PUBLISHED / "k_fold")), "none", "linear 240")
    assert [round(row[name], 3) for name in ("difference", "low", "high", "p")] == [0.034, 0.010, 0.058, 0.017]
    assert (row["step"], row["pairs"], row["planned"], row["test_over_train"]) == (570, 5, 5, 0.25)


def test_seeds_of_a_fold_are_averaged_before_the_test() -> None:
    gaps = {0: (0.3, 0.1), 1: (0.25, 0.35), 2: (0.5, 0.3)}
    trials = []
    for fold, both in gaps.items():
        for seed, gap in enumerate(both):
            own = {"corpus.fold": fold, "corpus.folds": 3.0}
            trials += [trial_rows("none", seed, 0.1 * fold, **own), trial_rows("linear", seed, 0.1 * fold - gap, **own)]
    row = one(made(study(*trials)), "none", "linear")
    expected = nadeau_bengio([0.2, 0.3, 0.4], 50 / 200)
    assert (row["difference"], row["p"], row["low"]) == pytest.approx((expected.mean, expected.p, expected.low))
    assert (row["pairs"], row["folds"]) == (6, 3)


def test_holms_adjustment_counts_every_test_of_the_table() -> None:
    deep = study(
        *(
            trial_rows(arm, unit, 2 * off + 0.01 * unit, **{"model.layers": 2})
            for arm, offs in OFFSETS.items()
            for unit, off in enumerate(offs)
        )
    )
    shallow = three_arms()
    both = Results(pd.concat([shallow.trials, deep.trials]), pd.concat([shallow.curves, deep.curves]))
    table = made(both)
    assert list(table.groupby("model.layers").size()) == [12, 12]
    least = table.loc[table["p"].idxmin()]
    assert least["p_holm"] == pytest.approx(min(1, 24 * least["p"]))
    assert one(table, "none", "linear", model__layers=2)["difference"] == pytest.approx(
        2 * one(table, "none", "linear", model__layers=1)["difference"]
    )


def test_a_loss_between_two_evaluations_is_on_the_straight_line() -> None:
    results = three_arms()
    linear = results.trials["arm"] == "linear"
    names_of = set(results.trials.loc[linear, "trial"])
    steep = results.curves["trial"].isin(names_of) & (results.curves["step"] == 20)
    results.curves.loc[steep, "eval_loss"] -= 1.0
    row = one(made(results), "none", "linear", 0.1)  # step 12 of 120, evaluations at 0 and 20
    plain = np.subtract(OFFSETS["none"], OFFSETS["linear"]).mean()
    assert (row["step"], row["difference"]) == (12, pytest.approx(plain + 0.6))


def test_controls_come_first_and_arms_as_the_study_lists_them() -> None:
    record = read_record(RECORD / "kfold_published_h200")
    table = made(load(RECORD / "kfold_published_h200"), record)
    pairs = list(dict.fromkeys(zip(table["first"], table["second"], strict=True)))
    none, linear, uniform = record.arms
    assert pairs == [(none, linear), (none, uniform), (linear, uniform)]


# ---- what is missing -----------------------------------------------------------------------------------------------


def test_a_unit_that_lacks_an_arm_makes_no_pair() -> None:
    """The difference is the mean over the two whole pairs, not the difference of the arms' means."""
    results = three_arms()
    lost = (results.trials["arm"] == "none") & (results.trials["seed"] == 0)
    row = one(made(Results(results.trials[~lost], results.curves)), "none", "linear")
    assert row["difference"] == pytest.approx(np.mean([0.1 + 0.28, 0.2 + 0.05]))
    assert (row["pairs"], row["planned"]) == (2, 3)


def test_an_arm_that_diverged_keeps_the_pairs_before_it() -> None:
    results = changed(three_arms(), "linear", 1, state=names.FAILED, eval_loss=np.nan)
    trial = results.trials.loc[results.trials["state"] == names.FAILED, "trial"].iloc[0]
    results.curves.loc[(results.curves["trial"] == trial) & (results.curves["step"] >= 40), "eval_loss"] = np.nan
    table = made(results)
    assert [one(table, "none", "linear", at)["pairs"] for at in (0.1, 0.25, 0.5, END)] == [3, 2, 2, 2]
    assert one(table, "none", "linear")["planned"] == 3
    assert one(table, "none", "linear")["difference"] == pytest.approx(np.mean([0.3, 0.25]))


def test_two_trials_that_ended_at_different_steps_are_no_pair_at_the_end() -> None:
    results = three_arms()
    short = trial_rows("linear", 3, -0.3, steps=STEPS[:-1])
    whole = trial_rows("none", 3, 0.0)
    added = study(short, whole)
    both = Results(pd.concat([results.trials, added.trials]), pd.concat([results.curves, added.curves]))
    table = made(both)
    assert (one(table, "none", "linear", 0.5)["pairs"], one(table, "none", "linear")["pairs"]) == (4, 3)


def test_one_pair_gives_a_difference_but_no_statistics() -> None:
    table = made(study(trial_rows("none", 0, 0.0), trial_rows("linear", 0, -0.3)))
    row = one(table, "none", "linear")
    assert (row["difference"], row["pairs"]) == (pytest.approx(0.3), 1)
    assert row[["sd", "low", "high", "p", "p_one_sided", "p_holm", "p_equivalent", "equivalent"]].isna().all()


def test_arms_without_a_common_unit_have_a_row_that_says_so() -> None:
    row = one(made(study(trial_rows("none", 0, 0.0), trial_rows("linear", 1, -0.3))), "none", "linear")
    assert (row["pairs"], row["planned"]) == (0, 2)
    assert math.isnan(row["difference"])


@pytest.mark.filterwarnings("error")
def test_identical_arms_cause_no_division_by_zero_and_are_equivalent() -> None:
    same = study(*(trial_rows(arm, unit, 0.1 * unit) for arm in ("none", "linear") for unit in range(3)))
    table = made(same)
    row = one(table, "none", "linear")
    assert (row["difference"], row["sd"], row["low"], row["high"], row["p_equivalent"]) == (0, 0, 0, 0, 0)
    assert row["equivalent"] and row[["p", "p_one_sided", "p_holm"]].isna().all()


def test_a_difference_that_is_equal_in_every_pair_but_for_rounding_has_no_spread() -> None:
    offsets = (0.1, 0.2, 2.7)
    assert np.ptp([(6 + off) - (6 + off - 0.3) for off in offsets]) > 0
    trials = [
        trial_rows(arm, u, off - gap) for arm, gap in (("none", 0), ("linear", 0.3)) for u, off in enumerate(offsets)
    ]
    row = one(made(study(*trials)), "none", "linear")
    assert (row["sd"], row["low"], row["high"]) == (0, 0.3, 0.3)
    assert row[["p", "p_one_sided", "p_holm"]].isna().all()


def test_a_planned_trial_without_a_folder_counts_as_a_missed_pair() -> None:
    run = RECORD / "kfold_published_h200"
    record, results = read_record(run), load(run)
    gone = (results.trials["arm"] == "linear 240") & (results.trials["corpus.fold"] >= 3)
    rest = Results(results.trials[~gone], results.curves)
    assert list(compared_trials(rest, record)["state"]).count(NOT_BEGUN) == 2
    table = made(rest, record)
    assert [one(table, "none", "linear 240")[name] for name in ("pairs", "planned", "folds")] == [3, 5, 3]
    assert one(table, "none", "uniform, linear 240")["pairs"] == 5


def test_an_arm_for_which_fewer_units_are_planned_misses_no_pair() -> None:
    run = RECORD / "kfold_published_h200"
    record, results = read_record(run), load(run)
    fewer = [
        plan for plan in record.plans if not (plan["arm"] == "linear 240" and plan["config"]["corpus"]["fold"] > 2)
    ]
    shorter = RunRecord(**{**vars(record), "spec": {**record.spec, "plans": fewer}})
    gone = (results.trials["arm"] == "linear 240") & (results.trials["corpus.fold"] > 2)
    row = one(made(Results(results.trials[~gone], results.curves), shorter), "none", "linear 240")
    assert (row["pairs"], row["planned"]) == (3, 3)


# ---- groups, searches, tuned rates ---------------------------------------------------------------------------------


def test_arms_are_compared_within_a_depth_a_length_and_a_validation_set() -> None:
    table = made(load(RECORD / "training_budget_books"), read_record(RECORD / "training_budget_books"))
    assert list(table.groupby("budget").size()) == [12, 12, 12, 12]
    assert set(table["planned"]) == {3}


def test_a_search_contrasts_the_confirmed_winner_of_each_depth_with_its_controls() -> None:
    run = RECORD / "schedule_search_books"
    trials = load(run).trials
    table = made(load(run), read_record(run))
    assert list(table.groupby("model.layers").size()) == [4, 4]
    for depth in (1, 2):
        confirmed = trials[(trials["role"] == names.CONFIRM) & (trials["model.layers"] == depth)]
        row = table[(table["model.layers"] == depth) & (table["at"] == END)].iloc[0]
        assert row["difference"] == pytest.approx(confirmed["gain"].mean())
        assert row["p"] == pytest.approx(stats.ttest_1samp(confirmed["gain"], 0).pvalue)
        assert (row["pairs"], row["planned"]) == (3, 3)


def test_a_winner_without_confirmations_has_no_contrast() -> None:
    results = load(RECORD / "schedule_search_books")
    unsure = (results.trials["role"] == names.CONFIRM) & (results.trials["model.layers"] == 2)
    rest = Results(results.trials[~unsure], results.curves)
    assert set(made(rest)["model.layers"]) == {1}
    assert unconfirmed_depths(rest, compared_trials(rest)) == [2]


def test_tuned_arms_are_compared_each_at_its_own_best_rate() -> None:
    rates = {"none": {1e-3: 0.2, 3e-3: 0.0}, "linear": {1e-3: -0.3, 3e-3: 0.4}}
    trials = [
        trial_rows(arm, unit, off + 0.1 * unit, **{"optimizer.lr": rate})
        for arm, own in rates.items()
        for rate, off in own.items()
        for unit in range(3)
    ]
    table = made(study(*trials))
    assert one(table, "none, lr 0.003", "linear, lr 0.001")["difference"] == pytest.approx(0.3)
    assert len(table) == 4


def test_a_run_without_a_report_has_no_contrast_and_no_error() -> None:
    results = study(trial_rows("none", 0, 0.0), trial_rows("linear", 0, 0.0))
    empty = Results(results.trials.iloc[:0], results.curves.iloc[:0])
    assert made(empty).empty
