"""RTRL for cells with a diagonal coupling: a unit's influence covers its own parameters only."""

import functools
from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from rtrl._types import Influence, Input, Params, Pullback, State
from rtrl.cells import AbstractGatedCell, Linearisation, masked, recurrent_parameters
from rtrl.estimators._base import AbstractEstimator
from rtrl.estimators._textbook import trailing_axes

OwnInfluence: TypeAlias = tuple[Influence, ...]
"""The influence of each unit's parameters on that unit: for each of its parts, the shape of the parameters."""


class Diagonal(AbstractEstimator):
    r"""$J_k \leftarrow \sum_l \alpha_{kl} J_l + I_k$ for the parts k of a unit: O(P) time and memory.

    The influence is a tuple over the parts, each shaped like the parameters.

    Mozer (1989), "A focused backpropagation algorithm for temporal pattern recognition"; Zucchet et al.
    (2023), "Online learning of long-range dependencies", equation 4.
    """

    def init(self, cell: AbstractGatedCell, state: State, *, key: PRNGKeyArray | None = None) -> OwnInfluence:
        return no_own_influence(cell, state)

    def step(
        self, cell: AbstractGatedCell, state: State, x: Input, memory: OwnInfluence
    ) -> tuple[State, Pullback, OwnInfluence]:
        return step_within_units(cell, state, x, memory)


def no_own_influence(cell: AbstractGatedCell, state: State) -> OwnInfluence:
    """Zeros in the shape of the parameters, for each part of a unit."""
    parameters = recurrent_parameters(cell)
    return tuple(jax.tree.map(jnp.zeros_like, parameters) for _ in jax.tree.leaves(cell.recurrent(state)))


def step_within_units(
    cell: AbstractGatedCell,
    state: State,
    x: Input,
    memory: OwnInfluence,
    transition: Callable[[Linearisation], Float[Array, "parts parts n"]] = lambda linearisation: linearisation.alpha,
) -> tuple[State, Pullback, OwnInfluence]:
    """A step of an influence that stays within each unit; `transition`: how a unit acts on itself."""
    # Without the barrier XLA evaluates the gate's derivatives again for every entry of J.
    next_state, linearisation = jax.lax.optimization_barrier(cell.linearise(state, x))
    own = transition(linearisation)
    influence = tuple(
        jax.tree.map(jnp.add, _weigh(own[k], memory), _immediate(linearisation, k)) for k in range(len(memory))
    )

    def pullback(v: State) -> Params:
        return masked(cell, _weigh(jnp.stack(jax.tree.leaves(cell.recurrent(v))), influence))

    return next_state, pullback, influence


def _weigh(per_unit: Float[Array, "parts n"], influence: tuple[Influence, ...]) -> Params:
    """Σ_k of per-unit numbers times J_k, one elementwise pass over J."""

    def weigh(trailing: int, *js: Array) -> Array:
        return functools.reduce(jnp.add, [_spread(unit, j, trailing) * j for unit, j in zip(per_unit, js, strict=True)])

    return jax.tree.map(weigh, trailing_axes(influence[0]), *influence)


def _immediate(linearisation: Linearisation, k: int) -> Params:
    return jax.tree.map(lambda i: i[0], linearisation.of_part(k).immediate())


def _spread(per_unit: Float[Array, " n"], j: Array, trailing: int) -> Array:
    """Per-unit numbers with axes of length 1 where the parameter has others than the unit axis."""
    before = j.ndim - 1 - trailing
    return per_unit.reshape(*[1] * before, -1, *[1] * trailing)
