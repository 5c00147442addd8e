"""RTRL local to each layer of a stack."""

import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from rtrl._trained import join, split
from rtrl._types import Input, Memory, Params, Pullback, State
from rtrl.cells import AbstractCell, StackedCell
from rtrl.estimators._base import AbstractEstimator, add
from rtrl.estimators._layered import add_layer, climb, own_memories, zeros
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

        params, static = split(cell)
        streams = [cell.stream(x, states[:k]) for k in range(len(states) + 1)]

        def pullback(v: State) -> Params:
            gradient, v_stream = zeros(cell), jnp.zeros_like(streams[-1])
            for k in reversed(range(len(states))):
                _, back_from_leaving = jax.vjp(
                    lambda p, stream, s, k=k: join(p, static).leaving(k, stream, s), params, streams[k], states[k]
                )
                glue, v_around, v_state = back_from_leaving(v_stream)
                v_state = jax.tree.map(jnp.add, v_state, v[1][k])
                _, back_from_entering = jax.vjp(
                    lambda p, stream, k=k: cell.layers[k](state[1][k], join(p, static).norms[k](stream)),
                    params,
                    streams[k],
                )
                norm, v_through = back_from_entering(v_state)
                v_stream = v_around + v_through
                gradient = add_layer(add(add(gradient, glue), norm), k, own_pullbacks[k](v_state))
            return gradient

        return (x, states), pullback, memory
