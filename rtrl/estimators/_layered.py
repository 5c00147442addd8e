"""RTRL for stacks of layers, exact."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from rtrl._trained import join, split, trained
from rtrl._types import Influence, Input, Memory, Params, Pullback, State
from rtrl.cells import AbstractCell, AbstractGatedCell, StackedCell
from rtrl.estimators._base import AbstractEstimator, add
from rtrl.estimators._real import from_vector, no_influence, row, vector

FormOf = Callable[[AbstractCell], AbstractEstimator]


class LayeredMemory(eqx.Module):
    """Each layer's own memory, and the influence on each layer of all the parameters below it."""

    own: tuple[Memory, ...]
    below: tuple[Influence, ...]


class Layered(AbstractEstimator):
    r"""The exact gradient of a stack: layers' own forms, and the influence of each layer on those above.

    $$\frac{ds^k_t}{d\theta_{<k}} = D^k_t \frac{ds^k_{t-1}}{d\theta_{<k}}
      + \frac{\partial s^k_t}{\partial x^k_t} \frac{dx^k_t}{d\theta_{<k}}$$

    where what enters layer k, $x^k_t$, depends on the layers below at the same time. `form` gives the form
    that serves a layer.
    """

    form: FormOf = eqx.field(static=True)

    def init(self, cell: StackedCell, state: State, *, key: PRNGKeyArray | None = None) -> LayeredMemory:
        below = (no_influence(_below(trained(cell), k), s) for k, s in enumerate(state))
        return LayeredMemory(first_memories(self.form, cell, state), tuple(below))

    def step(
        self, cell: StackedCell, state: State, x: Input, memory: LayeredMemory
    ) -> tuple[State, Pullback, LayeredMemory]:
        states, own_pullbacks, own = self._climb(cell, state, x, memory.own)
        below: list[Influence] = []

        def whole(k: int, v: State) -> Params:
            """The product v ds^k/dθ for all parameters of the stack."""
            gradient = zeros(cell)
            if (own_pullback := own_pullbacks[k]) is None:
                return gradient
            gradient = add_layer(gradient, k, own_pullback(v))
            return add(gradient, jax.tree.map(lambda j: jnp.tensordot(row(v), j, 1), below[k]))

        def whole_of_input(k: int, v: Array) -> Params:
            gradient, v_states = through_glue(cell, x, states[:k], v)
            for j, v_state in enumerate(v_states):
                gradient = add(gradient, whole(j, v_state))
            return gradient

        for k, old in enumerate(memory.below):
            if not jax.tree.leaves(old):
                below.append(old)
                continue
            by_input, advance = _local_jacobians(cell.layers[k], state[k], cell.entering(x, states[:k]))
            new = jax.vmap(lambda v, k=k: _below(whole_of_input(k, v), k))(by_input)
            below.append(jax.tree.map(lambda j, i, advance=advance: advance(j) + i, old, new))

        def pullback(v: State) -> Params:
            gradient = zeros(cell)
            for k, v_state in enumerate(v):
                gradient = add(gradient, whole(k, v_state))
            return gradient

        return states, pullback, LayeredMemory(own, tuple(below))

    def _climb(
        self, cell: StackedCell, state: State, x: Input, memories: tuple[Memory, ...]
    ) -> tuple[tuple[State, ...], list[Pullback | None], tuple[Memory, ...]]:
        """One step of every layer, lowest first: the next states, the layers' own pullbacks and memories."""
        states, pullbacks, after = (), [], ()
        for k, (layer, old, memory) in enumerate(zip(cell.layers, state, memories, strict=True)):
            new, pullback = (), None
            if isinstance(layer, AbstractCell):
                new, pullback, memory = self.form(layer).step(layer, old, cell.entering(x, states[:k]), memory)
            states, after = (*states, new), (*after, memory)
            pullbacks.append(pullback)
        return states, pullbacks, after


def first_memories(form: FormOf, cell: StackedCell, state: State) -> tuple[Memory, ...]:
    """The memory of each layer; a layer without state has none."""
    return tuple(
        form(layer).init(layer, s) if isinstance(layer, AbstractCell) else None
        for layer, s in zip(cell.layers, state, strict=True)
    )


def through_glue(cell: StackedCell, x: Input, below: tuple[State, ...], v: Array) -> tuple[Params, tuple[State, ...]]:
    """Back through what stands between the layers, within a step: to its parameters and to the states below."""
    params, static = split(cell)

    def entering(params: Params, below: tuple[State, ...]) -> Array:
        return join(params, static).entering(x, below)

    return jax.vjp(entering, params, below)[1](v)


def _local_jacobians(
    layer: Any, old: State, arrives: Array
) -> tuple[Float[Array, "states width"], Callable[[Array], Array]]:
    """∂s/∂x of one layer, and the product of its dynamics Jacobian with an influence."""

    def step(flat_state: Array, u: Array) -> Array:
        return vector(layer(from_vector(flat_state, old), u))

    flat = vector(old)
    flat_next, vjp = jax.vjp(step, flat, arrives)
    by_state, by_input = jax.vmap(vjp)(jnp.eye(flat_next.size, dtype=flat_next.dtype))
    if not isinstance(layer, AbstractGatedCell):  # its step may be one that cannot be differentiated forward
        return by_input, lambda j: jnp.tensordot(by_state, j, 1).astype(j.dtype)
    _, dynamics = jax.linearize(lambda s: step(s, arrives), flat)

    def advance(j: Array) -> Array:
        if jnp.iscomplexobj(j):
            return jax.lax.complex(advance(j.real), advance(j.imag))
        mapped = dynamics
        for _ in j.shape[1:]:  # an axis at a time: columns in one axis could not stay divided among devices
            mapped = jax.vmap(mapped, in_axes=1, out_axes=1)
        return mapped(j)

    return by_input, advance


def _below(parameters: Params, k: int) -> Params:
    """The parameters that act on layer k from below: of the layers under it, and of what stands between."""
    has_state = isinstance(parameters.layers[k], AbstractCell)

    def keep(path: tuple, leaf: Array) -> Array | None:
        limit = k + 1 if path[0].name == "norms" else k
        return leaf if path[1].idx < limit and has_state else None

    return jax.tree_util.tree_map_with_path(keep, parameters)


def zeros(cell: StackedCell) -> Params:
    return jax.tree.map(jnp.zeros_like, trained(cell))


def add_layer(gradient: Params, k: int, own: Params) -> Params:
    return eqx.tree_at(lambda g: g.layers[k], gradient, add(gradient.layers[k], own))
