"""RTRL local to each layer of a stack."""

import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from rtrl._types import Input, Memory, Params, Pullback, State
from rtrl.cells import AbstractCell, StackedCell
from rtrl.estimators._base import AbstractEstimator, add
from rtrl.estimators._layered import add_layer, climb, own_memories, through_glue, zeros
from rtrl.estimators._rtrl import RTRL


class LayerLocalRTRL(AbstractEstimator):
    """Each layer of a stack learns by exact RTRL of its own; between layers, credit passes within a step only.

    Cheaper than `RTRL()` on a `StackedCell` (the sum of what its layers cost alone) and not exact: what a
    lower layer did to a higher one at earlier times is dropped. `inner` serves the layers. With a single layer,
    and nothing trained before it, it is RTRL.

    Zucchet et al. (2023), "Online learning of long-range dependencies", section 3.3 (arXiv 2305.15947).
    Raises `TypeError` if the cell is not a `StackedCell`.
    """

    inner: RTRL = RTRL()

    def init(self, cell: AbstractCell, state: State, *, key: PRNGKeyArray | None = None) -> tuple[Memory, ...]:
        if not isinstance(cell, StackedCell):
            raise TypeError(f"cell: expected a StackedCell for LayerLocalRTRL, got {type(cell).__name__}; use RTRL()")
        return own_memories(self.inner.form, cell, state)

    def step(
        self, cell: StackedCell, state: State, x: Input, memory: tuple[Memory, ...]
    ) -> tuple[State, Pullback, tuple[Memory, ...]]:
        states, own_pullbacks, memory = climb(self.inner.form, cell, state, x, memory)

        def pullback(v: State) -> Params:
            gradient, vs = zeros(cell), list(v[1])
            for k in reversed(range(len(vs))):
                gradient = add_layer(gradient, k, own_pullbacks[k](vs[k]))
                arrives = cell.entering(x, states[:k])
                _, to_input = jax.vjp(lambda u, k=k: cell.layers[k](state[1][k], u), arrives)
                glue, v_below = through_glue(cell, x, states[:k], *to_input(vs[k]))
                gradient = add(gradient, glue)
                vs[:k] = jax.tree.map(jnp.add, vs[:k], list(v_below))
            return gradient

        return (x, states), pullback, memory
