"""Optimal Kronecker-sum approximation of RTRL."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from rtrl._types import Influence, Input, Params, Pullback, State
from rtrl.cells import AbstractCell, AbstractGatedCell, masked, recurrent_weights, weights_of, with_weights
from rtrl.estimators._base import AbstractEstimator, check_dense
from rtrl.estimators._kf_rtrl import immediate_of
from rtrl.estimators._random import Seed, first_seed, keys_of_step, signs
from rtrl.estimators._real import vector
from rtrl.estimators._textbook import advance, no_influence_of_units, pull_back

Lefts = Float[Array, "_rank states _gates n"]
Rights = Float[Array, "_rank _width"]


class KroneckerSum(eqx.Module):
    """J ≈ Σ A ⊗ u for each weight, J itself for the per-unit parameters, and the seed of the next step's signs."""

    lefts: tuple[Lefts, ...]
    rights: tuple[Rights, ...]
    units: Influence
    seed: Seed


class OK(AbstractEstimator):
    r"""The influence of each weight matrix as a sum of `rank` Kronecker products, unbiased with least variance.

    A step makes of $J = \sum_{i=1}^r A_i \otimes u_i$ the sum $\sum_i D A_i \otimes u_i + B \otimes z$ of r + 1
    products. In the singular value decomposition of that sum the largest terms are kept as they are, and the
    rest, with singular values σ, is replaced by fewer random terms L Rᵀ with $E[L R^\top] = \mathrm{diag}(\sigma)$
    of the least possible variance. Exact once `rank` reaches the width of the weights. Per-unit parameters
    (biases) are carried exactly. Time O(r n³), memory O(r n²) a gate.

    Benzing, Gauy, Mujika, Martinsson & Steger (2019), "Optimal Kronecker-sum approximation of real time
    recurrent learning" (arXiv 1902.03993). Serves dense gated cells. Raises `TypeError` for
    another cell, `ValueError` if the rank is below 1 or no key is given.
    """

    rank: int = eqx.field(static=True)

    def __check_init__(self):
        if self.rank < 1:
            raise ValueError(f"rank: expected an integer of at least 1, got {self.rank}")

    def init(self, cell: AbstractCell, state: State, *, key: PRNGKeyArray | None = None) -> KroneckerSum:
        gated = check_dense(self, cell)
        states = vector(state).size
        lefts = tuple(jnp.zeros((self.rank, states, *w.shape[:2]), w.dtype) for w in weights_of(gated))
        rights = tuple(jnp.zeros((self.rank, w.shape[2]), w.dtype) for w in weights_of(gated))
        return KroneckerSum(lefts, rights, no_influence_of_units(gated, state), first_seed(self, key))

    def step(
        self, cell: AbstractGatedCell, state: State, x: Input, memory: KroneckerSum
    ) -> tuple[State, Pullback, KroneckerSum]:
        next_state, linearisation = cell.linearise(state, x)
        dynamics = linearisation.dynamics(recurrent_weights(cell))
        seed, keys = keys_of_step(memory.seed, len(memory.rights))

        def reduced(one, lefts, rights, beta, z):
            pushed = jnp.einsum("ab,rbgi->ragi", dynamics, lefts)
            more = jnp.concatenate([pushed, immediate_of(beta, lefts[0])[None]])
            return _reduce(one, more, jnp.concatenate([rights, z[None]]), self.rank)

        sums = map(reduced, keys, memory.lefts, memory.rights, linearisation.betas, linearisation.factors)
        lefts, rights = zip(*sums, strict=True)
        memory = KroneckerSum(lefts, rights, advance(dynamics, memory.units, linearisation.units), seed)
        return next_state, lambda v: masked(cell, _pull_back(memory, v)), memory


def _reduce(key: PRNGKeyArray, lefts: Lefts, rights: Rights, rank: int) -> tuple[Lefts, Rights]:
    """A sum of r + 1 products as one of r with the same mean: random only in the subspace of small terms."""
    right_basis, triangle = jnp.linalg.qr(rights.T)
    u, sigma, vt = jnp.linalg.svd((triangle @ lefts.reshape(len(lefts), -1)).T, full_matrices=False)
    factor = _random_root(key, sigma, rank)
    return (u @ factor).T.reshape(rank, *lefts.shape[1:]), (right_basis @ (vt.T @ factor)).T


def _random_root(key: PRNGKeyArray, sigma: Float[Array, " terms"], rank: int) -> Float[Array, "terms rank"]:
    r"""L with $E[L L^\top] = \mathrm{diag}(\sigma)$ and the least variance; σ in falling order, at most one too many.

    The first m terms are kept, m the smallest number for which no other is above the mean share of the k = r - m
    that remain. With $z_i^2 = 1 - k\sigma_i / \sum_{j>m} \sigma_j$ for i > m, an orthonormal basis Z of the
    complement of z (from a Householder reflection) has the rows' norms that are wanted, and random signs make
    the rest vanish on average.
    """
    if len(sigma) <= rank:
        return jnp.zeros((len(sigma), rank), sigma.dtype).at[:, : len(sigma)].set(jnp.diag(jnp.sqrt(sigma)))
    index = jnp.arange(rank)
    tails = jnp.cumsum(sigma[::-1])[::-1]
    m = jnp.argmax(sigma[:-1] * (rank - index) <= tails[:-1])
    k, tail = rank - m, tails[m]
    shared = jnp.arange(rank + 1) >= m
    z = jnp.where(shared, jnp.sqrt(jnp.clip(1 - k * sigma / jnp.where(tail > 0, tail, 1), 0)), 0)
    z = z / jnp.linalg.norm(z)
    w = z.at[-1].add(1)
    reflection = jnp.eye(rank + 1, dtype=sigma.dtype) - 2 * jnp.multiply.outer(w, w) / (w @ w)
    scale = jnp.where(index < m, jnp.sqrt(sigma[:-1]), jnp.sqrt(tail / k))
    return signs(key, rank + 1, like=sigma)[:, None] * reflection[:, :-1] * scale[None]


def _pull_back(memory: KroneckerSum, v: State) -> Params:
    row = vector(v)
    weights = [
        jnp.einsum("a,ragi,rj->gij", row, lefts, rights)
        for lefts, rights in zip(memory.lefts, memory.rights, strict=True)
    ]
    return with_weights(pull_back(v, memory.units), weights)
