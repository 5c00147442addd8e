"""Paths of dynamical systems, and what noisy, partial, occasional observation leaves of them."""

from collections.abc import Callable

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PRNGKeyArray

from rtrl._sizes import check_positive, check_sizes
from rtrl._types import Input
from rtrl.cells import ODECell
from rtrl.model import Model

SUBSTEPS = 8


def simulated(
    vector_field: Callable, initial: Float[ArrayLike, " n"], inputs: Input, *, time_step: float | None
) -> Float[Array, "time n"]:
    """The states of a system after each input, by 8 steps of Tsit5 an interval; `time_step` as in `rtrl.ODECell`."""
    cell = ODECell(vector_field, initial, time_step=time_step, solver=diffrax.Tsit5(), substeps=SUBSTEPS)
    return Model(cell, eqx.nn.Identity()).predictions(inputs)


def observed(
    key: PRNGKeyArray, states: Float[Array, "time n"], observe: Callable, noise: float, spacing: int = 1
) -> tuple[Float[Array, "time m"], Float[Array, "time m"]]:
    r"""The observations of a path, and those one step before: targets and inputs of an `rtrl.ObserverCell`.

    $$y_t = c(h_t) + \mathcal N(0, \mathrm{noise}^2)$$

    at every `spacing`-th step, NaN at the others and before the first. `observe` is c, from (n,) to (m,).

    **Raises:** `ValueError` if `noise` is not positive or `spacing` below 1.
    """
    check_positive(noise=noise)
    check_sizes(spacing=spacing)
    exact = jax.vmap(observe)(states)
    noisy = exact + noise * jax.random.normal(key, exact.shape, exact.dtype)
    seen = jnp.arange(1, len(exact) + 1) % spacing == 0
    ys = jnp.where(seen[:, None], noisy, jnp.nan)
    return jnp.concatenate([jnp.full_like(ys[:1], jnp.nan), ys[:-1]]), ys


def observed_error(prediction: Float[Array, " m"], target: Float[Array, " m"]) -> Float[Array, ""]:
    """The squared error of what was observed: entries of the target that are NaN count nothing."""
    return jnp.sum(jnp.where(jnp.isnan(target), 0, prediction - target) ** 2)
