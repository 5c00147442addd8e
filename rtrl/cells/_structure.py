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
from rtrl.cells._base import check_kept, recurrence
from rtrl.cells._gated import (
    AbstractDenseCell,
    AbstractDiagonalCell,
    AbstractGatedCell,
    of_each_part,
    weights_of,
    with_weights,
)

TOLERANCE = {2: 5e-2, 4: 1e-3, 8: 1e-8}
"""By the bytes of a number: far above rounding, far below a derivative that is left out."""

FIXED = "__call__ trajectory preactivations linearise gate_derivatives weights factors"
"""What estimators take for granted beside the gate."""

_checked: set = set()


def check_gate(cell: AbstractGatedCell) -> None:
    r"""Raises `TypeError` unless each unit of the next state sees its own numbers only.

    The gate's derivative along a random direction of its arguments and parameters, which takes all of them into
    account, is compared with what is assumed, $\dot h'_i = \alpha_i \dot h_i + \beta_i \dot a_i +
    \partial_{\varphi_i} h'_i \dot\varphi_i$; so is that of the initial state. Nothing is assumed of their code.
    """
    name = type(cell).__name__
    _check_methods(cell, name)
    _check_shapes(cell, name)
    key = _key(cell)
    if key in _checked:
        return
    with jax.ensure_compile_time_eval():
        gate, initial = _largest_differences(cell)
    limit = TOLERANCE[cell.weight_ih.dtype.itemsize]
    if not np.isfinite(gate):
        raise TypeError(
            f"cell: expected the gate of {name} to have finite derivatives at some state near 0, above 0 or near the "
            f"initial one, where it is checked to be elementwise, got none; subclass rtrl.AbstractCell"
        )
    if gate > limit:
        raise TypeError(
            f"cell: expected the gate of {name} to be elementwise, unit i of the next state a function of entries i of "
            f"its arguments and parameters, got a derivative that differs by {gate:.0%}; subclass rtrl.AbstractCell"
        )
    if initial > limit:
        raise TypeError(
            f"cell: expected each unit of the initial state of {name} to depend on per-unit parameters of that unit "
            f"alone, got a derivative that differs by {initial:.0%}; subclass rtrl.AbstractCell"
        )
    if key is not None:
        _checked.add(key)


def _check_methods(cell: AbstractGatedCell, name: str) -> None:
    kind = next((k for k in (AbstractDenseCell, AbstractDiagonalCell) if isinstance(cell, k)), None)
    if kind is None:
        raise TypeError(f"cell: expected {name} to subclass rtrl.AbstractDenseCell or rtrl.AbstractDiagonalCell")
    check_kept(cell, kind, FIXED, "the gate")


def _check_shapes(cell: AbstractGatedCell, name: str) -> None:
    n = cell.hidden_size
    _check_initial(cell, name)
    for leaf in jax.tree.leaves(jax.eval_shape(cell.initial_state)):
        if leaf.shape != (n,):
            raise TypeError(f"cell: expected a state of arrays of shape ({n},) for {name}'s units, got {leaf.shape}")
    for path, leaf in jax.tree_util.tree_leaves_with_path(split(_bare(cell))[0]):
        if leaf.shape[-1:] != (n,):
            raise TypeError(
                f"cell: expected the last axis of every trained array of {name} to run over its {n} units, got shape "
                f"{leaf.shape} at {jax.tree_util.keystr(path)}; wrap it in rtrl.Frozen, name it in output_fields, or "
                f"subclass rtrl.AbstractCell"
            )


def _check_initial(cell: AbstractGatedCell, name: str) -> None:
    try:
        jax.eval_shape(_bare(cell).initial_state)
    except (TypeError, AttributeError, IndexError):
        raise TypeError(
            f"cell: expected the initial state of {name} to depend on per-unit parameters alone, not on its weights or "
            f"what only its output uses; subclass rtrl.AbstractCell"
        ) from None


def _bare(cell: AbstractGatedCell) -> Any:
    """The cell with only the shapes of its weights, and without what its output uses."""
    shapes = [jax.ShapeDtypeStruct(w.shape, w.dtype) for w in weights_of(cell)]
    return recurrence(with_weights(cell, shapes))


def _key(cell: AbstractGatedCell) -> Any:
    """What decides the answer: the structure, the shapes, and the values that are not trained; None if it has none."""
    shapes = tuple((leaf.shape, str(leaf.dtype)) for leaf in jax.tree.leaves(split(cell)[0]))
    rest = [leaf for leaf in jax.tree.leaves(split(_bare(cell))[1]) if not _unknown(leaf) and not _is_shape(leaf)]
    values = tuple(np.asarray(leaf).tobytes() if eqx.is_array(leaf) else (type(leaf), leaf) for leaf in rest)
    key = jax.tree.structure(cell), shapes, values
    try:
        hash(key)
    except TypeError:
        return None
    return key


