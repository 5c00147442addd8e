"""Real-time recurrent learning."""

from collections.abc import Callable
from types import ModuleType

from jaxtyping import PRNGKeyArray

from rtrl._types import Influence, Input, Params, State
from rtrl.cells import AbstractCell, AbstractGatedCell
from rtrl.estimators import _arbitrary, _textbook
from rtrl.estimators._base import AbstractEstimator


class RTRL(AbstractEstimator):
    r"""Real-time recurrent learning: the exact gradient, carried forward, with no truncation.

    $$J_t = D_t J_{t-1} + I_t, \qquad \frac{d\ell_t}{d\theta} = \frac{\partial \ell_t}{\partial h_t} J_t$$

    with the dynamics Jacobian $D_t = \partial h_t/\partial h_{t-1}$, the immediate Jacobian
    $I_t = \partial h_t/\partial\theta$ at fixed $h_{t-1}$ and the influence matrix $J_t = dh_t/d\theta$, each
    taken at the parameters of its own step. Time $O(n^2 P)$ and memory $O(n P)$ per step for n units and P
    parameters. Gated cells go through their structure ($I_t$ is never built as an n×P array), any other cell
    through its vector-Jacobian products.

    Williams & Zipser (1989), "A learning algorithm for continually running fully recurrent neural networks",
    Neural Computation 1(2).
    """

    def init(self, cell: AbstractCell, state: State, *, key: PRNGKeyArray | None = None) -> Influence:
        return _form_of(cell).init(cell, state)

    def step(
        self, cell: AbstractCell, state: State, x: Input, memory: Influence
    ) -> tuple[State, Callable[[State], Params], Influence]:
        return _form_of(cell).step(cell, state, x, memory)


def _form_of(cell: AbstractCell) -> ModuleType:
    return _textbook if isinstance(cell, AbstractGatedCell) else _arbitrary
