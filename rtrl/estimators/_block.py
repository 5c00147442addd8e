"""RTRL for dense gated cells in blocks of steps: one streaming read of the influence matrix a step."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree

from rtrl._types import Cotangents, Influence, Input, Params, Pullback, State
from rtrl.cells import (
    AbstractCell,
    AbstractGatedCell,
    Linearisation,
    masked,
    recurrent_parameters,
    recurrent_weights,
    weights_of,
    with_weights,
)
from rtrl.estimators._base import AbstractEstimator, Shared, add
from rtrl.estimators._real import no_influence
from rtrl.estimators._textbook import pull_back

CHUNK_BYTES = 2**22
"""How much of the influence matrix a fold treats at once: little beside J, much beside a cache line."""


class BlockMemory(eqx.Module):
    """J at the start of the block, and the linearisations and recurrent weights of the `filled` steps since.

    The rest of `steps` is filled with steps that change nothing.
    """

    influence: Influence
    steps: Linearisation
    weight_hh: Shared
    filled: Shared


class Block(AbstractEstimator):
    r"""The influence matrix stays as it is for `size` steps; gradients sweep back to the block's start.

    With $v_s = \partial\ell_s/\partial h_s$ and $v_{r-1} = v_r D_r$, a step s of the block has the gradient

    $$\frac{d\ell_s}{d\theta} = \sum_{r \le s} v_r I_r + v_0 J_0, \qquad
      J_0 \leftarrow \Phi_0 J_0 + \sum_r \Phi_r I_r, \quad \Phi_r = D_S \cdots D_{r+1}$$

    the fold on the right once a block. Each $D_r$, $I_r$ is taken at the parameters of its own step, so the
    result is the textbook recursion's also when the parameters are updated at every step. The fold is paid at
    the first step of the next block.

    Schmidhuber (1992), Neural Computation 4(2), has the idea for parameters that stay constant in a block.
    """

    size: int = eqx.field(static=True)

    def init(self, cell: AbstractGatedCell, state: State, *, key: PRNGKeyArray | None = None) -> BlockMemory:
        one = jax.eval_shape(lambda: cell.linearise(state, cell.example_input())[1])
        steps = _standstill(jax.tree.map(lambda a: jnp.zeros((self.size, *a.shape), a.dtype), one))
        weight_hh = jnp.zeros_like(recurrent_weights(cell), shape=(self.size, *recurrent_weights(cell).shape))
        influence = no_influence(recurrent_parameters(cell), state)
        return BlockMemory(influence, steps, Shared(weight_hh), Shared(jnp.zeros((), int)))

    def step(
        self, cell: AbstractGatedCell, state: State, x: Input, memory: BlockMemory
    ) -> tuple[State, Pullback, BlockMemory]:
        # The fold comes first: what follows then depends on it, and XLA need not copy J.
        memory = _emptied(memory, _largest(memory.filled.value) == self.size)
        filled = _largest(memory.filled.value)
        next_state, linearisation = cell.linearise(state, x)
        steps, weight_hh = jax.tree.map(
            lambda kept, now: kept.at[filled].set(now),
            (memory.steps, memory.weight_hh.value),
            (linearisation, recurrent_weights(cell)),
        )
        memory = BlockMemory(memory.influence, steps, Shared(weight_hh), Shared(filled + 1))
        return next_state, lambda v: masked(cell, _pull_back(memory, v)), memory

    def window(
        self,
        cell: AbstractGatedCell,
        state: State,
        xs: Input,
        memory: BlockMemory,
        cotangents: Cotangents,
    ) -> tuple[State, Params, PyTree, BlockMemory]:
        """All steps at the same parameters: one sweep, one read of J and one fold for all of them."""
        memory = _emptied(memory, _largest(memory.filled.value) > 0)

        def forward(state: State, x: Input):
            next_state, linearisation = cell.linearise(state, x)
            return next_state, (next_state, linearisation)

        state, (states, steps) = jax.lax.scan(forward, state, xs)
        vs, aux = cotangents(states)

        def earlier(v, step):
            v_here, alpha, beta = step
            v = v + v_here
            return _before(v, alpha, beta, recurrent_weights(cell)), v

        parts = jnp.stack(jax.tree.leaves(vs), axis=1)
        at_start, visited = jax.lax.scan(
            earlier, jnp.zeros_like(parts[0]), (parts, steps.alpha, steps.betas[0]), reverse=True
        )
        gradient = masked(cell, add(pull_back(list(at_start), memory.influence), immediate_gradient(steps, visited)))
        influence = _fold(memory.influence, steps, recurrent_weights(cell))
        return state, gradient, aux, BlockMemory(influence, memory.steps, memory.weight_hh, memory.filled)


@jax.custom_batching.custom_vmap
def _largest(filled: Int[Array, ""]) -> Int[Array, ""]:
    """A count that stays one number when networks are mapped by `vmap`, as a condition or an index must.

    The counts are equal unless someone put networks of different age together. Then those with fewer steps
    stand still between their last step and the next, and are folded early, which changes nothing.
    """
    return filled


@_largest.def_vmap
def _largest_of_all(axis_size: int, in_batched: list[bool], filled: Int[Array, " networks"]) -> tuple[Array, bool]:
    return _largest(filled.max(axis=0)), False


def _standstill(steps: Linearisation) -> Linearisation:
    """Steps that change nothing, in place of these: α is the identity, nothing else has an effect."""
    nothing = jax.tree.map(jnp.zeros_like, steps)
    identity = jnp.eye(steps.alpha.shape[1], dtype=steps.alpha.dtype)[None, ..., None]
    return eqx.tree_at(lambda s: s.alpha, nothing, jnp.broadcast_to(identity, steps.alpha.shape))


def _emptied(memory: BlockMemory, when: Bool[Array, ""]) -> BlockMemory:
    """The memory with its steps folded into J, if it is time to."""
    influence, steps, filled = jax.lax.cond(
        when,
        lambda: (
            _fold(memory.influence, memory.steps, memory.weight_hh.value),
            _standstill(memory.steps),
            jnp.zeros_like(memory.filled.value),
        ),
        lambda: (memory.influence, memory.steps, memory.filled.value),
    )
    return BlockMemory(influence, steps, memory.weight_hh, Shared(filled))


def _pull_back(memory: BlockMemory, v: State) -> Params:
    filled = _largest(memory.filled.value)

    def earlier(back, carry):
        v, visited = carry
        r = filled - 1 - back
        alpha, beta, weight_hh = memory.steps.alpha[r], memory.steps.betas[0][r], memory.weight_hh.value[r]
        return _before(v, alpha, beta, weight_hh), visited.at[r].set(v)

    parts = jnp.stack(jax.tree.leaves(v))
    visited = jnp.zeros((memory.weight_hh.value.shape[0], *parts.shape), parts.dtype)
    at_start, visited = jax.lax.fori_loop(0, filled, earlier, (parts, visited))
    return add(pull_back(list(at_start), memory.influence), immediate_gradient(memory.steps, visited))


def _before(
    v: Float[Array, "*rows parts n"],
    alpha: Float[Array, "parts parts n"],
    beta: Float[Array, "parts gates n"],
    weight_hh: Float[Array, "gates n n"],
) -> Float[Array, "*rows parts n"]:
    """The product v D, without building D."""
    through_weights = jnp.einsum("...gi,gij->...j", jnp.einsum("...ki,kgi->...gi", v, beta), weight_hh)
    return jnp.einsum("...ki,kli->...li", v, alpha).at[..., 0, :].add(through_weights)


def immediate_gradient(steps: Linearisation, visited: Float[Array, "steps parts n"]) -> Params:
    """Σ v_r I_r over several steps, from the cotangent v_r of each one's state."""
    weights = [
        jnp.einsum("rgi,rj->gij", jnp.einsum("rki,rkgi->rgi", visited, beta), z)
        for beta, z in zip(steps.betas, steps.factors, strict=True)
    ]
    units = jax.tree.map(lambda unit: jnp.einsum("rki,rk...i->...i", visited, unit), steps.units)
    return with_weights(units, weights)


