"""RTRL local to each layer of a stack."""

from collections.abc import Callable, Sequence
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray, PyTree

from rtrl._trained import join, split
from rtrl._types import Cotangents, Input, Memory, Params, Pullback, State
from rtrl.cells import AbstractCell, StackedCell
from rtrl.estimators._base import AbstractEstimator, add
from rtrl.estimators._layered import add_layer, climb, own_memories, zeros
from rtrl.estimators._rtrl import RTRL


class LayerLocalRTRL(AbstractEstimator):
    """Each layer of a stack learns by exact RTRL of its own; between layers, credit passes within a step only.

    Cheaper than `RTRL()` on a `StackedCell` (the sum of what its layers cost alone) and not exact: what a
    lower layer did to a higher one at earlier times is dropped. With `update_every=k` "within a step" becomes
    "within the k steps between two updates", where nothing is dropped. `inner` serves the layers. With a single
    layer, and nothing trained before it, it is RTRL.

    Zucchet et al. (2023), "Online learning of long-range dependencies", section 3.3 (arXiv 2305.15947).
    Raises `TypeError` if the cell is not a `StackedCell`.
    """

    needs_windows: ClassVar[bool] = True

    inner: RTRL = RTRL()

    def init(self, cell: AbstractCell, state: State, *, key: PRNGKeyArray | None = None) -> tuple[Memory, ...]:
        if not isinstance(cell, StackedCell):
            raise TypeError(f"cell: expected a StackedCell for LayerLocalRTRL, got {type(cell).__name__}; use RTRL()")
        return own_memories(self.inner.form, cell, state)

    def step(
        self, cell: StackedCell, state: State, x: Input, memory: tuple[Memory, ...]
    ) -> tuple[State, Pullback, tuple[Memory, ...]]:
        states, own_pullbacks, memory = climb(self.inner.form, cell, state, x, memory)
        streams = [cell.stream(x, states[:k]) for k in range(len(states))]

        def leaving(cell: StackedCell, k: int, stream: Array, s: State) -> Array:
            return cell.leaving(k, stream, s)

        def back(k: int, v: State) -> tuple[Params, Array]:
            def entering(p: Params, stream: Array) -> State:
                return cell.layers[k](state[1][k], join(p, static).norms[k](stream))

            norm, v_stream = jax.vjp(entering, params, streams[k])[1](v)
            return add_layer(norm, k, own_pullbacks[k](v)), v_stream

        params, static = split(cell)

        def pullback(v: State) -> Params:
            return _down(cell, leaving, back, streams, states, v[1])

        return (x, states), pullback, memory

    def window(
        self,
        cell: StackedCell,
        state: State,
        xs: Input,
        memory: tuple[Memory, ...],
        cotangents: Cotangents,
    ) -> tuple[State, Params, PyTree, tuple[Memory, ...]]:
        """Several steps at the same parameters; between layers, credit passes within the whole window."""
        layers, states = cell.layers, cell.trajectory(state, xs)[1]
        streams = [jax.vmap(cell.stream)(xs, states[:k]) for k in range(len(layers))]

        def leaving(cell: StackedCell, k: int, stream: Array, s: State) -> Array:
            return jax.vmap(lambda stream, s: cell.leaving(k, stream, s))(stream, s)

        after, memories = list(state[1]), list(memory)

        def back(k: int, v: State) -> tuple[Params, Array]:
            arrives, below = jax.vjp(lambda p, s: jax.vmap(join(p, static).norms[k])(s), params, streams[k])
            form, given = self.inner.form(layers[k]), lambda _: (v, None)
            after[k], own, _, memories[k], v_arrives = form.window_and_below(
                layers[k], state[1][k], arrives, memory[k], given
            )
            norm, v_stream = below(v_arrives)
            return add_layer(norm, k, own), v_stream

        params, static = split(cell)
        v, aux = cotangents((xs, states))
        gradient = _down(cell, leaving, back, streams, states, v[1])
        return (jax.tree.map(lambda a: a[-1], xs), tuple(after)), gradient, aux, tuple(memories)


def _down(
    cell: StackedCell,
    leaving: Callable[[StackedCell, int, Array, State], Array],
    back: Callable[[int, State], tuple[Params, Array]],
    streams: Sequence[Array],
    states: Sequence[State],
    v: Sequence[State],
) -> Params:
    """The gradient, by cotangents from the highest layer to the lowest.

    `leaving` gives the stream above a layer; `back` maps the cotangent of a layer's states to the gradient of the
    layer and its norm, and the cotangent of the stream below.
    """
    params, static = split(cell)
    gradient = zeros(cell)
    v_stream = jnp.zeros_like(jax.eval_shape(lambda: leaving(cell, len(streams) - 1, streams[-1], states[-1])))
    for k in reversed(range(len(streams))):
        _, above = jax.vjp(lambda p, *at, k=k: leaving(join(p, static), k, *at), params, streams[k], states[k])
        glue, v_around, v_state = above(v_stream)
        own, v_through = back(k, jax.tree.map(jnp.add, v_state, v[k]))
        v_stream = v_around + v_through
        gradient = add(add(gradient, glue), own)
    return gradient
