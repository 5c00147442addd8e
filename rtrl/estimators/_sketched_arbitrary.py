"""Sketched RTRL for a cell of any structure: products with the user's own step, from both sides."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from rtrl._types import Influence, Input, Params, Pullback, State
from rtrl.cells import AbstractCell, recurrent_parameters
from rtrl.estimators._arbitrary import real_step
from rtrl.estimators._base import AbstractEstimator
from rtrl.estimators._real import first_real_influence, real, row, unreal, vector


class Subspace(eqx.Module):
    """J ≈ Q B with orthonormal columns in Q; B shaped like the parameters, behind an axis of the rank."""

    basis: Float[Array, "states rank"]
    rows: Influence


class ArbitrarySketch(AbstractEstimator):
    r"""`SketchedRTRL` where nothing is known of the cell: $\hat J = D Q B + I$ is only ever multiplied.

    $\hat J^\top q$ is a vector-Jacobian product, $\hat J z$ a Jacobian-vector product: 2 r of the first and r of the
    second a step. Memory O(r P).
    """

    rank: int = eqx.field(static=True)

    def init(self, cell: AbstractCell, state: State, *, key: PRNGKeyArray | None = None) -> Subspace:
        flat = vector(state)
        rows = jax.tree.map(lambda j: j[: self.rank], first_real_influence(cell, recurrent_parameters(cell)))
        return Subspace(jnp.eye(flat.size, self.rank, dtype=flat.dtype), rows)

    def step(self, cell: AbstractCell, state: State, x: Input, memory: Subspace) -> tuple[State, Pullback, Subspace]:
        params, flat = recurrent_parameters(cell), vector(state)
        advance, basis, rows = real_step(cell, params, state, x), memory.basis, memory.rows
        _, vjp, next_state = jax.vjp(advance, real(params), flat, has_aux=True)

        def from_the_left(q: Array) -> Params:
            """Ĵᵀ q."""
            immediate, through_state = vjp(q)
            weights = through_state @ basis
            return jax.tree.map(lambda i, b: i + jnp.tensordot(weights, b, 1).astype(i.dtype), immediate, rows)

        def from_the_right(z: Params) -> Array:
            """Ĵ z."""
            products = [jnp.tensordot(b, a, a.ndim) for b, a in zip(*map(jax.tree.leaves, (rows, z)), strict=True)]
            through_state = basis @ sum(products, jnp.zeros(self.rank)).astype(flat.dtype)
            return jax.jvp(lambda p, s: advance(p, s)[0], (real(params), flat), (z, through_state))[1]

        turned = jax.vmap(lambda q: from_the_right(from_the_left(q)), in_axes=1, out_axes=1)(basis)
        basis_next = orthonormal(turned)
        rows_next = jax.vmap(from_the_left, in_axes=1)(basis_next)

        def pullback(v: State) -> Params:
            products = jax.tree.map(lambda b: jnp.tensordot(row(v) @ basis_next, b, 1).astype(b.dtype), rows_next)
            return jax.tree.map(jnp.conj, unreal(products, params))

        return next_state, pullback, Subspace(basis_next, rows_next)


def orthonormal(columns: Float[Array, "states rank"]) -> Float[Array, "states rank"]:
    """An orthonormal basis of the columns, computed in float32 at least: there is no QR in half precision."""
    wide = columns.astype(jnp.promote_types(columns.dtype, jnp.float32))
    return jnp.linalg.qr(wide)[0].astype(columns.dtype)
