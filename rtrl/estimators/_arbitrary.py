"""RTRL for a cell of any structure: vector-Jacobian products through the user's own step."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from rtrl._types import Influence, Input, Params, State
from rtrl.cells import AbstractCell


def init(cell: AbstractCell, state: State) -> Influence:
    """Zeros, (entries of the state,) + shape of each parameter."""
    entries = ravel_pytree(state)[0].size
    params = eqx.filter(cell, eqx.is_inexact_array)
    return jax.tree.map(lambda p: jnp.zeros((entries, *p.shape), p.dtype), params)


def step(
    cell: AbstractCell, state: State, x: Input, influence: Influence
) -> tuple[State, Callable[[State], Params], Influence]:
    r"""$J_t = D_t J_{t-1} + I_t$, both Jacobians by one vector-Jacobian product for each entry of the state."""
    params, static = eqx.partition(cell, eqx.is_inexact_array)
    flat_state, unravel = ravel_pytree(state)

    def flat_step(params, flat_state):
        next_state = eqx.combine(params, static)(unravel(flat_state), x)
        return ravel_pytree(next_state)[0], next_state

    flat_next, vjp, next_state = jax.vjp(flat_step, params, flat_state, has_aux=True)
    immediate, dynamics = jax.vmap(vjp)(jnp.eye(flat_next.size, dtype=flat_next.dtype))
    influence = jax.tree.map(lambda i, j: i + jnp.tensordot(dynamics, j, 1), immediate, influence)

    def pullback(v: State) -> Params:
        return jax.tree.map(lambda j: jnp.tensordot(ravel_pytree(v)[0], j, 1), influence)

    return next_state, pullback, influence
