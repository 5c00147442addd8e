"""Whether a gated cell is what its estimators take it for: a gate that is elementwise over units."""

import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from rtrl._trained import is_frozen, join, split
from rtrl._types import Params, State
from rtrl.cells._base import recurrence
from rtrl.cells._gated import (
    AbstractDenseCell,
    AbstractGatedCell,
    initial_influence,
    recurrent_weights,
    weights_of,
    with_weights,
)

TOLERANCE = {2: 5e-2, 4: 1e-3, 8: 1e-8}
"""By the bytes of a number: far above rounding, far below a derivative that is left out."""

_checked: set = set()


def check_gate(cell: AbstractGatedCell) -> None:
    r"""Raises `TypeError` unless each unit of the next state sees its own numbers only.

    The derivative of the cell's step along a random direction of state and parameters is compared with what the
    linearisation says of it, $\dot h' = D \dot h + I \dot\theta$, at parameters of the cell's size; so is that of the
    initial state. Nothing is assumed of the code of the gate, nor that `__call__` was left as it is.
    """
    name = type(cell).__name__
    _check_shapes(cell, name)
    key = _key(cell)
    if key in _checked:
        return
    with jax.ensure_compile_time_eval():
        step, initial = jax.device_get(_differences(*_sample(cell)))
    limit = TOLERANCE[cell.weight_ih.dtype.itemsize]
    if step > limit:
        raise TypeError(
            f"cell: expected the gate of {name} to be elementwise, unit i of the next state a function of entries i of "
            f"its arguments and parameters, got a derivative that differs by {step:.0%}; subclass rtrl.AbstractCell"
        )
    if initial > limit:
        raise TypeError(
            f"cell: expected each unit of the initial state of {name} to depend on parameters of that unit alone, got "
            f"a derivative that differs by {initial:.0%}; subclass rtrl.AbstractCell"
        )
    _checked.add(key)


def _check_shapes(cell: AbstractGatedCell, name: str) -> None:
    n = cell.hidden_size
    for leaf in jax.tree.leaves(jax.eval_shape(cell.initial_state)):
        if leaf.shape != (n,):
            raise TypeError(
                f"cell: expected a state of arrays of shape ({n},) for the units of {name}, got {leaf.shape}"
            )
    units = with_weights(recurrence(cell), [None] * len(weights_of(cell)))
    for path, leaf in jax.tree_util.tree_leaves_with_path(split(units)[0]):
        if leaf.shape[-1:] != (n,):
            raise TypeError(
                f"cell: expected the last axis of every trained array of {name} to run over its {n} units, got shape "
                f"{leaf.shape} at {jax.tree_util.keystr(path)}; wrap it in rtrl.Frozen, name it in output_fields, or "
                f"subclass rtrl.AbstractCell"
            )


def _key(cell: AbstractGatedCell) -> Any:
    """What decides the answer: the structure, the shapes, and the values that are not trained."""
    params, rest = split(cell)
    shapes = tuple((leaf.shape, str(leaf.dtype)) for leaf in jax.tree.leaves(params))
    frozen = [leaf for leaf in jax.tree.leaves(rest) if eqx.is_array(leaf) and not isinstance(leaf, Tracer)]
    return jax.tree.structure(cell), shapes, tuple(np.asarray(leaf).tobytes() for leaf in frozen)


def _sample(cell: AbstractGatedCell) -> tuple[Any, ...]:
    """The cell at parameters near its own, a state, an input and a direction of each, all of them numbers."""
    draw = np.random.default_rng(0)

    def near(leaf: Any) -> Any:
        if isinstance(leaf, Tracer):
            inexact = jnp.issubdtype(leaf.dtype, jnp.inexact)
            return jnp.asarray(draw.uniform(0.1, 1, leaf.shape) if inexact else np.zeros(leaf.shape), leaf.dtype)
        if eqx.is_inexact_array(leaf):
            return leaf + jnp.asarray(0.1 * draw.standard_normal(leaf.shape), leaf.dtype)
        return leaf

    def direction(leaf: Any) -> Array:
        return jnp.asarray(draw.standard_normal(leaf.shape), leaf.dtype)

    cell = jax.tree.map(
        lambda node: node if _holds_numbers(node) else jax.tree.map(near, node), cell, is_leaf=is_frozen
    )
    state = jax.tree.map(direction, jax.eval_shape(cell.initial_state))
    x = jnp.asarray(draw.standard_normal(cell.input_size), cell.weight_ih.dtype)
    return cell, state, x, jax.tree.map(direction, split(recurrence(cell))[0]), jax.tree.map(direction, state)


