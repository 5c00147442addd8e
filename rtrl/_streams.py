"""Functions of one stream over the streams of a batch, and functions of a state over time."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PyTree

from rtrl._learner_state import LearnerState, StepOutput
from rtrl.estimators import Shared
from rtrl.gradient import over_windows


def stream_axes(owned: PyTree) -> PyTree[int | None]:
    """The batch axis of every array of a stream: the first, or none for what all streams share."""
    return jax.tree.map(
        lambda node: None if isinstance(node, Shared) else 0, owned, is_leaf=lambda node: isinstance(node, Shared)
    )


def over_streams(function: Callable, owned: PyTree, timed: PyTree, batch_size: int | None) -> tuple:
    """(what a stream owns, its steps) -> (what it owns, sums, its steps' outputs), for each stream of a batch."""
    if batch_size is None:
        return function(owned, timed)
    axes = stream_axes(owned)
    return jax.vmap(function, in_axes=(axes, 1), out_axes=(axes, 0, 1))(owned, timed)


def over_batch(losses: Float[Array, "time *batch"], weight: Any, batch_size: int | None) -> Float[Array, " time"]:
    """The mean over the streams that have a weight."""
    if batch_size is None:
        return losses
    return losses.mean(axis=1) if weight is None else losses.sum(axis=1) / jnp.maximum((weight != 0).sum(axis=1), 1)


def scan(step: Callable, state: LearnerState, given: PyTree, k: int) -> tuple[LearnerState, StepOutput]:
    """`step` over windows of k steps; outputs have one time axis."""
    if len(jax.tree.leaves(given)[0]) == k:
        return step(state, given)
    arrays, static = eqx.partition(state, eqx.is_array)

    def body(arrays: PyTree, given: PyTree) -> tuple[PyTree, StepOutput]:
        state, output = step(eqx.combine(arrays, static), given)
        return eqx.filter(state, eqx.is_array), output

    arrays, outputs = over_windows(body, arrays, given, k)
    return eqx.combine(arrays, static), jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), outputs)


def branch(condition: Bool[Array, ""], one: Callable, other: Callable, state: LearnerState) -> tuple:
    """`jax.lax.cond` for states, whose static parts stay outside."""
    arrays, static = eqx.partition(state, eqx.is_array)

    def go(branch: Callable, arrays: PyTree) -> tuple:
        after, aux = branch(eqx.combine(arrays, static))
        return eqx.filter(after, eqx.is_array), aux

    arrays, aux = jax.lax.cond(condition, lambda a: go(one, a), lambda a: go(other, a), arrays)
    return eqx.combine(arrays, static), aux
