"""Statistics over folds, against those of the five published folds."""

import math

import pandas as pd
import pytest
from fold_trials import LINEAR_240, NONE, pair, table, text

from analysis.tables.folds import kfold_rows, kfold_statistics
from analysis.tables.statistics import verdict


@pytest.fixture
def five() -> pd.DataFrame:
    return table(*(pair(fold, *losses) for fold, losses in enumerate(zip(NONE, LINEAR_240, strict=True))))


def test_the_published_losses_give_the_published_statistics(five: pd.DataFrame) -> None:
    (found,) = kfold_statistics(kfold_rows(five.drop(columns="corpus.train_rows")))
    assert (round(found.gain_mean, 4), round(found.gain_sd, 4)) == (0.0338, 0.0128)
    assert (found.test_over_train, found.rows_known) == (1 / 4, False)
    assert round(found.corrected.p, 3) == 0.017
    assert (round(found.corrected.low, 3), round(found.corrected.high, 3)) == (0.010, 0.058)
    assert found.signed_rank.p == found.signed_rank.least_p == 0.0625
    assert verdict(found.corrected.low, found.corrected.high) == "better"
    assert (found.steps_to_control, found.control_steps, found.seconds_saved) == (480, 570, -3210)


def test_the_ratio_comes_from_the_numbers_of_rows_where_they_are_known(five: pd.DataFrame) -> None:
    (found,) = kfold_statistics(kfold_rows(five))
    assert (found.test_over_train, found.rows_known) == (0.2, True)
    assert round(found.corrected.p, 3) == 0.014


def test_the_ratio_is_of_the_planned_folds_also_when_some_are_left_out(five: pd.DataFrame) -> None:
    (found,) = kfold_statistics(kfold_rows(five.iloc[:6].drop(columns=["corpus.train_rows", "corpus.eval_rows"])))
    assert (found.folds, found.planned, found.test_over_train) == (3, 5, 1 / 4)


def test_seeds_are_averaged_within_their_fold_and_folds_are_the_units() -> None:
    seeds = [pair(0, 4.5, 4.4, 0), pair(0, 4.5, 4.2, 1), pair(1, 4.5, 4.4, 0)]
    rows = kfold_rows(table(*seeds))
    assert list(rows["seeds"]) == [2, 1]
    assert list(rows["gain"]) == pytest.approx([0.2, 0.1])
    assert rows["gain_se"][0] == pytest.approx(0.1)  # half the distance between the gains of the two seeds
    assert kfold_statistics(rows)[0].corrected.df == 1
    assert "the 1 to 2 seeds of a fold are averaged first" in text(table(*seeds))


def test_there_are_no_mean_steps_to_the_control_if_one_fold_never_reached_it(five: pd.DataFrame) -> None:
    five.loc[1, "steps_to_control"] = math.nan
    (found,) = kfold_statistics(kfold_rows(five))
    assert found.reached == 4
    assert math.isnan(found.steps_to_control)
    assert "4 of 5 folds reached the control's final loss" in text(five)


def test_an_interval_that_contains_zero_is_undecided() -> None:
    trials = table(pair(0, 4.5, 4.4), pair(1, 4.5, 4.55))
    (found,) = kfold_statistics(kfold_rows(trials))
    assert verdict(found.corrected.low, found.corrected.high) == "undecided"
