"""The recursive prediction error method with Gauss-Newton steps: RTRL's derivatives, a second-order update."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

import rtrl
from artifact.equations.system_identification import learned_parts


@eqx.filter_jit
@eqx.filter_vmap(in_axes=(eqx.if_array(0), 0, 0, 0, None, None, None))
def gauss_newton_online(
    model: Any, process: Array, xs: PyTree, ys: Float[Array, "time 1"], spread: float, gain: float, noise: float
) -> tuple[PyTree, Float[Array, "time 1"]]:
    r"""The vector field at the end of a stream, and the prediction errors along it.

    $$\theta \leftarrow \theta + \frac{P g_t}{r + g_t^\top P g_t}\, e_t, \qquad
      P \leftarrow P - \frac{P g_t g_t^\top P}{r + g_t^\top P g_t} + q^2 I$$

    for scalar observations, with $g_t$ the derivative of the prediction by `rtrl.RTRL()`, $e_t$ its error, r the
    square of `noise` and q `process`. The joint filter's prior for the logarithms, and the standard deviation `gain`
    for the observer's gain, are the first P. Ljung & Söderström (1983), "Theory and practice of recursive
    identification", 3.4.
    """
    estimator = rtrl.RTRL()
    flat, rebuild = ravel_pytree(learned_parts(model))
    known = jnp.where(jnp.arange(len(flat)) < len(flat) - model.cell.gain.size, spread**2 / 3, gain**2)

    def step(carry: tuple, xy: tuple) -> tuple:
        (flat, covariance, state, memory), (x, y) = carry, xy
        now = eqx.tree_at(learned_parts, model, rebuild(flat))
        state, pullback, memory = estimator.step(now.cell, state, x, memory)
        prediction, direction = jax.value_and_grad(lambda h: now.predict(h, x)[0])(state)
        row = ravel_pytree(learned_parts(eqx.tree_at(lambda m: m.cell, now, pullback(direction))))[0]
        weights = covariance @ row / (noise**2 + row @ covariance @ row)
        covariance = covariance - jnp.outer(weights, covariance @ row) + process**2 * jnp.eye(len(flat))
        return (flat + weights * (y[0] - prediction), covariance, state, memory), y - prediction

    start = model.cell.initial_state()
    carry = flat, jnp.diag(known), start, estimator.init(model.cell, start)
    (flat, *_), errors = jax.lax.scan(step, carry, (xs, ys))
    return rebuild(flat)[0], errors
