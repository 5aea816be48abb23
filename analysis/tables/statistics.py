"""Paired statistics for gains on k folds (or seeds), as pure functions of numbers.

The folds of a cross-validation share training data, so their gains are not independent, and p of a plain t test is too
small. `nadeau_bengio` corrects its variance; quote this test. The plain paired t and Wilcoxon's test are given for
comparison. These tests are two-sided, of a mean (Wilcoxon: a centre) of 0. `one_sided` tests for a mean above 0,
`equivalence` for a mean within a margin. `holm` adjusts the p of several tests.

    >>> from analysis.tables.statistics import nadeau_bengio
    >>> nadeau_bengio([0.0409, 0.0313, 0.0385, 0.0455, 0.0129], test_over_train=1 / 4)  # the published five folds
    TTest(mean=0.03382, statistic=3.95, df=4, p=0.0169, low=0.0100, high=0.0576)  # rounded
"""

import math
from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

LEVEL: Final = 0.95  # of every interval
Verdict = Literal["better", "worse", "undecided", "no claim"]  # undecided: the interval holds 0
Values = Sequence[float] | NDArray[np.float64]
DECIMALS: Final = 12  # rounding that makes equal differences equal despite the noise of binary fractions


class TTest(NamedTuple):
    """A t test of a mean against 0, and the 95 % interval of that mean under the same standard error."""

    mean: float
    statistic: float  # mean / standard error
    df: int
    p: float  # two-sided
    low: float
    high: float


class SignedRank(NamedTuple):
    """Wilcoxon's test of paired differences."""

    pairs: int  # number of pairs that differ; the others are left out
    statistic: float  # W: the smaller of the two sums of ranks
    p: float  # two-sided
    least_p: float  # smallest p value that this many pairs can give


def verdict(low: float, high: float) -> Verdict:
    """The verdict from the 95 % interval of a mean gain; "no claim" without an interval (one unit)."""
    if not math.isfinite(low):
        return "no claim"
    if low > 0:
        return "better"
    return "worse" if high < 0 else "undecided"


def student_interval(values: Values) -> tuple[float, float]:
    """The 95 % interval of the mean of independent, roughly normal values; NaN, NaN for fewer than 2.

    Student, "The probable error of a mean", Biometrika 6:1-25, 1908.
    """
    test = paired_t(values)
    return test.low, test.high


def paired_t(gains: Values) -> TTest:
    """Student's t test of paired differences, assumed independent. Folds are not: their p would be too small.

    Student 1908, as in `student_interval`.
    """
    return _t_test(gains, 0.0)


def nadeau_bengio(gains: Values, test_over_train: float) -> TTest:
    """The corrected resampled t test: the variance of the mean is s^2 (1/k + n_test/n_train), not s^2 / k; df = k - 1.

    Nadeau and Bengio, "Inference for the generalization error", Machine Learning 52:239-281, 2003; for the folds of a
    cross-validation as in Bouckaert and Frank, "Evaluating the replicability of significance tests for comparing
    learning algorithms", PAKDD 2004. `test_over_train` is n_test / n_train of one fold: 1/(k - 1) if all rows are used.
    """
    if not (math.isfinite(test_over_train) and test_over_train >= 0):
        raise ValueError(f"test_over_train must be a finite number of at least 0, not {test_over_train}")
    return _t_test(gains, test_over_train)


def one_sided(test: TTest) -> float:
    """p of the t test against the alternative that the mean is above 0."""
    return float(stats.t.sf(test.statistic, test.df)) if test.df else math.nan


def upper_bound(test: TTest) -> float:
    """The one-sided 95 % upper bound of the mean of a t test; NaN for fewer than 2 values."""
    if not test.df:
        return math.nan
    return test.mean + (test.high - test.mean) * float(
        stats.t.ppf(LEVEL, test.df) / stats.t.ppf((1 + LEVEL) / 2, test.df)
    )


def equivalence(gains: Values, margin: float, test_over_train: float = 0.0) -> float:
    """p of two one-sided t tests, the larger one: small if the mean lies above -margin and below margin.

    NaN for fewer than 2 values. `test_over_train` corrects the variance as `nadeau_bengio` does; 0: independent values.
    Schuirmann, "A comparison of the two one-sided tests procedure and the power approach for assessing the equivalence
    of average bioavailability", Journal of Pharmacokinetics and Biopharmaceutics 15:657-680, 1987.
    """
    if not (math.isfinite(margin) and margin > 0):
        raise ValueError(f"margin must be a finite number above 0, not {margin}")
    values = _checked(gains)
    above, below = (_t_test(shifted, test_over_train) for shifted in (values + margin, margin - values))
    return max(one_sided(above), one_sided(below))


def holm(ps: Values) -> NDArray[np.float64]:
    """Adjust each p for the number of tests, so that all at or below 0.05 hold together; NaN (no test) stays NaN.

    Valid however the tests depend on each other: the k-th smallest of m times m - k + 1, never below the one before.
    Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6:65-70, 1979.
    """
    array = np.asarray(ps, dtype=np.float64)
    order = np.argsort(array)[: np.count_nonzero(~np.isnan(array))]  # NaN is sorted last
    adjusted = np.full(array.shape, math.nan)
    scaled = array[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return adjusted


def wilcoxon(gains: Values) -> SignedRank:
    """The signed-rank test. Exact up to 50 pairs, or up to 13 where differences tie; a normal approximation beyond.

    The least p at k pairs is 2 / 2^k, where all have the same sign: 0.0625 at 5 pairs.
    Wilcoxon, "Individual comparisons by ranking methods", Biometrics Bulletin 1:80-83, 1945; p from scipy.
    """
    values = np.round(_checked(gains), DECIMALS)
    values = values[values != 0]
    if values.size == 0:
        return SignedRank(0, 0.0, 1.0, 1.0)
    found = stats.wilcoxon(values, method="auto")
    return SignedRank(values.size, float(found.statistic), float(found.pvalue), wilcoxon_least_p(values.size))


def spread(values: Values) -> float:
    """Standard deviation: exactly 0 for equal values, where rounding of their mean would leave a trace; NaN for one."""
    if len(values) < 2:
        return math.nan
    return 0.0 if np.ptp(values) == 0 else float(np.std(values, ddof=1))


def wilcoxon_least_p(pairs: int) -> float:
    """2 / 2^k: the least two-sided p of the signed-rank test at k pairs."""
    return min(1.0, 2.0 ** (1 - pairs))


def _t_test(gains: Values, test_over_train: float) -> TTest:
    values = _checked(gains)
    mean, df = float(values.mean()), values.size - 1
    if df == 0:
        return TTest(mean, math.nan, df, math.nan, math.nan, math.nan)
    error = spread(values) * math.sqrt(1 / values.size + test_over_train)
    statistic = _ratio(mean, error)
    half = float(stats.t.ppf((1 + LEVEL) / 2, df)) * error
    return TTest(mean, statistic, df, float(2 * stats.t.sf(abs(statistic), df)), mean - half, mean + half)


def _ratio(mean: float, error: float) -> float:
    """mean / error; without any spread infinite, or NaN for a mean of 0."""
    if error > 0:
        return mean / error
    return math.copysign(math.inf, mean) if mean else math.nan


def _checked(values: Values) -> NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or array.size == 0 or not np.isfinite(array).all():
        raise ValueError(f"give at least one value, all of them finite, not {list(values)}")
    return array
