"""The protocol that every recurrent cell follows."""

import abc
from typing import Any, ClassVar, Literal, TypeAlias

import equinox as eqx
import jax

from rtrl._trained import trained
from rtrl._types import Input, Params, State

Coupling: TypeAlias = Literal["dense", "diagonal", "layered", "arbitrary"]


class AbstractCell(eqx.Module):
    r"""A recurrent cell: one step of a dynamical system with trained parameters.

    $$h_t = f_\theta(h_{t-1}, x_t)$$

    A subclass gives `__call__` and `initial_state`. State and parameters may be any pytree of floating-point
    or complex arrays. Every such array in the module is a trained parameter, unless it is wrapped in
    `rtrl.Frozen`. `output_fields` names the fields that only `output` uses: the state does not depend on them,
    and no influence is carried for them.
    """

    output_fields: ClassVar[tuple[str, ...]] = ()

    @abc.abstractmethod
    def __call__(self, state: State, x: Input) -> State:
        """The next state $h_t$ from the state $h_{t-1}$ and the input $x_t$."""

    @abc.abstractmethod
    def initial_state(self) -> State:
        """The state before the first input: a constant, through which no gradient flows."""

    def output(self, state: State) -> State:
        """The part of the state that a readout sees; the whole state unless a cell says otherwise."""
        return state

    def trajectory(self, state: State, xs: Input) -> State:
        """The states after each of several steps; inputs and states have a leading time axis."""
        return jax.lax.scan(lambda s, x: (self(s, x),) * 2, state, xs)[1]

    @property
    def coupling(self) -> Coupling:
        """What the next state of a unit depends on: every unit (`dense`), itself (`diagonal`), the layers below
        (`layered`), or nothing that an estimator could use (`arbitrary`).
        """
        return "arbitrary"

    def example_input(self) -> Input:
        """An input of the right shape and dtype, for estimators that keep a window of past inputs.

        Raises `TypeError` in a cell that does not define it.
        """
        name = type(self).__name__
        raise TypeError(
            f"cell: expected {name} to define example_input(), which an estimator with a window of past "
            f"inputs needs; got none (RTRL() works without it)"
        )


def recurrence(cell: Any) -> Any:
    """A cell without the fields that only its output uses."""
    nothing = [jax.tree.map(lambda _: None, getattr(cell, field)) for field in cell.output_fields]
    if not nothing:
        return cell
    return eqx.tree_at(lambda c: [getattr(c, field) for field in c.output_fields], cell, nothing)


def recurrent_parameters(cell: AbstractCell) -> Params:
    """The trained parameters that the state depends on: those with an influence."""
    return trained(recurrence(cell))
