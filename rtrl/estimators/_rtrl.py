"""Real-time recurrent learning."""

from typing import Any, Literal

import equinox as eqx
from jaxtyping import Array, Bool, PRNGKeyArray

from rtrl._types import Input, Memory, Params, State
from rtrl.cells import AbstractCell, AbstractDenseCell, AbstractDiagonalCell, AbstractGatedCell, StackedCell, check_gate
from rtrl.estimators._arbitrary import Arbitrary
from rtrl.estimators._base import AbstractEstimator
from rtrl.estimators._block import Block, best_size
from rtrl.estimators._diagonal import Diagonal
from rtrl.estimators._layered import Layered
from rtrl.estimators._textbook import Textbook


class RTRL(AbstractEstimator):
    r"""Real-time recurrent learning: the exact gradient, carried forward, with no truncation.

    $$J_t = D_t J_{t-1} + I_t, \qquad \frac{d\ell_t}{d\theta} = \frac{\partial \ell_t}{\partial h_t} J_t$$

    with the dynamics Jacobian $D_t = \partial h_t/\partial h_{t-1}$, the immediate Jacobian
    $I_t = \partial h_t/\partial\theta$ at fixed $h_{t-1}$ and the influence matrix $J_t = dh_t/d\theta$, each
    taken at the parameters of its own step; $J_0 = dh_0/d\theta$. The cell's type picks the form; all give the same
    numbers:

    | cell | form | time per step | memory |
    |---|---|---|---|
    | `AbstractDenseCell` | textbook: advance J at every step | O(n² P) | O(n P) |
    | `AbstractDenseCell` | block: J stays for `block_size` steps, then is folded once | O(n P) | O(n P) |
    | `AbstractDiagonalCell` | a unit influences itself only | O(P) | O(P) |
    | `StackedCell` | the layers' forms, and the influence of each layer on those above | O(n² P) | O(n P) |
    | any other | n vector-Jacobian products a step | O(n² P) | O(n P) |

    for n units and P parameters. Steps that fold are slower than the others.

    [Williams & Zipser (1989)][williams1989], "A learning algorithm for continually running fully recurrent neural
    networks", Neural Computation 1(2); [Schmidhuber (1992)][schmidhuber1992], "A fixed size storage O(n³) time
    complexity learning algorithm for fully recurrent continually running networks", Neural Computation 4(2).

    **Arguments:**

    - `block_size`: about dense cells: `"auto"` takes the block form where it is the faster one, `None` the textbook
        form, an integer that many steps between folds.

    **Raises:** `ValueError` if `block_size` is none of these, or an integer for a cell that is not dense (in a stack it
    is about the dense layers), `TypeError` for a gated cell whose gate is not elementwise.

    **Example:**

    ```python
    learner = rtrl.Learner(loss, rtrl.RTRL(), optax.adam(1e-3))
    state = learner.init(model)
    ```
    """

    block_size: int | Literal["auto"] | None = eqx.field(static=True, default="auto")

    def __check_init__(self):
        is_size = isinstance(self.block_size, int) and not isinstance(self.block_size, bool) and self.block_size >= 1
        if not is_size and self.block_size not in ("auto", None):
            raise ValueError(f"block_size: expected 'auto', None or an integer of at least 1, got {self.block_size!r}")

    def init(self, cell: AbstractCell, state: State, *, key: PRNGKeyArray | None = None) -> Memory:
        if isinstance(self.block_size, int) and not isinstance(cell, AbstractDenseCell | StackedCell):
            raise ValueError(
                f"block_size: expected 'auto' or None for {type(cell).__name__}, which is not a dense cell "
                f"(rtrl.AbstractDenseCell); got {self.block_size}"
            )
        return self.form(cell).init(cell, state, key=key)

    def forward(
        self, cell: AbstractCell, state: State, xs: Input, memory: Memory, reset: Bool[Array, " time"] | None = None
    ) -> tuple[State, Any]:
        return self.form(cell).forward(cell, state, xs, memory, reset)

    def backward(self, cell: AbstractCell, residual: Any, vs: State) -> tuple[Params, Input, Memory]:
        return self.form(cell).backward(cell, residual, vs)

    def form(self, cell: Any) -> AbstractEstimator:
        """The form of the recursion that serves this cell, or this layer of a stack."""
        if isinstance(cell, StackedCell):
            return Layered(self.form)
        if isinstance(cell, AbstractGatedCell):
            check_gate(cell)
        if isinstance(cell, AbstractDenseCell):
            size = best_size(cell) if self.block_size == "auto" else self.block_size
            return Textbook() if size is None else Block(size)
        return Diagonal() if isinstance(cell, AbstractDiagonalCell) else Arbitrary()
