"""Offline training by the adjoint: one update from a whole recording at a time."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Key, PRNGKeyArray, PyTree

import rtrl
from artifact.comparison import ModelOf, Stream, best
from rtrl.tasks import observed_error


@eqx.filter_jit
@functools.partial(eqx.filter_vmap, in_axes=(None, 0, 0, 0, 0, None))
def offline(model_of: ModelOf, key: PRNGKeyArray, rate: Array, xs: PyTree, ys: Array, epochs: Array) -> rtrl.Model:
    """Backpropagation through a whole stream, one Adam step an epoch, at a rate that falls along half a cosine."""
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.scale_by_adam())
    arrays, static = eqx.partition(model_of(key), eqx.is_array)

    def gradient(arrays: PyTree) -> PyTree:
        return rtrl.sequence_gradient(rtrl.BPTT(), eqx.combine(arrays, static), observed_error, xs, ys)[1]

    def epoch(i: Array, carry: tuple) -> tuple:
        arrays, state = carry
        directions, state = optimizer.update(gradient(arrays), state)
        falling = rate * (0.5 + 0.5 * jnp.cos(jnp.pi * i / epochs))
        return eqx.apply_updates(arrays, jax.tree.map(lambda d: -falling * d, directions)), state

    start = arrays, optimizer.init(jax.eval_shape(gradient, arrays))
    return eqx.combine(jax.lax.fori_loop(0, epochs, epoch, start)[0], static)


def tune_and_train_offline(
    model_of: ModelOf,
    keys: Key[Array, " networks"],
    tried: Float[np.ndarray, " tried"],
    tuning: Stream,
    stream: Stream,
    epochs: int,
) -> rtrl.Model:
    """Networks after so many epochs, at the rate that was best on other streams; rates share the networks there."""
    networks, steps = len(keys), jax.tree.leaves(stream)[0].shape[1]
    few, count = np.tile(np.arange(networks // len(tried)), len(tried)), jnp.array(epochs)
    tuning = jax.tree.map(lambda a: a[few], tuning)
    begun = jax.tree.map(lambda a: a[:, : steps * 4 // 5], tuning)
    found = offline(model_of, keys[few], np.repeat(tried, networks // len(tried)), *begun, count)
    rate = best(tried, held_out(found, *tuning))
    return offline(model_of, keys, np.full(networks, rate, np.float32), *stream, count)


@eqx.filter_jit
@eqx.filter_vmap
def held_out(model: rtrl.Model, xs: PyTree, ys: Float[Array, "time m"]) -> Float[Array, ""]:
    """The loss over the last fifth of a stream."""
    return jax.vmap(observed_error)(model.predictions(xs), ys)[len(ys) * 4 // 5 :].mean()
