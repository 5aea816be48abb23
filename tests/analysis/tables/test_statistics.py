"""Paired statistics against scipy, independent formulas and the five published folds."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from analysis.tables.statistics import (
    equivalence,
    holm,
    nadeau_bengio,
    one_sided,
    paired_t,
    student_interval,
    verdict,
    wilcoxon,
    wilcoxon_least_p,
)

NONE = [4.4371, 4.4340, 4.4403, 4.4550, 4.4235]
LINEAR_240 = [4.3962, 4.4027, 4.4018, 4.4095, 4.4106]
PUBLISHED = list(np.subtract(NONE, LINEAR_240))

GAINS = st.lists(st.floats(-1, 1).map(lambda x: round(x, 3)), min_size=3, max_size=8, unique=True)


def t4_two_sided_p(t: float) -> float:
    """Return the two-sided p of Student's t with 4 degrees of freedom, from the algebraic form of its distribution."""
    u = t * t / 4
    return 1 - 2 * (3 / 8) * abs(t) / math.sqrt(1 + u) * (1 - u / (3 * (1 + u)))


def test_published_folds_have_the_published_mean_and_deviation() -> None:
    found = paired_t(PUBLISHED)
    sd = found.mean / found.statistic * math.sqrt(5)
    assert (round(found.mean, 4), round(sd, 4)) == (0.0338, 0.0128)


def test_published_interval_is_the_one_for_a_ratio_of_one_quarter() -> None:
    found = nadeau_bengio(PUBLISHED, 1 / 4)
    assert (round(found.low, 3), round(found.high, 3), round(found.p, 3)) == (0.010, 0.058, 0.017)


def test_the_smaller_published_p_is_the_one_for_the_ratio_of_the_rows_that_were_used() -> None:
    found = nadeau_bengio(PUBLISHED, 200_000 / 1_000_000)
    assert (round(found.low, 3), round(found.high, 3), round(found.p, 3)) == (0.011, 0.056, 0.014)


@pytest.mark.parametrize("ratio", [0.0, 0.2, 0.25, 1.0])
def test_nadeau_bengio_p_agrees_with_the_algebraic_distribution_at_five_folds(ratio: float) -> None:
    found = nadeau_bengio(PUBLISHED, ratio)
    gains = np.array(PUBLISHED)
    mean = gains.sum() / 5
    statistic = mean / math.sqrt((1 / 5 + ratio) * ((gains - mean) ** 2).sum() / 4)
    assert found.statistic == pytest.approx(statistic, rel=1e-12)
    assert found.df == 4
    assert found.p == pytest.approx(t4_two_sided_p(statistic), rel=1e-9)


@given(GAINS, st.floats(0, 2))
def test_nadeau_bengio_is_scipys_t_shrunk_by_the_correction(gains: list[float], ratio: float) -> None:
    k = len(gains)
    plain = stats.ttest_1samp(gains, 0)
    shrunk = plain.statistic / math.sqrt(1 + k * ratio)
    found = nadeau_bengio(gains, ratio)
    assert found.statistic == pytest.approx(shrunk, rel=1e-9, abs=1e-12)
    assert found.p == pytest.approx(2 * stats.t.sf(abs(shrunk), k - 1), rel=1e-9)


@given(GAINS, st.floats(0, 2))
def test_the_interval_ends_where_p_is_five_percent(gains: list[float], ratio: float) -> None:
    found = nadeau_bengio(gains, ratio)
    for end in (found.low, found.high):
        assert nadeau_bengio(list(np.subtract(gains, end)), ratio).p == pytest.approx(0.05, abs=1e-6)


@given(GAINS)
def test_paired_t_equals_that_of_scipy(gains: list[float]) -> None:
    found, expected = paired_t(gains), stats.ttest_rel(gains, np.zeros(len(gains)))
    assert (found.statistic, found.p) == pytest.approx((expected.statistic, expected.pvalue), rel=1e-9, abs=1e-12)
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval(0.95)), rel=1e-9, abs=1e-12)


@given(GAINS)
def test_student_interval_equals_that_of_scipy(gains: list[float]) -> None:
    expected = stats.t.interval(0.95, len(gains) - 1, loc=np.mean(gains), scale=stats.sem(gains))
    assert student_interval(gains) == pytest.approx(expected, rel=1e-9, abs=1e-12)


def signed_rank_p(gains: list[float]) -> float:
    """Return the share of all 2^k choices of signs whose rank sum is at least as far from the middle."""
    ranks = stats.rankdata(np.abs(gains))
    middle = ranks.sum() / 2
    seen = abs(ranks[np.array(gains) > 0].sum() - middle)
    signs = itertools.product([0, 1], repeat=len(gains))
    return float(np.mean([abs(np.dot(sign, ranks) - middle) >= seen - 1e-9 for sign in signs]))


@given(GAINS.map(lambda gains: [gain for gain in gains if gain] or [1.0]))
@settings(deadline=None)
def test_wilcoxon_p_is_the_share_of_choices_of_signs_that_are_as_extreme(gains: list[float]) -> None:
    assert wilcoxon(gains).p == pytest.approx(signed_rank_p(gains))


def test_wilcoxon_is_exact_with_ties_too() -> None:
    gains = [0.1, 0.1, 0.1, -0.2, 0.3]
    assert wilcoxon(gains).p == pytest.approx(signed_rank_p(gains))


