"""RTRL for cells with a diagonal coupling: a unit's influence covers its own parameters only."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from rtrl._recurrence import linear_recurrence, many_at_once, through
from rtrl._types import Influence, Input, Params, Pullback, State
from rtrl.cells import AbstractDiagonalCell, AbstractGatedCell, Linearisation, initial_influence, masked
from rtrl.estimators._base import AbstractEstimator, add, count
from rtrl.estimators._block import immediate_gradient, since_reset, to_initial
from rtrl.estimators._textbook import trailing_axes

OwnInfluence: TypeAlias = tuple[Influence, ...]
"""The influence of each unit's parameters on that unit: for each of its parts, the shape of the parameters."""


class NewSteps(NamedTuple):
    """What several steps leave for the way back: J before them, their derivatives, where the stream began anew."""

    influence: OwnInfluence
    steps: Linearisation
    reset: Bool[Array, " time"] | None


class Diagonal(AbstractEstimator):
    r"""$J_k \leftarrow \sum_l \alpha_{kl} J_l + I_k$ for the parts k of a unit: O(P) time and memory.

    The influence is a tuple over the parts, each shaped like the parameters. Several steps at the same parameters
    read and fold it once for all of them, as the block form does:

    $$\sum_s \frac{d\ell_s}{d\theta} = \sum_r v_r I_r + v_0 J_0, \qquad
      J_0 \leftarrow \Phi_0 J_0 + \sum_r \Phi_r I_r, \quad \Phi_r = \alpha_S \cdots \alpha_{r+1}$$

    [Mozer (1989)][mozer1989], "A focused backpropagation algorithm for temporal pattern recognition"; [Zucchet et al.
    (2023)][zucchet2023], "Online learning of long-range dependencies", equation 4.
    """

    def init(self, cell: AbstractDiagonalCell, state: State, *, key: PRNGKeyArray | None = None) -> OwnInfluence:
        return first_own_influence(cell)

    def step(
        self, cell: AbstractDiagonalCell, state: State, x: Input, memory: OwnInfluence
    ) -> tuple[State, Pullback, OwnInfluence]:
        return step_within_units(cell, state, x, memory)

    def forward(
        self,
        cell: AbstractDiagonalCell,
        state: State,
        xs: Input,
        memory: OwnInfluence,
        reset: Bool[Array, " time"] | None = None,
    ) -> tuple[State, Any]:
        if count(xs, reset) == 1:
            return super().forward(cell, state, xs, memory, reset)
        state, memory, reset = self.begin(cell, state, memory, reset)
        states = cell.trajectory(state, xs, reset)
        before = jax.tree.map(lambda s, after: jnp.concatenate([s[None], after[:-1]]), state, states)
        if reset is not None:
            at = reset[:, None]
            before = jax.tree.map(lambda h0, h: jnp.where(at, h0[None], h), cell.initial_state(), before)
        return states, NewSteps(memory, jax.vmap(cell.linearise)(before, xs)[1], reset)

    def backward(self, cell: AbstractDiagonalCell, residual: Any, vs: State) -> tuple[Params, Input, OwnInfluence]:
        if not isinstance(residual, NewSteps):
            return super().backward(cell, residual, vs)
        influence, steps, reset = residual
        parts = jnp.stack(jax.tree.leaves(vs), axis=1)
        v, v_initial, visited = _sweep(jnp.zeros_like(parts[0])[None], parts[:, None], steps.alpha, reset)
        gradient = add(immediate_gradient(steps, visited[:, 0]), _weigh(v[0], influence))
        if reset is not None:
            fresh = first_own_influence(cell)
            gradient = add(gradient, _weigh(v_initial[0], fresh))
            influence = jax.tree.map(lambda new, old: jnp.where(reset.any(), new, old), fresh, influence)
        below = jnp.einsum("rki,rkgi,gij->rj", visited[:, 0], steps.betas[-1], cell.weights()[-1])
        return gradient, below, _fold(influence, steps if reset is None else since_reset(steps, reset))


def first_own_influence(cell: AbstractGatedCell) -> OwnInfluence:
    """dh₀/dθ for each part of a unit, in the shape of the parameters: zero but for parameters of the initial state."""
    first = initial_influence(cell)
    return tuple(jax.tree.map(lambda i, k=k: i[k], first) for k in range(len(jax.tree.leaves(cell.initial_state()))))


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
        return masked(cell, _weigh(jnp.stack(jax.tree.leaves(v)), influence))

    return next_state, pullback, influence


def _fold(memory: OwnInfluence, steps: Linearisation) -> OwnInfluence:
    """J after several steps from J before them."""
    n_parts, n = steps.alpha.shape[-2:]
    identity = jnp.broadcast_to(jnp.eye(n_parts, dtype=steps.alpha.dtype)[..., None], (n_parts, n_parts, n))
    nothing = jnp.zeros((steps.alpha.shape[0], *identity.shape), identity.dtype)
    phi, _, suffixes = _sweep(identity, nothing, steps.alpha)
    return tuple(add(_weigh(phi[k], memory), immediate_gradient(steps, suffixes[:, k])) for k in range(n_parts))


def _sweep(
    v: Float[Array, "rows parts n"],
    arriving: Float[Array, "steps rows parts n"],
    alpha: Float[Array, "steps parts parts n"],
    reset: Bool[Array, " steps"] | None = None,
) -> tuple[Float[Array, "rows parts n"], Float[Array, "rows parts n"], Float[Array, "steps rows parts n"]]:
    """Cotangents back through steps: what reaches the state before them, initial states, and the state after each."""
    if many_at_once():
        return _all_at_once(v, arriving, alpha, reset)

    def earlier(carry: tuple[Array, Array], step: tuple) -> tuple[tuple[Array, Array], Array]:
        (v, v_initial), (v_here, alpha, reset) = carry, step
        v = v + v_here
        before = jnp.einsum("rki,kli->rli", v, alpha)
        return to_initial(reset, before, v_initial), v

    (v, v_initial), visited = jax.lax.scan(earlier, (v, jnp.zeros_like(v)), (arriving, alpha, reset), reverse=True)
    return v, v_initial, visited


def _all_at_once(v: Array, arriving: Array, alpha: Array, reset: Array | None) -> tuple[Array, Array, Array]:
    begins = jnp.zeros(len(alpha), bool) if reset is None else reset
    cut = jnp.roll(begins, -1).at[-1].set(True)  # what comes later does not reach back past a beginning
    visited = linear_recurrence(jnp.roll(alpha, -1, axis=0), arriving.at[-1].add(v), cut, reverse=True)
    before, at = through(visited, alpha), begins[:, None, None, None]
    return jnp.where(begins[0], 0, before[0]), jnp.where(at, before, 0).sum(axis=0), visited


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
