"""Optimal Kronecker-sum approximation of RTRL."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from rtrl._sizes import check_sizes
from rtrl._types import Input, Pullback, State
from rtrl.cells import AbstractCell, AbstractDenseCell
from rtrl.estimators._base import AbstractEstimator
from rtrl.estimators._kronecker import KroneckerSum, Lefts, Rights, no_products, step_of_products
from rtrl.estimators._random import key_of, signs


class OK(AbstractEstimator):
    r"""The influence of each weight matrix as a sum of `rank` Kronecker products, unbiased with least variance.

    A step makes of $J = \sum_{i=1}^r A_i \otimes u_i$ the sum $\sum_i D A_i \otimes u_i + B \otimes z$ of r + 1
    products. In the singular value decomposition of that sum the largest terms are kept as they are, and the
    rest, with singular values σ, is replaced by fewer random terms L Rᵀ with $E[L R^\top] = \mathrm{diag}(\sigma)$
    of the least possible variance. Exact once `rank` reaches the width of the weights. Per-unit parameters
    (biases) are carried exactly. Time O(r n³), memory O(r n²) a gate. The singular vectors come from a Gram matrix, in
    half of the digits, so that runs of one stream in pieces of other lengths, which are other programs, agree to about
    1e-8 in double precision, where other estimators agree to rounding.

    [Benzing, Gauy, Mujika, Martinsson & Steger (2019)][benzing2019], "Optimal Kronecker-sum approximation of real time
    recurrent learning" (arXiv 1902.03993). Serves dense gated cells.

    **Arguments:**

    - `rank`: how many Kronecker products a weight has, at least 1.

    **Raises:** `TypeError` for another cell, `ValueError` if the rank is below 1 or no key is given.

    **Example:**

    ```python
    learner = rtrl.Learner(loss, rtrl.OK(4), optax.adam(1e-3))
    state = learner.init(model, key=key)
    ```
    """

    rank: int = eqx.field(static=True)

    def __check_init__(self):
        check_sizes(rank=self.rank)

    def init(self, cell: AbstractCell, state: State, *, key: PRNGKeyArray | None = None) -> KroneckerSum:
        return no_products(self, cell, state, self.rank, key)

    def restart(self, cell: AbstractCell, memory: KroneckerSum) -> KroneckerSum:
        return self.init(cell, cell.initial_state(), key=key_of(memory.seed))

    def step(
        self, cell: AbstractDenseCell, state: State, x: Input, memory: KroneckerSum
    ) -> tuple[State, Pullback, KroneckerSum]:
        return step_of_products(cell, state, x, memory, _reduce)


def _reduce(key: PRNGKeyArray, lefts: Lefts, rights: Rights) -> tuple[Lefts, Rights]:
    """A sum of r + 1 products as one of r with the same mean: random only in the subspace of small terms.

    Singular vectors come from a Gram matrix, in half of the digits. That costs nothing but a little optimality:
    the mean is right for any orthonormal right vectors, if the left ones belong to them.
    """
    dtype, rank = rights.dtype, len(rights) - 1
    lefts, rights = (a.astype(jnp.promote_types(dtype, jnp.float32)) for a in (lefts, rights))
    right_basis, triangle = jnp.linalg.qr(rights.T)
    columns = (triangle @ lefts.reshape(rank + 1, -1)).T
    _, turn = jnp.linalg.eigh(columns.T @ columns)
    turn = turn[:, ::-1]
    scaled = columns @ turn
    sigma = jnp.linalg.norm(scaled, axis=0)
    factor = _random_root(key, sigma, rank)
    u = scaled / jnp.where(sigma > 0, sigma, 1)[None]
    left, right = (u @ factor).T.reshape(rank, *lefts.shape[1:]), (right_basis @ (turn @ factor)).T
    return left.astype(dtype), right.astype(dtype)


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
