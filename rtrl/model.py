"""A cell and the readout that turns its output into a prediction."""

import inspect
from collections.abc import Callable
from typing import Any, TypeAlias

import equinox as eqx
import jax
from jaxtyping import Array, Bool, PRNGKeyArray, PyTree

from rtrl._trained import thawed
from rtrl._types import Input, State
from rtrl.cells import AbstractCell


class Model(eqx.Module):
    r"""A recurrent model: $\hat y_t = \mathrm{readout}(\mathrm{output}(h_t, x_t))$.

    `readout` is any callable Equinox module; its floating-point JAX arrays are trained with the cell's. One that takes
    a `key` (dropout) is given a fresh one at every step. An encoder of the input is a lower layer of a `StackedCell`.
    Arrays that cell and readout share: `eqx.nn.Shared(model, where, get)`, which is accepted wherever a model is.

    **Raises:** `TypeError` if `cell` is not a cell or `readout` not callable.
    """

    cell: AbstractCell
    readout: Callable

    def __check_init__(self):
        if not isinstance(self.cell, AbstractCell):
            raise TypeError(f"cell: expected a subclass of rtrl.AbstractCell, got {type(self.cell).__name__}")
        if not callable(self.readout):
            raise TypeError(f"readout: expected a callable, got {type(self.readout).__name__}")

    def predict(self, state: State, x: Input, *, key: PRNGKeyArray | None = None) -> PyTree:
        """The prediction that belongs to the state after a step, and to that step's input."""
        return read(self.readout, self.cell.output(state, x), key)

    def predictions(
        self, xs: Input, state: State | None = None, *, reset: Bool[Array, " time"] | None = None
    ) -> PyTree:
        """The predictions for a whole stream (leading time axis), without learning.

        The stream starts from `state`, or from the cell's initial state, and begins anew where `reset` is true.

        **Raises:** `ValueError` if neither inputs nor resets say how many steps there are.
        """
        if not jax.tree.leaves((xs, reset)):
            raise ValueError(
                "xs: expected at least one array, or a reset, which says how many steps there are; got none"
            )
        states = self.cell.trajectory(self.cell.initial_state() if state is None else state, xs, reset)
        return jax.vmap(self.predict)(states, xs)


ModelOrShared: TypeAlias = Model | eqx.nn.Shared
"""A model, or one that keeps arrays which cell and readout share once."""


def whole(model: Any) -> Model:
    """The model, with what `eqx.nn.Shared` keeps once in both of its places.

    **Raises:** `TypeError` for a subclass of `Model`, whose own way from the input to the prediction would be passed
    over.
    """
    model = model() if isinstance(model, eqx.nn.Shared) else model
    if isinstance(model, Model) and type(model) is not Model:
        raise TypeError(
            f"model: expected rtrl.Model itself, got its subclass {type(model).__name__}; what is between input and "
            f"prediction belongs in the cell (rtrl.StackedCell takes any callable module) or in the readout"
        )
    return model


def read(readout: Callable, output: PyTree, key: PRNGKeyArray | None) -> PyTree:
    """The prediction of a readout, which is given a key if it wants one."""
    return readout(output) if key is None or not _takes_key(readout) else readout(output, key=key)


def _takes_key(readout: Any) -> bool:
    try:
        return "key" in inspect.signature(thawed(readout)).parameters
    except (TypeError, ValueError):
        return False
