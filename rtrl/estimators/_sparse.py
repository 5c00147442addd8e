"""Influences along the pattern of a sparse recurrent weight: kept entries only, in memory and in time."""

import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PyTree

from rtrl._trained import trained
from rtrl._types import Input, Params, Pullback, State
from rtrl.cells import (
    Linearisation,
    Mask,
    initial_influence,
    map_weights,
    recurrent_weights,
    with_weights,
)
from rtrl.estimators._textbook import without_weights


class Lists(eqx.Module):
    """For each unit a list of units; shorter lists are filled up with unit 0, marked as not valid."""

    units: Int[np.ndarray, "n longest"]
    valid: Bool[np.ndarray, "n longest"]


class SparseInfluence(eqx.Module):
    """J by the unit that owns the parameters: axes (owner, unit in its reach, part, …).

    Of the recurrent weights only those that exist: (…, gates, inputs); of the others (…, gates, m); of a per-unit
    parameter what stands before its unit axis; `None` for frozen weights. Immediate derivatives have no reach axis: it
    is the owner.
    """

    weight_hh: Float[Array, "n *reach parts gates inputs"] | None
    weight_ih: Float[Array, "n *reach parts gates m"] | None
    units: PyTree[Array]


def first_sparse_influence(cell: Any, state: State, order: int) -> SparseInfluence:
    """dh₀/dθ for every entry that is kept: zero but for parameters of the initial state, on their own unit."""
    reach, inputs = _pattern(cell.mask, order)
    (n, longest), parts = reach.units.shape, len(jax.tree.leaves(state))
    gates, _, m = cell.weight_ih.shape
    zeros = functools.partial(jnp.zeros, dtype=cell.weight_ih.dtype)
    owned = jax.tree.map(lambda i: jnp.moveaxis(i, -1, 0), without_weights(initial_influence(cell)))
    weight_hh, weight_ih = map_weights(
        lambda _, width: zeros((n, longest, parts, gates, width)), trained(cell), (inputs.units.shape[1], m)
    )
    return SparseInfluence(
        weight_hh,
        weight_ih,
        jax.tree.map(lambda i: jnp.zeros((n, longest, *i.shape[1:]), i.dtype).at[:, 0].set(i), owned),
    )


def step_within_reach(
    cell: Any, state: State, x: Input, memory: SparseInfluence, order: int
) -> tuple[State, Pullback, SparseInfluence]:
    """A step of the recursion on the kept entries."""
    reach, inputs = _pattern(cell.mask, order)
    next_state, linearisation = cell.linearise(state, x)
    transition = _transition(linearisation, recurrent_weights(cell), reach)
    influence = jax.tree.map(
        lambda j, now: jnp.einsum("urksl,usl...->urk...", transition, j).at[:, 0].add(now),
        memory,
        _immediate(cell, linearisation, inputs),
    )

    def pullback(v: State) -> Params:
        rows = jnp.stack(jax.tree.leaves(v))[:, reach.units] * reach.valid[None]
        owned = jax.tree.map(lambda j: jnp.einsum("kur,urk...->u...", rows, j), influence)
        return _from_owners(cell, owned, inputs)

    return next_state, pullback, influence


@functools.lru_cache
def _pattern(mask: Mask, order: int) -> tuple[Lists, Lists]:
    """The units in reach of each unit, itself first, and the units that act on each unit."""
    n = len(mask.kept)
    one_step = mask.kept | np.eye(n, dtype=bool)
    reached = np.eye(n, dtype=bool)
    for _ in range(min(order, n) - 1):
        reached = one_step.astype(int) @ reached > 0
    others = reached & ~np.eye(n, dtype=bool)
    return (
        _lists([np.concatenate([[u], np.flatnonzero(others[:, u])]) for u in range(n)]),
        _lists([np.flatnonzero(mask.kept[u]) for u in range(n)]),
    )


def _lists(ragged: list[np.ndarray]) -> Lists:
    longest = max(map(len, ragged))
    units, valid = np.zeros((len(ragged), longest), int), np.zeros((len(ragged), longest), bool)
    for u, row in enumerate(ragged):
        units[u, : len(row)], valid[u, : len(row)] = row, True
    return Lists(units, valid)


def _transition(
    linearisation: Linearisation, weight_hh: Float[Array, "gates n n"], reach: Lists
) -> Float[Array, "n reach parts reach parts"]:
    """The part of D that connects the units in reach of each unit."""
    i, longest = reach.units, np.arange(reach.units.shape[1])
    between = weight_hh[:, i[:, :, None], i[:, None, :]]
    through_weights = jnp.einsum("kgur,gurs->urks", linearisation.betas[0][:, :, i], between)
    parts = len(linearisation.alpha)
    transition = jnp.zeros((*i.shape, parts, len(longest), parts), weight_hh.dtype).at[..., 0].set(through_weights)
    within_units = jnp.transpose(linearisation.alpha[:, :, i], (3, 2, 0, 1))
    transition = transition.at[:, longest, :, longest].add(within_units)
    return transition * reach.valid[:, :, None, None, None]


def _immediate(cell: Any, linearisation: Linearisation, inputs: Lists) -> SparseInfluence:
    """I: each parameter's derivative on its own unit, the first in its own reach."""
    h, x = linearisation.factors
    acting = (h[inputs.units] * inputs.valid)[:, None, None], x[None, None, None]
    weight_hh, weight_ih = map_weights(
        lambda _, beta, z: jnp.transpose(beta, (2, 0, 1))[..., None] * z, trained(cell), linearisation.betas, acting
    )
    units = jax.tree.map(lambda unit: jnp.moveaxis(unit, -1, 0), linearisation.units)
    return SparseInfluence(weight_hh, weight_ih, units)


def _from_owners(cell: Any, owned: SparseInfluence, inputs: Lists) -> Params:
    """A gradient by owner in the shape of the parameters, zero for weights that do not exist."""
    units = jax.tree.map(lambda unit: jnp.moveaxis(unit, 0, -1), owned.units)
    weight_hh, weight_ih = owned.weight_hh, owned.weight_ih
    if weight_hh is not None:
        values = jnp.moveaxis(weight_hh * inputs.valid[:, None], 1, 0)
        rows = np.arange(len(inputs.units))[:, None]
        weight_hh = jnp.zeros_like(cell.weight_hh).at[:, rows, inputs.units].add(values)
    return with_weights(units, [weight_hh, None if weight_ih is None else jnp.moveaxis(weight_ih, 0, 1)])
