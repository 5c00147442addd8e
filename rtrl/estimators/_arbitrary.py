"""RTRL for a cell of any structure: vector-Jacobian products through the user's own step."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from rtrl._trained import join
from rtrl._types import Influence, Input, Params, Pullback, State
from rtrl.cells import AbstractCell, recurrent_parameters
from rtrl.estimators._base import AbstractEstimator
from rtrl.estimators._real import first_real_influence, from_vector, real, row, unreal, vector


class Arbitrary(AbstractEstimator):
    r"""$J_t = D_t J_{t-1} + I_t$, both Jacobians by one vector-Jacobian product for each entry of the state.

    A complex number counts as two real ones, so that J exists whether or not the step is holomorphic; the
    gradient then follows JAX's convention for complex parameters.
    """

    def init(self, cell: AbstractCell, state: State, *, key: PRNGKeyArray | None = None) -> Influence:
        return first_real_influence(cell, recurrent_parameters(cell))

    def step(self, cell: AbstractCell, state: State, x: Input, memory: Influence) -> tuple[State, Pullback, Influence]:
        params = recurrent_parameters(cell)
        advance = real_step(cell, params, state, x)
        _, influence, next_state = advance_influence(advance, real(params), vector(state), memory)

        def pullback(v: State) -> Params:
            products = jax.tree.map(lambda j: jnp.tensordot(row(v).astype(j.dtype), j, 1), influence)
            return jax.tree.map(jnp.conj, unreal(products, params))

        return next_state, pullback, influence


def advance_influence(
    step: Callable, params: Params, state: Float[Array, " states"], influence: Influence
) -> tuple[Float[Array, " states"], Influence, Any]:
    r"""What a step gives, $\partial_h f\, J + \partial_\theta f$, and whatever else the step has to say."""
    value, vjp, aux = jax.vjp(step, params, state, has_aux=True)
    immediate, dynamics = jax.vmap(vjp)(jnp.eye(value.size, dtype=value.dtype))
    return (
        value,
        jax.tree.map(lambda i, j: i + jnp.tensordot(dynamics, j, 1).astype(j.dtype), immediate, influence),
        aux,
    )


def real_step(
    cell: AbstractCell, params: Params, state: State, x: Input
) -> Callable[[Params, Array], tuple[Array, State]]:
    """A step of the cell as a function of real parameters and a real state vector; also gives the state itself."""

    def advance(real_params: Params, flat_state: Array) -> tuple[Array, State]:
        moving = join(unreal(real_params, params), cell)
        next_state = moving(from_vector(flat_state, state), x)
        return vector(next_state), next_state

    return advance
