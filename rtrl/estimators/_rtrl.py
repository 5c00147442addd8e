"""Real-time recurrent learning."""

from typing import Literal

import equinox as eqx
from jaxtyping import PRNGKeyArray

from rtrl._types import Input, Memory, Pullback, State
from rtrl.cells import AbstractCell
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
    taken at the parameters of its own step. The cell's coupling picks the form; all give the same numbers:

    | coupling | form | time per step | memory |
    |---|---|---|---|
    | dense | textbook: advance J at every step | O(n² P) | O(n P) |
    | dense | block: J stays for `block_size` steps, then is folded once | O(n P) | O(n P) |
    | diagonal | a unit influences itself only | O(P) | O(P) |
    | layered | the layers' forms, and the influence of each layer on those above | O(n² P) | O(n P) |
    | arbitrary | n vector-Jacobian products a step | O(n² P) | O(n P) |

    for n units and P parameters. `block_size` is about dense coupling: `"auto"` takes the block form where it
    is the faster one, `None` the textbook form, an integer that many steps between folds. Steps that fold are
    slower than the others.

    Williams & Zipser (1989), "A learning algorithm for continually running fully recurrent neural networks",
    Neural Computation 1(2); Schmidhuber (1992), "A fixed size storage O(n³) time complexity learning algorithm
    for fully recurrent continually running networks", Neural Computation 4(2). Raises `ValueError` if
    `block_size` is below 1, or given for a cell without dense coupling; in a stack it is about the dense layers.
    """

    block_size: int | Literal["auto"] | None = eqx.field(static=True, default="auto")

    def __check_init__(self):
        if isinstance(self.block_size, int) and self.block_size < 1:
            raise ValueError(f"block_size: expected 'auto', None or an integer of at least 1, got {self.block_size}")

    def init(self, cell: AbstractCell, state: State, *, key: PRNGKeyArray | None = None) -> Memory:
        if isinstance(self.block_size, int) and cell.coupling in ("diagonal", "arbitrary"):
            raise ValueError(
                f"block_size: expected 'auto' or None for {type(cell).__name__}, whose coupling is {cell.coupling}, "
                f"not dense; got {self.block_size}"
            )
        return self.form(cell).init(cell, state, key=key)

    def step(self, cell: AbstractCell, state: State, x: Input, memory: Memory) -> tuple[State, Pullback, Memory]:
        return self.form(cell).step(cell, state, x, memory)

    def window(self, cell, state, xs, memory, cotangents):
        return self.form(cell).window(cell, state, xs, memory, cotangents)

    def form(self, cell: AbstractCell) -> AbstractEstimator:
        """The form of the recursion that serves this cell."""
        if cell.coupling == "layered":
            return Layered(self.form)
        if cell.coupling == "dense":
            size = best_size(cell) if self.block_size == "auto" else self.block_size
            return Textbook() if size is None else Block(size)
        return Diagonal() if cell.coupling == "diagonal" else Arbitrary()
