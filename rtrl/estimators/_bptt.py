"""Full backpropagation through time: the offline reference."""

from typing import NoReturn

from jaxtyping import PRNGKeyArray

from rtrl._types import Input, Memory, Pullback, State
from rtrl.cells import AbstractCell
from rtrl.estimators._base import AbstractEstimator

OFFLINE = (
    "estimator: expected one with an online step, got BPTT(), which needs the whole sequence; "
    "use rtrl.sequence_gradient(BPTT(), ...), or TBPTT(horizon) online"
)


class BPTT(AbstractEstimator):
    """Backpropagation through the whole sequence: exact, offline, memory O(T n) for T steps.

    Use it with `rtrl.sequence_gradient`; it has no online step, and asking for one raises `ValueError`.

    Werbos (1990), "Backpropagation through time: what it does and how to do it", Proc. IEEE 78(10).
    """

    def init(self, cell: AbstractCell, state: State, *, key: PRNGKeyArray | None = None) -> NoReturn:
        raise ValueError(OFFLINE)

    def step(self, cell: AbstractCell, state: State, x: Input, memory: Memory) -> tuple[State, Pullback, Memory]:
        raise ValueError(OFFLINE)
