"""The protocol that every recurrent cell follows."""

import abc
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, PyTree

from rtrl._trained import trained
from rtrl._types import Input, Params, State


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
        """The state $h_0$ before the first input; it may depend on trained parameters."""

    def output(self, state: State, x: Input) -> PyTree:
        """What a readout sees of the state after a step, and of that step's input; the whole state unless given."""
        return state

    def trajectory(self, state: State, xs: Input, reset: Bool[Array, " time"] | None = None) -> State:
        """The states after each of several steps; inputs and states have a leading time axis.

        Where `reset` is true the stream begins anew: the step starts from the initial state.
        """

        def step(state: State, at: tuple[Input, Any]) -> tuple[State, State]:
            state = self(begun(self, state, at[1]), at[0])
            return state, state

        return jax.lax.scan(step, jax.tree.map(jnp.asarray, state), (xs, reset))[1]

    def example_input(self) -> Input:
        """An input of the right shape and dtype, for learners and estimators that keep a window of past inputs.

        **Raises:** `TypeError` in a cell that does not define it.
        """
        raise TypeError(
            f"cell: expected {type(self).__name__} to define example_input(), which a window of past inputs "
            f"(TBPTT, or update_every above 1) needs; got none (RTRL() with an update at every step works without it)"
        )


def check_kept(cell: AbstractCell, kind: type[AbstractCell], methods: str, place: str) -> None:
    """Raises `TypeError` if a cell replaces one of the methods from which the derivatives of its kind are made."""
    for method in methods.split():
        if getattr(type(cell), method) is not getattr(kind, method):
            raise TypeError(
                f"cell: expected {type(cell).__name__} to keep {kind.__name__}.{method}, from which its derivatives "
                f"are made, got one of its own; put what differs into {place}, or subclass rtrl.AbstractCell"
            )


def begun(cell: AbstractCell, state: State, reset: Bool[Array, ""] | None) -> State:
    """The state that a step starts from: the initial one where the stream begins anew."""
    if reset is None:
        return state
    return jax.tree.map(lambda h0, h: jnp.where(reset, h0, h), cell.initial_state(), state)


def recurrence(cell: Any) -> Any:
    """A cell without the fields that only its output uses."""
    nothing = [jax.tree.map(lambda _: None, getattr(cell, field)) for field in cell.output_fields]
    if not nothing:
        return cell
    return eqx.tree_at(
        lambda c: [getattr(c, field) for field in c.output_fields], cell, nothing, is_leaf=lambda leaf: leaf is None
    )


def recurrent_parameters(cell: AbstractCell) -> Params:
    """The trained parameters that the state depends on: those with an influence."""
    return trained(recurrence(cell))
