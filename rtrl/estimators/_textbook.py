"""RTRL for dense gated cells: the influence matrix advanced at every step through the gate's structure."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from rtrl._types import Influence, Params
from rtrl.cells import AbstractGatedCell


def init(cell: AbstractGatedCell, state: Float[Array, " n"]) -> Influence:
    """The influence matrix of a state that no parameter has touched: zeros, (n,) + shape of each parameter."""
    params = eqx.filter(cell, eqx.is_inexact_array)
    return jax.tree.map(lambda p: jnp.zeros(state.shape + p.shape, p.dtype), params)


def step(
    cell: AbstractGatedCell, state: Float[Array, " n"], x: Float[Array, " m"], influence: Influence
) -> tuple[Float[Array, " n"], Callable[[Float[Array, " n"]], Params], Influence]:
    r"""$J_t = D_t J_{t-1} + I_t$, with one matrix product a leaf and $I_t$ added in place, row by row."""
    next_state, linearisation = cell.linearise(state, x)
    dynamics = linearisation.dynamics(cell.weight_hh)
    influence = jax.tree.map(
        lambda j, immediate, trailing: _add_to_own_unit(jnp.tensordot(dynamics, j, 1), immediate, trailing),
        influence,
        linearisation.immediate,
        _trailing_axes(influence),
    )
    return next_state, lambda v: jax.tree.map(lambda j: jnp.tensordot(v, j, 1), influence), influence


def _add_to_own_unit(j: Array, immediate: Array, trailing: int) -> Array:
    """Adds a parameter's immediate derivative to the row of the one unit that owns the parameter.

    `trailing` is how many axes follow the unit axis in the parameter.
    """
    unit = jnp.arange(j.shape[0])
    index = (unit, ..., unit, *[slice(None)] * trailing)
    return j.at[index].add(jnp.moveaxis(immediate, -1 - trailing, 0), unique_indices=True)


def _trailing_axes(influence: Influence) -> PyTree[int]:
    """How many axes follow the unit axis: one (the input) in the weights, none in per-unit parameters."""
    none_follow = jax.tree.map(lambda _: 0, influence)
    return eqx.tree_at(lambda cell: (cell.weight_hh, cell.weight_ih), none_follow, (1, 1))