def _holds_numbers(node: Any) -> bool:
    """Whether a node is frozen, and known: such values are part of the question."""
    return is_frozen(node) and not any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(node))


@eqx.filter_jit
def _differences(
    cell: AbstractGatedCell, state: State, x: Array, d_params: Params, d_state: State
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """How far the derivatives of the step and of the initial state are from what is assumed, relative to their size."""
    params, _ = split(recurrence(cell))
    whole = split(cell)

    def step(params: Params, state: State) -> State:
        return join(params, join(*whole))(state, x)

    def initial(params: Params) -> State:
        return join(params, join(*whole)).initial_state()

    value, tangent = jax.jvp(step, (params, state), (d_params, d_state))
    assumed_value, assumed = _assumed(cell, state, x, d_params, d_state)
    _, initial_tangent = jax.jvp(initial, (params,), (d_params,))
    own = _weigh_own(initial_influence(cell), d_params, jnp.stack(jax.tree.leaves(state)).shape)
    return (
        jnp.maximum(_relative(value, assumed_value), _relative(tangent, assumed)),
        _relative(initial_tangent, jax.tree.unflatten(jax.tree.structure(state), list(own))),
    )


def _assumed(cell: AbstractGatedCell, state: State, x: Array, d_params: Params, d_state: State) -> tuple[State, State]:
    """The next state, and D ḣ + I θ̇ as the linearisation has them."""
    value, lin = cell.linearise(state, x)
    parts = jnp.stack(jax.tree.leaves(d_state))
    tangent = jnp.einsum("kli,li->ki", lin.alpha, parts)
    if isinstance(cell, AbstractDenseCell):
        through = jnp.einsum("gij,j->gi", recurrent_weights(cell), parts[0])
        tangent = tangent + jnp.einsum("kgi,gi->ki", lin.betas[0], through)
        if cell.mask is not None and not is_frozen(cell.weight_hh):
            kept = jnp.where(cell.mask.kept[None], d_params.weight_hh, 0)
            d_params = eqx.tree_at(lambda p: p.weight_hh, d_params, kept)
    tangent = tangent + _weigh_own(lin.immediate(), d_params, parts.shape)
    return value, jax.tree.unflatten(jax.tree.structure(state), list(tangent))


def _weigh_own(influence: Params, d_params: Params, shape: tuple[int, ...]) -> Float[Array, "parts n"]:
    """Each unit's influence times the direction, summed over what belongs to the unit."""
    weights = with_weights(jax.tree.map(lambda _: False, d_params), (True,) * len(weights_of(d_params)))

    def weigh(j: Array, d: Array, is_weight: bool) -> Array:
        product = jnp.einsum("k...,...->k...", j, d)
        unit = product.ndim - 2 if is_weight else product.ndim - 1
        return product.sum(axis=tuple(a for a in range(1, product.ndim) if a != unit))

    terms = jax.tree.leaves(jax.tree.map(weigh, influence, d_params, weights))
    return functools.reduce(jnp.add, terms, jnp.zeros(shape, terms[0].dtype if terms else float))


def _relative(one: State, other: State) -> Float[Array, ""]:
    a, b = (jnp.concatenate(jax.tree.leaves(tree)).astype(float) for tree in (one, other))
    known = jnp.isfinite(a) & jnp.isfinite(b)
    difference = jnp.where(known, jnp.abs(jnp.where(known, a, 0) - jnp.where(known, b, 0)), 0).max()
    scale = jnp.where(known, jnp.abs(jnp.where(known, a, 0)), 0).max()
    return jnp.where(difference > 0, difference / jnp.maximum(scale, jnp.finfo(a.dtype).tiny), 0)
