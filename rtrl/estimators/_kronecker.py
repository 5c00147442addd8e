"""The influence of each weight as a random sum of Kronecker products, right on average."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from rtrl._trained import trained
from rtrl._types import Influence, Input, Params, Pullback, State
from rtrl.cells import AbstractCell, AbstractDenseCell, map_weights, masked, recurrent_weights, with_weights
from rtrl.estimators._base import AbstractEstimator, check_dense
from rtrl.estimators._random import Seed, first_seed, keys_of_step
from rtrl.estimators._real import vector
from rtrl.estimators._textbook import add_to_own_unit, advance, first_influence_of_units, pull_back

Lefts = Float[Array, "_rank states _gates n"]
Rights = Float[Array, "_rank _width"]

Reduce = Callable[[PRNGKeyArray, Lefts, Rights], tuple[Lefts, Rights]]
"""From a sum of rank + 1 products to one of `rank` products with the same mean."""


class KroneckerSum(eqx.Module):
    """J ≈ Σ A ⊗ u for each weight that is trained, J itself for the per-unit parameters, and the next step's seed."""

    lefts: tuple[Lefts | None, ...]
    rights: tuple[Rights | None, ...]
    units: Influence
    seed: Seed


def no_products(
    estimator: AbstractEstimator, cell: AbstractCell, state: State, rank: int, key: PRNGKeyArray | None
) -> KroneckerSum:
    """Zeros; raises `TypeError` unless the cell is dense and gated, `ValueError` without a key."""
    gated = check_dense(estimator, cell)
    states, params = vector(state).size, trained(gated)
    lefts = map_weights(lambda w: jnp.zeros((rank, states, *w.shape[:2]), w.dtype), params)
    rights = map_weights(lambda w: jnp.zeros((rank, w.shape[2]), w.dtype), params)
    units = first_influence_of_units(gated, state)
    return KroneckerSum(tuple(lefts), tuple(rights), units, first_seed(estimator, key))


def step_of_products(
    cell: AbstractDenseCell, state: State, x: Input, memory: KroneckerSum, reduce: Reduce
) -> tuple[State, Pullback, KroneckerSum]:
    r"""$\sum_i D A_i \otimes u_i + B \otimes z$, reduced to as many products as before.

    A weight's immediate Jacobian is $B \otimes z$: in B one row of β for every unit, z what the weight is
    multiplied with. Per-unit parameters have no u; their influence is carried exactly.
    """
    next_state, linearisation = cell.linearise(state, x)
    dynamics = linearisation.dynamics(recurrent_weights(cell))
    seed, keys = keys_of_step(memory.seed, len(memory.rights))

    def reduced(key: PRNGKeyArray, lefts: Any, rights: Any, beta: Array, z: Array) -> tuple[Any, Any]:
        if lefts is None:
            return None, None
        pushed = jnp.einsum("ab,rbgi->ragi", dynamics, lefts)
        immediate = add_to_own_unit(jnp.zeros_like(lefts[0]), beta, 0)
        return reduce(key, jnp.concatenate([pushed, immediate[None]]), jnp.concatenate([rights, z[None]]))

    products = map(reduced, keys, memory.lefts, memory.rights, linearisation.betas, linearisation.factors)
    lefts, rights = zip(*products, strict=True)
    memory = KroneckerSum(lefts, rights, advance(dynamics, memory.units, linearisation.units), seed)
    return next_state, lambda v: masked(cell, _pull_back(memory, v)), memory


def _pull_back(memory: KroneckerSum, v: State) -> Params:
    row = vector(v)
    weights = [
        None if u is None else jnp.einsum("rgi,rj->gij", jnp.einsum("a,ragi->rgi", row, lefts), u)
        for lefts, u in zip(memory.lefts, memory.rights, strict=True)
    ]
    return with_weights(pull_back(v, memory.units), weights)
