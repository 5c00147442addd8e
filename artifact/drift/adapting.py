"""Networks on streams that change: they learn on at a constant rate, or stop."""

from collections.abc import Callable, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Key

from artifact.comparison import Loss, ModelOf, States, Stream, begin, best, some, stages
from rtrl import Learner

Losses = Float[np.ndarray, "networks steps"]


def squared_error(prediction: Array, target: Array) -> Array:
    return jnp.mean((prediction - target) ** 2)


def rmsprop(learning_rate: float) -> optax.GradientTransformation:
    """Optax's RMSprop with the same bits on every processor.

    Its default takes a reciprocal square root, for which XLA starts from the processor's own approximation; square
    roots and quotients are rounded the same everywhere.
    """
    return optax.rmsprop(learning_rate, eps=1e-4, eps_in_sqrt=False)


def learned(
    learner: Learner,
    model_of: ModelOf,
    keys: Key[Array, " streams"],
    rates: Float[np.ndarray, " networks"],
    stream: Stream,
    piece: int,
) -> tuple[Losses, dict[int, States]]:
    """The loss of every step before its update, and the networks as they were before each piece of so many steps.

    The networks of `keys` again and again, side by side, as many as there are rates: under every drift, or at every
    rate.
    """
    states = begin(learner, model_of, jnp.tile(keys, len(rates) // len(keys)))
    after, losses = zip(*stages(learner, states, lambda _: rates, stream, piece), strict=True)
    return np.concatenate(losses, axis=1), {k * piece: then for k, then in enumerate([states, *after[:-1]])}


def tuned(
    learner: Learner,
    model_of: ModelOf,
    keys: Key[Array, " streams"],
    rates: Float[np.ndarray, " tried"],
    stream: Stream,
    piece: int,
) -> float:
    """The rate with the lowest loss along the streams; each rate is tried on all of them."""
    every = jax.tree.map(lambda a: np.tile(a, (len(rates), 1, 1)), stream)
    return best(rates, learned(learner, model_of, keys, np.repeat(rates, len(keys)), every, piece)[0])


@eqx.filter_jit
def unlearned(loss: Loss, states: States, xs: Array, ys: Array) -> Float[Array, "networks steps"]:
    """The losses of networks that do not learn any more."""

    def one(state: States, xs: Array, ys: Array) -> Array:
        return jax.vmap(loss)(state.model.predictions(xs, state.stream.cell), ys)

    return eqx.filter_vmap(one)(states, xs, ys)


def frozen(losses: Losses, then: dict[int, States], stream: Stream, stops: Sequence[int]) -> Losses:
    """The losses had the networks stopped learning: equal shares of them, in order, at each of `stops`."""
    rows, share = [], len(losses) // len(stops)
    for i, at in enumerate(stops):
        these = slice(i * share, (i + 1) * share)
        after = unlearned(squared_error, some(these, then[at]), *(a[these, at:] for a in stream))
        rows.append([losses[these, :at], after])
    return np.block(rows)


def running(values: Losses, size: int, summary: Callable = np.mean) -> Float[np.ndarray, "networks bins"]:
    """Values in bins of so many steps, the last ones left out where they do not fill a bin."""
    whole = values.shape[1] // size * size
    return summary(values[:, :whole].reshape(len(values), -1, size), axis=2)
