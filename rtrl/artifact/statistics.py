"""Intervals, the same way in every notebook."""

from collections.abc import Callable

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
