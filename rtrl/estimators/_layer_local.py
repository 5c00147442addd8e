"""RTRL local to each layer of a stack."""

from collections.abc import Callable, Sequence

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

        def entering(cell: StackedCell, k: int, stream: Array) -> State:
            return layers[k](state[1][k], cell.norms[k](stream))

        layers = cell.layers

        def pullback(v: State) -> Params:
            gradient, v_states = _down(cell, leaving, entering, streams, states, v[1])
            for k, v_state in enumerate(v_states):
                gradient = add_layer(gradient, k, own_pullbacks[k](v_state))
            return gradient

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

        def entering(cell: StackedCell, k: int, stream: Array) -> State:
            return layers[k].trajectory(state[1][k], jax.vmap(cell.norms[k])(stream))

        v, aux = cotangents((xs, states))
        gradient, v_states = _down(cell, leaving, entering, streams, states, v[1])
        after, memories = [], []
        for k, layer in enumerate(layers):
            form, arrives = self.inner.form(layer), jax.vmap(cell.norms[k])(streams[k])
            given = lambda _, k=k: (v_states[k], None)  # noqa: E731
            last, own, _, kept = form.window(layer, state[1][k], arrives, memory[k], given)
            gradient = add_layer(gradient, k, own)
            after.append(last)
            memories.append(kept)
        return (jax.tree.map(lambda a: a[-1], xs), tuple(after)), gradient, aux, tuple(memories)


def _down(
    cell: StackedCell,
    leaving: Callable[[StackedCell, int, Array, State], Array],
    entering: Callable[[StackedCell, int, Array], State],
    streams: Sequence[Array],
    states: Sequence[State],
    v: Sequence[State],
) -> tuple[Params, list[State]]:
    """Cotangents from the highest layer to the lowest: the gradient of what stands between, and each layer's own.

    `leaving` gives the stream above a layer, `entering` a layer's states from the stream below it.
    """
    params, static = split(cell)
    gradient, v_states = zeros(cell), list(v)
    v_stream = jnp.zeros_like(jax.eval_shape(lambda: leaving(cell, len(streams) - 1, streams[-1], states[-1])))
    for k in reversed(range(len(streams))):
        _, above = jax.vjp(lambda p, *at, k=k: leaving(join(p, static), k, *at), params, streams[k], states[k])
        glue, v_around, v_state = above(v_stream)
        v_states[k] = jax.tree.map(jnp.add, v_state, v_states[k])
        _, below = jax.vjp(lambda p, stream, k=k: entering(join(p, static), k, stream), params, streams[k])
        norm, v_through = below(v_states[k])
        v_stream = v_around + v_through
        gradient = add(add(gradient, glue), norm)
    return gradient, v_states