def test_wilcoxon_sees_ties_through_the_noise_of_binary_fractions() -> None:
    assert 0.3 - 0.2 != 0.2 - 0.1
    assert wilcoxon([0.3 - 0.2, 0.1 - 0.2, 0.4]).statistic == 1.5  # ranks 1.5 and 1.5, not 1 and 2


@pytest.mark.parametrize("k", range(2, 9))
def test_gains_of_one_sign_have_the_least_wilcoxon_p_that_their_number_allows(k: int) -> None:
    found = wilcoxon([0.01 * (i + 1) for i in range(k)])
    assert found.p == pytest.approx(found.least_p) == pytest.approx(2 / 2**k)
    assert found.pairs == k


def test_wilcoxon_p_at_five_folds_is_above_five_percent() -> None:
    assert wilcoxon(PUBLISHED) == pytest.approx((5, 0.0, 0.0625, 0.0625))
    assert wilcoxon_least_p(5) == 0.0625


def test_pairs_without_a_difference_are_left_out_and_raise_the_least_p() -> None:
    assert wilcoxon([0.1, 0.2, 0.0]).least_p == wilcoxon_least_p(2) == 0.5
    assert wilcoxon([0.0, 0.0]) == (0, 0.0, 1.0, 1.0)


def test_one_value_has_a_mean_but_no_test_and_no_interval() -> None:
    found = nadeau_bengio([0.03], 0.25)
    assert found.mean == 0.03
    assert all(math.isnan(value) for value in (found.statistic, found.p, found.low, found.high))
    assert all(map(math.isnan, student_interval([0.03])))


def test_gains_without_spread_have_p_0_or_if_they_are_0_no_p() -> None:
    assert paired_t([0.5, 0.5]) == (0.5, math.inf, 1, 0.0, 0.5, 0.5)
    assert np.std([0.1] * 3) > 0 and paired_t([0.1] * 3).statistic == math.inf
    assert math.isnan(paired_t([0.0, 0.0]).p)


@pytest.mark.parametrize("gains", [[], [0.1, math.nan], [0.1, math.inf]])
def test_missing_gains_are_refused(gains: list[float]) -> None:
    with pytest.raises(ValueError, match="finite"):
        paired_t(gains)


@pytest.mark.parametrize("ratio", [-0.1, math.nan, math.inf])
def test_an_impossible_ratio_is_refused(ratio: float) -> None:
    with pytest.raises(ValueError, match="test_over_train"):
        nadeau_bengio(PUBLISHED, ratio)


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [(0.1, 0.2, "better"), (-0.2, -0.1, "worse"), (-0.1, 0.1, "undecided"), (math.nan, math.nan, "no claim")],
)
def test_the_verdict_follows_from_where_the_interval_lies(low: float, high: float, said: str) -> None:
    assert verdict(low, high) == said


# ---- one-sided tests, equivalence, several tests -------------------------------------------------------------------


@given(GAINS)
def test_one_sided_p_equals_that_of_scipy(gains: list[float]) -> None:
    expected = stats.ttest_1samp(gains, 0, alternative="greater").pvalue
    assert one_sided(paired_t(gains)) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@given(GAINS, st.floats(0.001, 1))
def test_equivalence_is_the_larger_p_of_scipys_tests_with_shifted_means(gains: list[float], margin: float) -> None:
    above = stats.ttest_1samp(gains, -margin, alternative="greater").pvalue
    below = stats.ttest_1samp(gains, margin, alternative="less").pvalue
    assert equivalence(gains, margin) == pytest.approx(max(above, below), rel=1e-9, abs=1e-12)


@given(GAINS, st.floats(0.001, 1), st.floats(0, 2))
def test_equivalence_is_shown_where_the_corrected_90_percent_interval_lies_within_the_margin(
    gains: list[float], margin: float, ratio: float
) -> None:
    k = len(gains)
    reach = stats.t.ppf(0.95, k - 1) * np.std(gains, ddof=1) * math.sqrt(1 / k + ratio)
    room = margin - max(abs(np.mean(gains) - reach), abs(np.mean(gains) + reach))
    assert abs(room) < 1e-9 or (equivalence(gains, margin, ratio) < 0.05) == (room > 0)


def test_values_without_spread_have_an_equivalence_p_of_0_or_1() -> None:
    assert equivalence([0.0, 0.0], 0.03) == 0.0
    assert equivalence([0.5, 0.5], 0.03) == 1.0
    assert math.isnan(equivalence([0.01], 0.03))


@pytest.mark.parametrize("margin", [0.0, -0.1, math.nan, math.inf])
def test_an_impossible_margin_is_refused(margin: float) -> None:
    with pytest.raises(ValueError, match="margin"):
        equivalence(PUBLISHED, margin)


def test_holms_adjusted_p_equal_those_worked_out_by_hand() -> None:
    """Adjusted p are the sorted p (0.01, 0.02, 0.03, 0.04) times 4, 3, 2, 1, and never below the p before."""
    assert holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == pytest.approx([1.0, 1.0])


def test_holm_leaves_out_missing_p() -> None:
    found = holm([0.04, math.nan, 0.01])
    assert found[[0, 2]] == pytest.approx([0.04, 0.02]) and math.isnan(found[1])
    assert len(holm([])) == 0


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_rejects_what_the_step_down_procedure_rejects(ps: list[float]) -> None:
    rejected, order = set(), sorted(range(len(ps)), key=ps.__getitem__)
    for tested, index in enumerate(order):
        if ps[index] * (len(ps) - tested) > 0.05:
            break
        rejected.add(index)
    assert {index for index, p in enumerate(holm(ps)) if p <= 0.05} == rejected