def _fold(influence: Influence, steps: Linearisation, weight_hh: Float[Array, "*steps gates n n"]) -> Influence:
    """J at the end of the block from J at its start, in place, a few units' columns at a time."""
    parts, n = steps.alpha.shape[-2:]

    def earlier(phi, step):
        alpha, beta, *weights = step
        return _before(phi, alpha, beta, *(weights or [weight_hh])), phi

    each_step = [weight_hh] if weight_hh.ndim == 4 else []
    identity = jnp.eye(parts * n, dtype=weight_hh.dtype).reshape(parts * n, parts, n)
    phi, suffixes = jax.lax.scan(earlier, identity, (steps.alpha, steps.betas[0], *each_step), reverse=True)
    phi = phi.reshape(parts * n, parts * n)
    units = jax.tree.map(
        lambda j, unit: jnp.tensordot(phi, j, 1) + jnp.einsum("raki,rk...i->a...i", suffixes, unit),
        with_weights(influence, [None] * len(steps.betas)),
        steps.units,
    )
    weights = [
        _fold_weight(j, phi, suffixes, beta, z)
        for j, beta, z in zip(weights_of(influence), steps.betas, steps.factors, strict=True)
    ]
    return with_weights(units, weights)


def _fold_weight(
    j: Float[Array, "states gates n width"],
    phi: Float[Array, "states states"],
    suffixes: Float[Array, "steps states parts n"],
    beta: Float[Array, "steps parts gates n"],
    z: Float[Array, "steps width"],
) -> Float[Array, "states gates n width"]:
    size = _chunk(j)

    def fold(chunk, j):
        begin = chunk * size
        suffix, coefficient = (jax.lax.dynamic_slice_in_dim(a, begin, size, -1) for a in (suffixes, beta))
        old = jax.lax.dynamic_slice_in_dim(j, begin, size, 2)
        columns = jnp.einsum("raki,rkgi->ragi", suffix, coefficient)
        new = jnp.einsum("ab,bgij->agij", phi, old) + jnp.einsum("ragi,rj->agij", columns, z)
        return jax.lax.dynamic_update_slice_in_dim(j, new, begin, 2)

    return jax.lax.fori_loop(0, j.shape[2] // size, fold, j)


def _chunk(j: Array) -> int:
    """The largest divisor of n with at most `CHUNK_BYTES` in the columns of that many units, or 1."""
    n = j.shape[2]
    wanted = max(1, CHUNK_BYTES * n // (j.size * j.dtype.itemsize))
    return max(d for d in range(1, n + 1) if n % d == 0 and d <= wanted)


def best_size(cell: AbstractCell) -> int | None:
    """The number of steps between folds that was the fastest where we measured; none for small cells."""
    states = sum(part.size for part in jax.tree.leaves(cell.initial_state()))
    return None if states < 32 else states // 4
