"""RTRL in a moving subspace of the state."""

import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from rtrl._sizes import check_sizes
from rtrl._types import Input, Memory, Params, Pullback, State
from rtrl.cells import (
    AbstractCell,
    AbstractGatedCell,
    Linearisation,
    StackedCell,
    masked,
    recurrent_parameters,
    recurrent_weights,
)
from rtrl.estimators._base import AbstractEstimator, check_dense
from rtrl.estimators._real import vector
from rtrl.estimators._sketched_arbitrary import ArbitrarySketch, Subspace, orthonormal
from rtrl.estimators._textbook import first_influence, trailing_axes


class Sketch(eqx.Module):
    """J ≈ Q B with orthonormal columns in Q; B by parameter, as (rank, unit, everything else)."""

    basis: Float[Array, "states rank"]
    rows: PyTree[Float[Array, "rank n _rest"]]


class SketchedRTRL(AbstractEstimator):
    r"""The influence matrix projected, at every step, on the `rank` directions of the state where it is largest.

    $$\hat J_t = D_t Q B + I_t, \qquad Q \leftarrow \mathrm{orth}(\hat J_t \hat J_t^\top Q), \qquad
      B \leftarrow Q^\top \hat J_t$$

    one step of subspace iteration follows the leading left singular vectors. The n×n matrix $\hat J \hat J^\top$
    is had from products with r rows, never from $\hat J$ itself. Deterministic; biased, by what lies outside the
    subspace; exact if the rank is the size of the state. Time O(r n² + r² P), memory O(r P).

    [Halko, Martinsson & Tropp (2011)][halko2011], "Finding structure with randomness", SIAM Review 53(2), algorithm
    4.4, for the iteration. Serves dense gated cells, and cells of arbitrary coupling at the price of 3 r products with
    their step.

    **Arguments:**

    - `rank`: how many directions of the state are kept, from 1 to its size.

    **Raises:** `TypeError` for another cell, `ValueError` if the rank is below 1 or above the size of the state.

    **Example:**

    ```python
    learner = rtrl.Learner(loss, rtrl.SketchedRTRL(4), optax.adam(1e-3))
    state = learner.init(model)
    ```
    """

    rank: int = eqx.field(static=True)

    def __check_init__(self):
        check_sizes(rank=self.rank)

    def init(self, cell: AbstractCell, state: State, *, key: PRNGKeyArray | None = None) -> Memory:
        flat = vector(state)
        if self.rank > flat.size:
            raise ValueError(f"rank: expected at most {flat.size}, the size of the state, got {self.rank}")
        if isinstance(cell, StackedCell):
            raise TypeError(f"cell: expected one layer for SketchedRTRL, got {type(cell).__name__}; RTRL() serves it")
        if not isinstance(cell, AbstractGatedCell):
            return ArbitrarySketch(self.rank).init(cell, state)
        first = first_influence(check_dense(self, cell), state)
        rows = jax.tree.map(lambda j, trailing: _by_unit(j[: self.rank], trailing), first, trailing_axes(first))
        return Sketch(jnp.eye(flat.size, self.rank, dtype=flat.dtype), rows)

    def step(self, cell: Any, state: State, x: Input, memory: Memory) -> tuple[State, Pullback, Memory]:
        if isinstance(memory, Subspace):
            return ArbitrarySketch(self.rank).step(cell, state, x, memory)
        next_state, linearisation = cell.linearise(state, x)
        pushed = linearisation.dynamics(recurrent_weights(cell)) @ memory.basis
        immediate = _immediate(cell, linearisation)
        basis = orthonormal(_times_own_transpose(pushed, memory.rows, immediate, memory.basis))
        turned = basis.T @ pushed
        by_unit = basis.reshape(*linearisation.alpha.shape[1:], self.rank)
        rows = jax.tree.map(
            lambda b, now: jnp.tensordot(turned, b, 1) + jnp.einsum("kur,kuc->ruc", by_unit, now),
            memory.rows,
            immediate,
        )

        def pullback(v: State) -> Params:
            products = jax.tree.map(lambda b: jnp.tensordot(vector(v) @ basis, b, 1), rows)
            parameters = recurrent_parameters(cell)
            return masked(cell, jax.tree.map(_from_unit, products, parameters, trailing_axes(parameters)))

        return next_state, pullback, Sketch(basis, rows)


def _immediate(cell: AbstractGatedCell, linearisation: Linearisation) -> PyTree[Float[Array, "parts n _rest"]]:
    now = masked(cell, linearisation.immediate())
    return jax.tree.map(_by_unit, now, trailing_axes(now))


def _times_own_transpose(
    pushed: Float[Array, "states rank"],
    rows: PyTree[Array],
    immediate: PyTree[Array],
    basis: Float[Array, "states rank"],
) -> Float[Array, "states rank"]:
    """Ĵ Ĵᵀ Q for Ĵ = pushed @ rows + immediate, from r rows of products."""
    pairs = list(zip(jax.tree.leaves(rows), jax.tree.leaves(immediate), strict=True))
    within = functools.reduce(jnp.add, [jnp.einsum("ruc,suc->rs", b, b) for b, _ in pairs])
    across = functools.reduce(jnp.add, [jnp.einsum("ruc,kuc->rku", b, i) for b, i in pairs])
    own = functools.reduce(jnp.add, [jnp.einsum("kuc,luc->klu", i, i) for _, i in pairs])
    by_unit = basis.reshape(own.shape[0], own.shape[2], -1)
    from_rows = within @ (pushed.T @ basis) + jnp.einsum("rku,kus->rs", across, by_unit)
    from_own = jnp.einsum("rku,rs->kus", across, pushed.T @ basis) + jnp.einsum("klu,lus->kus", own, by_unit)
    return pushed @ from_rows + from_own.reshape(basis.shape)


def _by_unit(leaf: Array, trailing: int) -> Array:
    """(first, …, n, …) as (first, n, rest): everything that belongs to a unit in one axis."""
    return jnp.moveaxis(leaf, leaf.ndim - 1 - trailing, 1).reshape(
        leaf.shape[0], leaf.shape[leaf.ndim - 1 - trailing], -1
    )


def _from_unit(gradient: Array, like: Array, trailing: int) -> Array:
    """(n, rest) in the shape of the parameter."""
    axis = like.ndim - 1 - trailing
    others = like.shape[:axis] + like.shape[axis + 1 :]
    return jnp.moveaxis(gradient.reshape(like.shape[axis], *others), 0, axis)
