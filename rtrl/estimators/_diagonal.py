"""RTRL for cells with a diagonal coupling: a unit's influence covers its own parameters only."""

import functools
from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from rtrl._types import Cotangents, Influence, Input, Params, Pullback, State
from rtrl.cells import AbstractGatedCell, Linearisation, masked, recurrent_parameters
from rtrl.estimators._base import AbstractEstimator, add
from rtrl.estimators._block import immediate_gradient
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

    def window(
        self, cell: AbstractGatedCell, state: State, xs: Input, memory: OwnInfluence, cotangents: Cotangents
    ) -> tuple[State, Params, PyTree, OwnInfluence]:
        return self.window_and_below(cell, state, xs, memory, cotangents)[:4]

    def window_and_below(
        self,
        cell: AbstractGatedCell,
        state: State,
        xs: Input,
        memory: OwnInfluence,
        cotangents: Cotangents,
    ) -> tuple[State, Params, PyTree, OwnInfluence, Input]:
        r"""All steps at the same parameters: as in the block form, J is read and folded once for all of them.

        $$\sum_s \frac{d\ell_s}{d\theta} = \sum_r v_r I_r + v_0 J_0, \qquad
          J_0 \leftarrow \Phi_0 J_0 + \sum_r \Phi_r I_r, \quad \Phi_r = \alpha_S \cdots \alpha_{r+1}$$
        """
        states = cell.trajectory(state, xs)
        before = jax.tree.map(lambda s, after: jnp.concatenate([s[None], after[:-1]]), state, states)
        _, steps = jax.vmap(cell.linearise)(before, xs)
        vs, aux = cotangents(states)
        parts = jnp.stack(jax.tree.leaves(jax.vmap(cell.recurrent)(vs)), axis=1)
        at_start, visited = _sweep(jnp.zeros_like(parts[0])[None], parts[:, None], steps.alpha)
        gradient = add(immediate_gradient(steps, visited[:, 0]), _weigh(at_start[0], memory))
        # What the cell's output needs beside the recurrent state (`assemble`) has a cotangent of its own.
        _, beside = jax.vjp(lambda xs: jax.vmap(cell.assemble)(jax.vmap(cell.recurrent)(states), xs), xs)
        below = jnp.einsum("rki,rkgi,gij->rj", visited[:, 0], steps.betas[-1], cell.weight_ih) + beside(vs)[0]
        return jax.tree.map(lambda s: s[-1], states), gradient, aux, _fold(memory, steps), below


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


def _fold(memory: OwnInfluence, steps: Linearisation) -> OwnInfluence:
    """J after several steps from J before them."""
    n_parts, n = steps.alpha.shape[-2:]
    identity = jnp.broadcast_to(jnp.eye(n_parts, dtype=steps.alpha.dtype)[..., None], (n_parts, n_parts, n))
    nothing = jnp.zeros((steps.alpha.shape[0], *identity.shape), identity.dtype)
    phi, suffixes = _sweep(identity, nothing, steps.alpha)
    return tuple(add(_weigh(phi[k], memory), immediate_gradient(steps, suffixes[:, k])) for k in range(n_parts))


def _sweep(
    v: Float[Array, "rows parts n"],
    arriving: Float[Array, "steps rows parts n"],
    alpha: Float[Array, "steps parts parts n"],
) -> tuple[Float[Array, "rows parts n"], Float[Array, "steps rows parts n"]]:
    """Cotangents back through several steps: what reaches the state before them, and the state after each."""

    def earlier(v, step):
        v_here, alpha = step
        v = v + v_here
        return jnp.einsum("rki,kli->rli", v, alpha), v

    return jax.lax.scan(earlier, v, (arriving, alpha), reverse=True)


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
