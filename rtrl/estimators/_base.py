"""The protocol that every online gradient estimator follows."""

import abc
from collections.abc import Callable

import equinox as eqx
from jaxtyping import PRNGKeyArray

from rtrl._types import Input, Memory, Params, State
from rtrl.cells import AbstractCell


class AbstractEstimator(eqx.Module):
    r"""An online estimator of $v \, dh_t/d\theta$, the derivative of the whole past.

    `init` makes the memory that `step` carries from one time step to the next; `step` advances the cell and
    hands back a pullback, which maps the loss's cotangent $v = \partial \ell_t / \partial h_t$ to the
    gradient with respect to the cell's trained parameters.
    """

    @abc.abstractmethod
    def init(self, cell: AbstractCell, state: State, *, key: PRNGKeyArray | None = None) -> Memory:
        """The memory before the first step, for a stream that starts in `state`."""

    @abc.abstractmethod
    def step(
        self, cell: AbstractCell, state: State, x: Input, memory: Memory
    ) -> tuple[State, Callable[[State], Params], Memory]:
        """One time step: the next state, the pullback at that state, the next memory."""
