"""RTRL for dense gated cells: the influence matrix advanced at every step through the gate's structure."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from rtrl._types import Influence, Input, Params, Pullback, State
from rtrl.cells import (
    AbstractDenseCell,
    AbstractGatedCell,
    initial_influence,
    masked,
    recurrent_weights,
    weights_of,
    with_weights,
)
from rtrl.estimators._base import AbstractEstimator
from rtrl.estimators._real import vector


class Textbook(AbstractEstimator):
    r"""$J_t = D_t J_{t-1} + I_t$, with one matrix product a leaf and $I_t$ added in place, row by row."""

    def init(self, cell: AbstractDenseCell, state: State, *, key: PRNGKeyArray | None = None) -> Influence:
        return first_influence(cell, state)

    def step(
        self, cell: AbstractDenseCell, state: State, x: Input, memory: Influence
    ) -> tuple[State, Pullback, Influence]:
        next_state, linearisation = cell.linearise(state, x)
        dynamics = linearisation.dynamics(recurrent_weights(cell))
        influence = advance(dynamics, memory, linearisation.immediate(), trailing_axes(memory))
        return next_state, lambda v: masked(cell, pull_back(v, influence)), influence


def first_influence(cell: AbstractGatedCell, state: State) -> Influence:
    """dh₀/dθ, (states,) + shape of each parameter: zero but for parameters of the initial state."""
    own, states = initial_influence(cell), vector(state).size
    return jax.tree.map(
        lambda i, trailing: add_to_own_unit(jnp.zeros((states, *i.shape[1:]), i.dtype), i, trailing),
        own,
        trailing_axes(own),
    )


def first_influence_of_units(cell: AbstractGatedCell, state: State) -> Influence:
    """dh₀/dφ for the per-unit parameters φ alone."""
    return without_weights(first_influence(cell, state))


def without_weights(parameters: Params) -> Params:
    return with_weights(parameters, [None] * len(weights_of(parameters)))


def advance(
    dynamics: Float[Array, "states states"], influence: Influence, immediate: Params, trailing: Params | None = None
) -> Influence:
    """The recursion, leaf by leaf; `trailing` as `trailing_axes` gives it, no trailing axes unless given."""
    return jax.tree.map(
        lambda j, now, axes: add_to_own_unit(jnp.tensordot(dynamics, j, 1), now, axes),
        influence,
        immediate,
        jax.tree.map(lambda _: 0, influence) if trailing is None else trailing,
    )


def pull_back(v: State, influence: Influence) -> Params:
    """The product v J, with one streaming read of J."""
    rows = jnp.concatenate(jax.tree.leaves(v))
    return jax.tree.map(lambda j: jnp.tensordot(rows, j, 1), influence)


def trailing_axes(parameters: Params) -> Params:
    """How many axes follow the unit axis: one (the width) in the weights, none in per-unit parameters."""
    none_follow = jax.tree.map(lambda _: 0, parameters)
    return with_weights(none_follow, (1,) * len(weights_of(parameters)))


def add_to_own_unit(j: Array, immediate: Array, trailing: int) -> Array:
    """Adds a parameter's immediate derivative to the rows of the one unit that owns the parameter."""
    parts, n = immediate.shape[0], immediate.shape[-1 - trailing]
    unit = jnp.arange(n)
    by_part = j.reshape(parts, n, *j.shape[1:])
    index = (slice(None), unit, ..., unit, *[slice(None)] * trailing)
    added = by_part.at[index].add(jnp.moveaxis(immediate, -1 - trailing, 0), unique_indices=True)
    return added.reshape(j.shape)