def _largest_differences(cell: AbstractGatedCell) -> tuple[float, float]:
    """Of the gate and the initial state, at parameters near the cell's own, relative to their derivatives."""
    draw = np.random.default_rng(0)

    def near(leaf: Any) -> Any:
        if _unknown(leaf):
            inexact = jnp.issubdtype(leaf.dtype, jnp.inexact)
            return jnp.asarray(draw.uniform(0.1, 1, leaf.shape) if inexact else np.zeros(leaf.shape), leaf.dtype)
        return leaf + direction(leaf) * jnp.asarray(0.1, leaf.dtype) if eqx.is_inexact_array(leaf) else leaf

    def sample(node: Any) -> Any:
        """Frozen values are part of the question, where they are known."""
        known = is_frozen(node) and not any(map(_unknown, jax.tree.leaves(node)))
        return node if known else jax.tree.map(near, node)

    def direction(leaf: Any) -> Array:
        return jnp.asarray(draw.standard_normal(leaf.shape), leaf.dtype)

    bare = jax.tree.map(sample, _bare(cell), is_leaf=lambda node: is_frozen(node) or _is_shape(node))
    state = jax.tree.map(direction, jax.eval_shape(cell.initial_state))
    preactivations = tuple(direction(jax.ShapeDtypeStruct(w.shape[:2], w.dtype)) for w in weights_of(cell))
    units, begin = split(bare)[0], bare.initial_state()
    directions = jax.tree.map(direction, (units, state, preactivations))
    near_begin = jax.tree.map(lambda h0, h: h0 + h / 100, begin, state)
    found = []
    for tried in (state, *(jax.tree.map(f, state) for f in (_positive, _below_one)), near_begin):
        gate, initial, known = map(float, _differences(bare, (units, tried, preactivations), directions))
        found.append((known, gate))
        if known == 1:
            break
    known, gate = max(found, key=lambda one: one[0])
    return gate if known else np.nan, initial


@eqx.filter_jit
def _differences(
    bare: Any, at: tuple, directions: tuple
) -> tuple[Float[Array, ""], Float[Array, ""], Float[Array, ""]]:
    """Of the gate, of the initial state, and the share of the gate's derivatives that are finite."""
    units, rest = at[0], split(bare)[1]

    def gate(units: Params, state: State, preactivations: tuple[Array, ...]) -> State:
        return join(units, rest).gate(state, *preactivations)

    value, tangent = jax.jvp(gate, at, directions)
    parts = of_each_part(jax.vjp(gate, *at)[1], value)
    h0, initial_tangent = jax.jvp(lambda units: join(units, rest).initial_state(), (units,), (directions[0],))
    initial_parts = of_each_part(jax.vjp(lambda units: join(units, rest).initial_state(), units)[1], h0)
    assumed = _own(parts, directions, len(jax.tree.leaves(value)))
    return (
        _relative(tangent, assumed),
        _relative(initial_tangent, _own(initial_parts, (directions[0],), len(jax.tree.leaves(value)))),
        (jnp.isfinite(jnp.stack(jax.tree.leaves(tangent))) & jnp.isfinite(assumed)).mean(),
    )


def _own(parts: Any, directions: tuple, number: int) -> Float[Array, "..."]:
    """Each unit's own derivatives times the direction, summed over what belongs to the unit; 0 where nothing does."""
    terms = [
        (j * d[None]).reshape(number, -1, d.shape[-1]).sum(axis=1)
        for j, d in zip(jax.tree.leaves(parts), jax.tree.leaves(directions), strict=True)
    ]
    return functools.reduce(jnp.add, terms, jnp.zeros(()))


def _relative(tangent: State, assumed: Float[Array, "..."]) -> Float[Array, ""]:
    a = jnp.stack(jax.tree.leaves(tangent)).astype(float)
    b = jnp.broadcast_to(assumed, a.shape).astype(float)
    known = jnp.isfinite(a) & jnp.isfinite(b)
    difference = jnp.where(known, jnp.abs(jnp.where(known, a, 0) - jnp.where(known, b, 0)), 0).max()
    scale = jnp.where(known, jnp.abs(jnp.where(known, a, 0)), 0).max()
    return jnp.where(difference > 0, difference / jnp.maximum(scale, jnp.finfo(a.dtype).tiny), 0)


def _positive(h: Array) -> Array:
    return jnp.abs(h).astype(h.dtype)


def _below_one(h: Array) -> Array:
    return _positive(jnp.tanh(h))


def _unknown(leaf: Any) -> bool:
    return isinstance(leaf, Tracer)


def _is_shape(node: Any) -> bool:
    return isinstance(node, jax.ShapeDtypeStruct)
