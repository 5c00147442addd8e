"""One step of the optimizer, from what each stream of a batch gives to it."""

import dataclasses
import inspect
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, PyTree

from rtrl._layout import laid_gradient
from rtrl._learner_state import LearnerState
from rtrl._trained import trained
from rtrl._types import Params


class ForUpdate(eqx.Module):
    """What a stream, or a batch of them, gives to an update: sums over its steps, and whether all was finite."""

    gradient: Params
    loss: Float[Array, "*batch"]
    weighted: Float[Array, "*batch"]
    finite: Bool[Array, "*batch"]


def updated(
    optimizer: optax.GradientTransformation, state: LearnerState, streams: ForUpdate, always: bool
) -> tuple[LearnerState, Bool[Array, ""]]:
    """The model after one step of the optimizer, unless no step had a weight; whether all gradients were finite."""
    finite, restart = streams.finite, state.restart
    if restart is not None:
        restart = ~finite
        streams = jax.tree.map(lambda a: jnp.where(_like(finite, a), a, 0), streams)
    if state.batch_size is not None:
        streams = jax.tree.map(lambda a: a.sum(axis=0), streams)
    number = jnp.maximum(streams.weighted, 1)
    gradient = jax.tree.map(lambda g: g / number.astype(g.dtype), streams.gradient)
    gradient = laid_gradient(state, gradient)
    whole = all_finite(gradient) if restart is None else finite.all()
    model, optimizer_state = _descent(optimizer, state.model, state.optimizer, gradient, streams.loss / number)
    if not always or restart is not None:
        changed, static = eqx.partition((model, optimizer_state), eqx.is_array)
        kept = eqx.filter((state.model, state.optimizer), eqx.is_array)
        chosen = jax.tree.map(lambda new, old: jnp.where(streams.weighted > 0, new, old), changed, kept)
        model, optimizer_state = eqx.combine(chosen, static)
    return dataclasses.replace(state, model=model, optimizer=optimizer_state, restart=restart), whole


def _descent(
    optimizer: optax.GradientTransformation, model: Any, optimizer_state: PyTree, gradient: Params, value: Any
) -> tuple[Any, PyTree]:
    """Optax descends along the conjugate of JAX's gradient of a complex parameter; real ones are themselves."""
    descent = jax.tree.map(jnp.conj, gradient)
    extended = optax.with_extra_args_support(optimizer)
    wanted = inspect.signature(extended.update).parameters.values()
    extra = {"value": value} if any(p.name == "value" or p.kind == p.VAR_KEYWORD for p in wanted) else {}
    updates, optimizer_state = extended.update(descent, optimizer_state, trained(model), **extra)
    return eqx.apply_updates(model, updates), optimizer_state


def _like(flags: Bool[Array, "*batch"], a: Array) -> Array:
    return flags.reshape(*flags.shape, *[1] * (a.ndim - flags.ndim))


def all_finite(tree: PyTree) -> Bool[Array, ""]:
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)] or [jnp.ones((), bool)]).all()
