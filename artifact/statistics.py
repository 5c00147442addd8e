"""Intervals, the same way in every notebook."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats


def bootstrap_interval(values: ArrayLike, statistic: Callable = np.median) -> tuple[float, float]:
    """The 95 percent percentile-bootstrap interval of a statistic, from 9999 resamples with a fixed seed."""
    interval = stats.bootstrap(
        (np.asarray(values),), statistic, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    return float(interval.low), float(interval.high)


def mean_interval(values: ArrayLike) -> tuple[float, float]:
    """The 95 percent interval of a mean from Student's t, for the few seeds that a long run allows."""
    interval = stats.ttest_1samp(np.asarray(values), 0.0).confidence_interval(0.95)
    return float(interval.low), float(interval.high)


def median_interval(values: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """The interval of the median over the first axis, of at least 95 percent where there are six values or more.

    Its ends are order statistics, the k-th from either side, with the largest k such that a binomial of as many trials
    with chance 1/2 is below k in at most 2.5 percent of cases; David & Nagaraja (2003), Order Statistics, section 7.1.
    """
    ordered = np.sort(np.asarray(values), axis=0)
    k = max(int(stats.binom.ppf(0.025, len(ordered), 0.5)), 1)
    return ordered[k - 1], ordered[-k]


def newey_west_lags(steps: int) -> int:
    """4 (T/100)^(2/9), the usual number of lags of Newey and West's standard error for T steps."""
    return int(4 * (steps / 100) ** (2 / 9))


def over_time(values: ArrayLike) -> tuple[float, tuple[float, float]]:
    """The mean of what was measured step after step, and its 95 percent interval, robust to autocorrelation.

    The standard error is Newey and West's with 4 (T/100)^(2/9) lags for T steps. Of the differences of two
    forecasts' losses this is the test of Diebold & Mariano (1995), "Comparing predictive accuracy", Journal of
    Business & Economic Statistics 13(3).
    """
    import statsmodels.api as sm  # here, because it takes a second or two that most notebooks need not wait for

    series = np.asarray(values, float)
    fit = sm.OLS(series, np.ones(len(series))).fit(cov_type="HAC", cov_kwds={"maxlags": newey_west_lags(len(series))})
    low, high = fit.conf_int()[0]
    return float(fit.params[0]), (float(low), float(high))


def over_time_and_networks(values: ArrayLike) -> tuple[float, tuple[float, float]]:
    """The same of many networks (networks, steps): over time and over networks, the two variances added.

    Of one row of steps alone it is `over_time`.
    """
    rows = np.atleast_2d(values)
    mean, (low, high) = over_time(rows.mean(axis=0))
    lowest, highest = mean_interval(rows.mean(axis=1)) if len(rows) > 1 else (mean, mean)
    half = float(np.hypot(high - low, highest - lowest)) / 2
    return mean, (mean - half, mean + half)


def share_interval(successes: int, of: int) -> tuple[float, float]:
    """Wilson's 95 percent interval of a share; Wilson (1927), "Probable inference, the law of succession, and
    statistical inference", Journal of the American Statistical Association 22(158).
    """
    from statsmodels.stats.proportion import proportion_confint  # as above

    interval: Any = proportion_confint(successes, of, method="wilson")
    low, high = interval  # an end at 0 or 1 is off by a rounding
    return float(low) if successes else 0.0, float(high) if successes < of else 1.0


def two_sample_interval(one: ArrayLike, other: ArrayLike, statistic: Callable) -> tuple[float, float]:
    """The 95 percent percentile-bootstrap interval of a statistic of two independent samples, `statistic(a, b, axis)`,
    from 9999 resamples of each with a fixed seed.
    """
    samples = np.asarray(one, float), np.asarray(other, float)
    interval = stats.bootstrap(samples, statistic, method="percentile", rng=np.random.default_rng(0))
    return float(interval.confidence_interval.low), float(interval.confidence_interval.high)


def share_difference_interval(successes: int, of: int, other: int, of_other: int) -> tuple[float, float]:
    """Newcombe's 95 percent interval of the difference of two shares, from Wilson's of each; Newcombe (1998),
    "Interval estimation for the difference between independent proportions", Statistics in Medicine 17(8), method 10.
    """
    from statsmodels.stats.proportion import confint_proportions_2indep  # as above

    interval: Any = confint_proportions_2indep(successes, of, other, of_other, compare="diff", method="newcomb")
    low, high = interval
    return float(low), float(high)


def half_towards(effect: float, interval: tuple[float, float], threshold: float) -> float:
    """The length of the half of an interval that points towards a threshold."""
    low, high = interval
    return effect - low if effect > threshold else high - effect


def p_of_interval(effect: float, interval: tuple[float, float], threshold: float, scatter: float = 0.0) -> float:
    """The two-sided p-value of an effect at the threshold, from its 95 percent interval; 0 for one that is exact.

    The half of the interval towards the threshold is taken for 1.96 normal standard errors; Altman & Bland
    (2011), "How to obtain the P value from a confidence interval", BMJ 343, d2304. `scatter` is taken off the distance.
    """
    distance, half = abs(effect - threshold) - scatter, half_towards(effect, interval, threshold)
    if half <= 0:
        return float(distance <= 0)
    return float(2 * stats.norm.sf(max(distance, 0.0) * stats.norm.ppf(0.975) / half))


def holm(p_values: ArrayLike) -> list[bool]:
    """Which hypotheses are rejected when the family-wise error is held at five percent; Holm (1979), "A simple
    sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6(2).
    """
    from statsmodels.stats.multitest import multipletests  # as above

    return [bool(rejected) for rejected in multipletests(np.asarray(p_values), alpha=0.05, method="holm")[0]]
