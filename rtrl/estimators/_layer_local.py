"""RTRL local to each layer of a stack."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, PRNGKeyArray

from rtrl._trained import join, split
from rtrl._types import Input, Memory, Params, State
from rtrl.cells import AbstractCell, StackedCell
from rtrl.estimators._base import AbstractEstimator, add
from rtrl.estimators._layered import add_layer, first_memories, zeros
from rtrl.estimators._rtrl import RTRL


class Passed(NamedTuple):
    """What k steps leave in a layer for the way back: the stream that came in, the states, the layer's residual."""

    stream: Any
    states: State
    residual: Any


class LayerLocalRTRL(AbstractEstimator):
    """Each layer of a stack learns by exact RTRL of its own; between layers, credit passes within a step only.

    Cheaper than `RTRL()` on a `StackedCell` (the sum of what its layers cost alone) and not exact: what a
    lower layer did to a higher one at earlier times is dropped. With `update_every=k` "within a step" becomes
    "within the k steps between two updates", where nothing is dropped. `inner` serves the layers; layers without
    state get their immediate gradient. With a single layer, and nothing trained before it, it is RTRL.

    [Zucchet et al. (2023)][zucchet2023], "Online learning of long-range dependencies", section 3.3 (arXiv 2305.15947).

    **Arguments:**

    - `inner`: the exact estimator that serves the layers, an `RTRL`.

    **Raises:** `TypeError` if the cell is not a `StackedCell` or `inner` is not `RTRL`.

    **Example:**

    ```python
    layers = [rtrl.GRUCell(3, 8, key=key), rtrl.GRUCell(8, 8, key=key)]
    stack = rtrl.Model(rtrl.StackedCell(layers), eqx.nn.Linear(8, 1, key=key))
    learner = rtrl.Learner(loss, rtrl.LayerLocalRTRL(), optax.adam(1e-3))
    state = learner.init(stack)
    ```
    """

    inner: RTRL = RTRL()

    def __check_init__(self):
        if not isinstance(self.inner, RTRL):
            raise TypeError(f"inner: expected rtrl.RTRL(), got {self.inner!r}")

    def init(self, cell: AbstractCell, state: State, *, key: PRNGKeyArray | None = None) -> tuple[Memory, ...]:
        if not isinstance(cell, StackedCell):
            raise TypeError(f"cell: expected a StackedCell for LayerLocalRTRL, got {type(cell).__name__}; use RTRL()")
        return first_memories(self.inner.form, cell, state)

    def forward(
        self,
        cell: StackedCell,
        state: State,
        xs: Input,
        memory: tuple[Memory, ...],
        reset: Bool[Array, " time"] | None = None,
    ) -> tuple[State, list[Passed]]:
        passed, stream = [], xs
        for k, layer in enumerate(cell.layers):
            states, residual = (), None
            if isinstance(layer, AbstractCell):
                arrives = cell.arriving(k, stream)
                states, residual = self.inner.form(layer).forward(layer, state[k], arrives, memory[k], reset)
            passed.append(Passed(stream, states, residual))
            stream = jax.vmap(lambda entered, s, k=k: cell.leaving(k, entered, s))(stream, states)
        return tuple(p.states for p in passed), passed

    def backward(
        self, cell: StackedCell, residual: list[Passed], vs: State
    ) -> tuple[Params, Input, tuple[Memory, ...]]:
        """The gradient by cotangents of the layers' states; what leaves the highest layer is in `vs`, too."""
        return self._down(cell, residual, None, vs)

    def from_outputs(
        self, cell: StackedCell, residual: list[Passed], states: State, xs: Input, v_outputs: Array
    ) -> tuple[Params, tuple[Memory, ...]]:
        """The same from the cotangents of the output alone, which then go down the layers once and not twice."""
        gradient, _, memory = self._down(cell, residual, v_outputs, jax.tree.map(jnp.zeros_like, states))
        return gradient, memory

    def _down(
        self, cell: StackedCell, residual: list[Passed], v_stream: Array | None, vs: State
    ) -> tuple[Params, Input, tuple[Memory, ...]]:
        """The gradient by cotangents, of what leaves the highest layer and of all states, from there to the lowest."""
        gradient, memories = zeros(cell), []
        for k in reversed(range(len(residual))):
            stream, states, _ = residual[k]
            glue, v_around, v_state = _through_output(cell, k, stream, states, v_stream)
            v = jax.tree.map(jnp.add, v_state, vs[k])
            own, v_through, memory = self._through_layer(cell, k, residual[k], v)
            v_stream = jax.tree.map(jnp.add, v_around, v_through)
            gradient = add(add(gradient, glue), own)
            memories.insert(0, memory)
        return gradient, v_stream, tuple(memories)

    def _through_layer(self, cell: StackedCell, k: int, passed: Passed, v: State) -> tuple[Params, Input, Memory]:
        """Back through the states of layer k, and the norm before it: the gradient, what reaches the stream, memory."""
        params, static = split(cell)
        floats, rest = eqx.partition(passed.stream, eqx.is_inexact_array)
        layer = cell.layers[k]
        if not isinstance(layer, AbstractCell):
            return jax.tree.map(jnp.zeros_like, params), jax.tree.map(jnp.zeros_like, floats), None

        def arriving(params: Params, floats: Input) -> Input:
            return join(params, static).arriving(k, eqx.combine(floats, rest))

        own, v_arrives, memory = self.inner.form(layer).backward(layer, passed.residual, v)
        _, vjp = jax.vjp(lambda p, s: eqx.filter(arriving(p, s), eqx.is_inexact_array), params, floats)
        norm, v_stream = vjp(v_arrives)
        return add_layer(norm, k, own), v_stream, memory


def _through_output(cell: StackedCell, k: int, stream: Any, states: State, v_above: Any) -> tuple[Params, Input, State]:
    """Back through what layer k puts out: to its parameters, the stream below and its states; zero from the top."""
    params, static = split(cell)
    floats, rest = eqx.partition(stream, eqx.is_inexact_array)
    if v_above is None:
        return jax.tree.map(jnp.zeros_like, (params, floats, states))

    def leaving(params: Params, floats: Input, states: State) -> Array:
        whole = join(params, static)
        return jax.vmap(lambda entered, s: whole.leaving(k, entered, s))(eqx.combine(floats, rest), states)

    return jax.vjp(leaving, params, floats, states)[1](v_above)
