"""A cell and the readout that turns its output into a prediction."""

from collections.abc import Callable

import equinox as eqx
import jax
from jaxtyping import PyTree

from rtrl._types import Input, State
from rtrl.cells import AbstractCell


class Model(eqx.Module):
    r"""A recurrent model: $\hat y_t = \mathrm{readout}(\mathrm{output}(h_t))$.

    `readout` is any callable Equinox module; its floating-point JAX arrays are trained with the cell's.
    Raises `TypeError` if `cell` is not a cell.
    """

    cell: AbstractCell
    readout: Callable

    def __check_init__(self):
        if not isinstance(self.cell, AbstractCell):
            raise TypeError(f"cell: expected a subclass of rtrl.AbstractCell, got {type(self.cell).__name__}")

    def predict(self, state: State) -> PyTree:
        """The prediction that belongs to a state."""
        return self.readout(self.cell.output(state))

    def predictions(self, xs: Input, state: State | None = None) -> PyTree:
        """The predictions for a whole stream (leading time axis), without learning.

        The stream starts from `state`, or from the cell's initial state.
        """
        states = self.cell.trajectory(self.cell.initial_state() if state is None else state, xs)
        return jax.vmap(self.predict)(states)
