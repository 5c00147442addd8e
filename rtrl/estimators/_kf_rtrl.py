"""Kronecker-factored RTRL."""

from jaxtyping import PRNGKeyArray

from rtrl._types import Input, Pullback, State
from rtrl.cells import AbstractCell, AbstractDenseCell
from rtrl.estimators._base import AbstractEstimator
from rtrl.estimators._kronecker import KroneckerSum, Lefts, Rights, no_products, step_of_products
from rtrl.estimators._random import balance, key_of, signs


class KFRTRL(AbstractEstimator):
    r"""The influence of each weight matrix as one random Kronecker product that is right on average.

    A weight's immediate Jacobian is $B \otimes z$, with one row of $B$ for every unit ($\beta$) and z what the
    weight is multiplied with. So $J = A \otimes u$, and

    $$u \leftarrow c_1 p_1 u + c_2 p_2 z, \qquad A \leftarrow c_1 D A / p_1 + c_2 B / p_2$$

    with random signs c and the scalings that minimise the variance, $p_1^2 = \|DA\|/\|u\|$ and
    $p_2^2 = \|B\|/\|z\|$. Per-unit parameters (biases) have no u; their influence is carried exactly. Time O(n³),
    memory O(n²) a gate. Unbiased at frozen parameters.

    [Mujika, Meier & Steger (2018)][mujika2018], "Approximating real-time recurrent learning with random Kronecker
    factors" (arXiv 1805.10842), algorithm 1. Serves dense gated cells.

    **Raises:** `TypeError` for another cell, `ValueError` if no key is given.

    **Example:**

    ```python
    learner = rtrl.Learner(loss, rtrl.KFRTRL(), optax.adam(1e-3))
    state = learner.init(model, key=key)
    ```
    """

    def init(self, cell: AbstractCell, state: State, *, key: PRNGKeyArray | None = None) -> KroneckerSum:
        return no_products(self, cell, state, 1, key)

    def restart(self, cell: AbstractCell, memory: KroneckerSum) -> KroneckerSum:
        return self.init(cell, cell.initial_state(), key=key_of(memory.seed))

    def step(
        self, cell: AbstractDenseCell, state: State, x: Input, memory: KroneckerSum
    ) -> tuple[State, Pullback, KroneckerSum]:
        return step_of_products(cell, state, x, memory, _mixed)


def _mixed(key: PRNGKeyArray, lefts: Lefts, rights: Rights) -> tuple[Lefts, Rights]:
    """Two products as one: D A and u with the first sign, B and z with the second."""
    (pushed, immediate), (right, z) = lefts, rights
    c1, c2 = signs(key, 2, like=z)
    p1, p2 = balance(pushed, right), balance(immediate, z)
    return (c1 / p1 * pushed + c2 / p2 * immediate)[None], (c1 * p1 * right + c2 * p2 * z)[None]
