"""Linear autoregression, the baseline of every field with a time series."""

import numpy as np
from jaxtyping import Float


def autoregression(
    series: Float[np.ndarray, " time"],
    order: int,
    end: int,
    others: Float[np.ndarray, "time columns"] | None = None,
) -> Float[np.ndarray, " time"]:
    """Predictions from the values before and other columns (or a one), by least squares on series[order:end].

    The first `order` predictions are not to be used.
    """
    columns = [np.roll(series, lag) for lag in range(1, order + 1)]
    x = np.column_stack([*columns, np.ones(len(series)) if others is None else others])
    return x @ np.linalg.lstsq(x[order:end], series[order:end], rcond=None)[0]


def refitted(series: Float[np.ndarray, " time"], order: int, start: int, every: int) -> Float[np.ndarray, " rest"]:
    """Predictions of series[start:] by autoregressions fitted anew, every so many steps, to all steps before."""
    pieces = [
        autoregression(series[: at + every], order, at)[at : at + every] for at in range(start, len(series), every)
    ]
    return np.concatenate(pieces)
