"""Offline prediction-error identification: nonlinear least squares over a whole recording."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float
from scipy.optimize import OptimizeResult, least_squares

Residuals = Callable[..., Float[Array, " points"]]


def best_fit(
    residuals: Residuals, starts: Sequence[Float[np.ndarray, " parameters"]], *data: Any, **options: Any
) -> OptimizeResult:
    r"""The best of the least-squares fits from several starts, $\min_\theta \sum_t r_t(\theta)^2 / 2$.

    `residuals(θ, *data)` is r, compiled once for all calls with the same function; `options` go to
    `scipy.optimize.least_squares`, a trust-region Gauss-Newton method with the Jacobian by forward sensitivities.
    Ljung (1999), "System identification", 10.2.
    """
    fits = [_fit(residuals, start, data, options) for start in starts]
    return min(fits, key=lambda fit: fit.cost)


def _fit(residuals: Residuals, start: np.ndarray, data: tuple, options: dict) -> OptimizeResult:
    slopes: Any = lambda flat: np.asarray(_slopes(residuals, flat, data), float)  # noqa: E731
    with np.errstate(over="ignore"):  # a step that leads nowhere is taken back
        return least_squares(lambda flat: np.asarray(_values(residuals, flat, data), float), start, slopes, **options)


_values = jax.jit(lambda residuals, flat, data: residuals(flat, *data), static_argnums=0)
_slopes = jax.jit(lambda residuals, flat, data: jax.jacfwd(residuals)(flat, *data), static_argnums=0)
