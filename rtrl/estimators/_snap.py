"""Sparse n-step approximation of RTRL."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from rtrl._sizes import check_sizes
from rtrl._types import Input, Memory, Pullback, State
from rtrl.cells import (
    AbstractCell,
    AbstractDenseCell,
    AbstractDiagonalCell,
    AbstractGatedCell,
    Linearisation,
    recurrent_weights,
)
from rtrl.estimators._base import AbstractEstimator, check_gated
from rtrl.estimators._diagonal import first_own_influence, step_within_units
from rtrl.estimators._sparse import first_sparse_influence, step_within_reach


class SnAp(AbstractEstimator):
    r"""The influence matrix with only the entries that are not zero after `order` steps.

    $$J_t = M \odot (D_t J_{t-1} + I_t)$$

    where M keeps the influence of a parameter on the units that its own unit reaches within order - 1 steps
    through recurrent weights. `SnAp(1)` keeps a unit's influence on itself, in time and memory O(P), on any
    gated cell; with a diagonal coupling it is exact. A higher order needs a cell with a `mask` (on a dense one
    it would be `RTRL()`) and is exact once it reaches every unit that can be reached: with R units in reach of
    one, time O(R² P) and memory O(R P), P counting the weights that exist.

    [Menick et al. (2021)][menick2020], "Practical real time recurrent learning with a sparse approximation" (arXiv
    2006.07232), section 3.

    **Arguments:**

    - `order`: within how many steps an influence must arise to be kept, at least 1.

    **Raises:** `TypeError` for a cell that it cannot serve, `ValueError` if the order is below 1.

    **Example:**

    ```python
    learner = rtrl.Learner(loss, rtrl.SnAp(1), optax.adam(1e-3))
    state = learner.init(model)
    ```
    """

    order: int = eqx.field(static=True)

    def __check_init__(self):
        check_sizes(order=self.order)

    def init(self, cell: AbstractCell, state: State, *, key: PRNGKeyArray | None = None) -> Memory:
        gated = check_gated(self, cell)
        if self._within_units(gated):
            return first_own_influence(gated)
        if not isinstance(gated, AbstractDenseCell) or gated.mask is None:
            raise TypeError(
                f"cell: expected a mask of recurrent weights for SnAp({self.order}), got {type(gated).__name__} "
                f"without one, in which every unit reaches all others; SnAp(1) and RTRL() serve it"
            )
        return first_sparse_influence(gated, state, self.order)

    def step(self, cell: AbstractGatedCell, state: State, x: Input, memory: Memory) -> tuple[State, Pullback, Memory]:
        if self._within_units(cell):
            return step_within_units(cell, state, x, memory, lambda linearisation: _own(cell, linearisation))
        return step_within_reach(cell, state, x, memory, self.order)

    def _within_units(self, cell: AbstractGatedCell) -> bool:
        return self.order == 1 or isinstance(cell, AbstractDiagonalCell)


def _own(cell: AbstractGatedCell, linearisation: Linearisation) -> Float[Array, "parts parts n"]:
    """The diagonal of D: how a unit acts on itself, through its own recurrent weight too."""
    if not isinstance(cell, AbstractDenseCell):
        return linearisation.alpha
    own_weights = jnp.diagonal(recurrent_weights(cell), axis1=1, axis2=2)
    through_weights = jnp.einsum("kgi,gi->ki", linearisation.betas[0], own_weights)
    return linearisation.alpha.at[:, 0].add(through_weights)
