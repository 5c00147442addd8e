"""The extended Kalman filter, and the joint one that estimates parameters as a part of the state."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

Step = Callable[[Float[Array, " n"], PyTree], Float[Array, " n"]]


def extended_kalman_filter(
    step: Step,
    observe: Callable[[Float[Array, " n"]], Float[Array, " m"]],
    mean: Float[Array, " n"],
    covariance: Float[Array, "n n"],
    process: Float[Array, "n n"],
    noise: Float[Array, "m m"],
    xs: PyTree,
    ys: Float[Array, "time m"],
) -> tuple[Float[Array, "time n"], Float[Array, "time n n"], Float[Array, "time m"]]:
    r"""Means and covariances after each observation, and the innovations (observation less prediction) before it.

    $$h_t = f(h_{t-1}, x_t) + w_t, \quad y_t = c(h_t) + v_t, \quad w \sim \mathcal N(0, Q),\; v \sim \mathcal N(0, R)$$

    `step` is f, `observe` c, `process` Q, `noise` R; both functions are linearised by `jax.jacfwd` where the filter is.
    An observation with a NaN corrects nothing. Jazwinski (1970), "Stochastic processes and filtering theory", 8.3; the
    covariance is updated in Joseph's form, which keeps it positive.
    """

    def one(carry: tuple, xy: tuple) -> tuple:
        (mean, covariance), (x, y) = carry, xy
        slope, mean = jax.jacfwd(lambda h: (step(h, x),) * 2, has_aux=True)(mean)
        covariance = slope @ covariance @ slope.T + process
        row, predicted = jax.jacfwd(lambda h: (observe(h),) * 2, has_aux=True)(mean)
        gain = jnp.linalg.solve(row @ covariance @ row.T + noise, row @ covariance).T
        innovation = y - predicted
        gain = jnp.where(jnp.isnan(innovation).any(), 0, gain)
        mean = mean + gain @ jnp.nan_to_num(innovation)
        kept = jnp.eye(len(mean)) - gain @ row
        covariance = kept @ covariance @ kept.T + gain @ noise @ gain.T
        return (mean, covariance), (mean, covariance, innovation)

    return jax.lax.scan(one, (mean, covariance), (xs, ys))[1]


def with_parameters(cell_of: Callable, parameters: PyTree, state: Float[Array, " n"]) -> tuple[Step, Callable, Array]:
    r"""The step of a state with parameters behind it that stay as they are, what takes both apart, and the two as one.

    $$(h, \theta) \mapsto (f_\theta(h, x), \theta)$$

    `cell_of(parameters)` is f. With noise on θ this is the joint filter's model, a random walk of the parameters;
    Ljung (1979), "Asymptotic behavior of the extended Kalman filter as a parameter estimator for linear systems",
    IEEE Transactions on Automatic Control 24(1).
    """
    flat, rebuild = ravel_pytree(parameters)

    def parts(joint: Float[Array, " n+p"]) -> tuple[Float[Array, " n"], PyTree]:
        return joint[: len(state)], rebuild(joint[len(state) :])

    def step(joint: Float[Array, " n+p"], x: PyTree) -> Float[Array, " n+p"]:
        state, parameters = parts(joint)
        return jnp.concatenate([cell_of(parameters)(state, x), joint[len(state) :]])

    return step, parts, jnp.concatenate([state, flat])
