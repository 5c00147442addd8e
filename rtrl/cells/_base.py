"""The protocol that every recurrent cell follows."""

import abc

import equinox as eqx

from rtrl._types import Input, State


class AbstractCell(eqx.Module):
    r"""A recurrent cell: one step of a dynamical system with trained parameters.

    $$h_t = f_\theta(h_{t-1}, x_t)$$

    A subclass gives `__call__` and `initial_state`. State and parameters may be any pytree of real
    floating-point arrays. Every such array in the module is a trained parameter; what must not be trained is
    made from static fields inside the methods.
    """

    @abc.abstractmethod
    def __call__(self, state: State, x: Input) -> State:
        """The next state $h_t$ from the state $h_{t-1}$ and the input $x_t$."""

    @abc.abstractmethod
    def initial_state(self) -> State:
        """The state before the first input: a constant, through which no gradient flows."""

    def output(self, state: State) -> State:
        """The part of the state that a readout sees; the whole state unless a cell says otherwise."""
        return state

    def example_input(self) -> Input:
        """An input of the right shape and dtype, for estimators that keep a window of past inputs.

        Raises `TypeError` in a cell that does not define it.
        """
        name = type(self).__name__
        raise TypeError(
            f"cell: expected {name} to define example_input(), which an estimator with a window of past "
            f"inputs needs; got none (RTRL() works without it)"
        )
