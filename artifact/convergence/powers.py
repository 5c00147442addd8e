"""By which power something falls or grows, and how fast it is forgotten."""

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike
from scipy.stats import linregress

from artifact.statistics import bootstrap_interval


def power(x: ArrayLike, runs: ArrayLike) -> tuple[float, tuple[float, float]]:
    """The power of x that the root mean square over runs follows, and its bootstrap interval over the runs.

    `runs` is (runs, x); the power is the slope of a straight line through the logarithms.
    """
    values = np.asarray(runs)

    def slope(chosen: ArrayLike) -> float:
        mean_square = (values[np.asarray(chosen).astype(int)] ** 2).mean(axis=0)
        return np.polyfit(np.log(x), np.log(np.sqrt(mean_square)), 1)[0]

    everyone = np.arange(len(values))
    return slope(everyone), bootstrap_interval(everyone, slope)


def factor_per_step(steps: Float[np.ndarray, " times"], distances: Float[np.ndarray, " times"]) -> float:
    """By what factor a distance falls at each step: the slope of its logarithm; NaN for fewer than five points."""
    return np.exp(linregress(steps, np.log(distances)).slope) if len(steps) > 4 else np.nan  # pyright: ignore
