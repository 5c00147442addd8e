"""The adaptive regressors of river (Montiel et al. 2021, JMLR 22(110)), each at four settings."""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float
from river import drift, forest, linear_model, optim, time_series, tree

from artifact.comparison import Stream, least
from artifact.drift.tracking import forecast_then_learn, lagged, predict_then_learn

Run = Callable[[Float[np.ndarray, "steps features"], Float[np.ndarray, " steps"]], Float[np.ndarray, " steps"]]
"""Squared errors along a stream, from what is known at each step and what comes."""

GRACE = (20, 50, 100, 200)
"""Of trees: the steps that a leaf sees between two attempts to split it."""


def linear(rate: float) -> Run:
    """Linear regression by gradient descent at a constant rate, which starts anew when ADWIN finds a change."""

    def run(xs: np.ndarray, ys: np.ndarray) -> np.ndarray:
        return predict_then_learn(linear_model.LinearRegression(optim.SGD(rate)), xs, ys, drift.ADWIN())

    return run


def snarimax(rate: float, lags: int) -> Run:
    """Autoregression on the last values and as many moving-average terms as a quarter of them."""

    def run(xs: np.ndarray, ys: np.ndarray) -> np.ndarray:
        regressor = linear_model.LinearRegression(optim.SGD(rate))
        return forecast_then_learn(time_series.SNARIMAX(p=lags, d=0, q=lags // 4, regressor=regressor), ys)

    return run


def adaptive_tree(grace: int) -> Run:
    """A Hoeffding tree whose branches are replaced when ADWIN finds a change; leaves are means or linear."""
    return lambda xs, ys: predict_then_learn(tree.HoeffdingAdaptiveTreeRegressor(grace_period=grace, seed=0), xs, ys)


def adaptive_forest(grace: int, trees: int) -> Run:
    """An adaptive random forest: each tree has detectors of drift of its own."""
    return lambda xs, ys: predict_then_learn(forest.ARFRegressor(n_models=trees, grace_period=grace, seed=0), xs, ys)


def settings(rates: Sequence[float], lags: int, trees: int) -> dict[str, list[Run]]:
    """The models, each at as many settings as there are rates, or at four of its trees' patience."""
    return {
        "linear, ADWIN": [linear(rate) for rate in rates],
        "SNARIMAX": [snarimax(rate, lags) for rate in rates],
        "adaptive tree": [adaptive_tree(grace) for grace in GRACE],
        "adaptive forest": [adaptive_forest(grace, trees) for grace in GRACE],
    }


def chosen(
    runs: Sequence[Run], xs: Float[np.ndarray, "steps features"], ys: Float[np.ndarray, " steps"], tuning: int
) -> Float[np.ndarray, " steps"]:
    """Squared errors along the whole stream of the run that lost least on its first `tuning` steps."""
    return runs[least([run(xs[:tuning], ys[:tuning]).mean() for run in runs])](xs, ys)


def chosen_on(runs: Sequence[Run], tuning: Stream, stream: Stream, lags: int) -> Float[np.ndarray, "streams steps"]:
    """Squared errors on each stream of the run with the lowest mean on the tuning streams; targets have one channel.

    It sees the last `lags` inputs, at each step anew.
    """
    first, ys = lagged(np.asarray(tuning[0]), lags)[..., :-1], np.asarray(tuning[1])[..., 0]
    run = runs[least([np.mean([run(*one) for one in zip(first, ys, strict=True)]) for run in runs])]
    known, ys = lagged(np.asarray(stream[0]), lags)[..., :-1], np.asarray(stream[1])[..., 0]
    return np.array([run(*one) for one in zip(known, ys, strict=True)])
