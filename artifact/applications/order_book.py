"""Where the price moves next in a synthetic order book: streams, and a practitioner's regression."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy.signal
import statsmodels.api as sm
from jaxtyping import Array, Float, Int, Key

import rtrl
from artifact.applications.networks import Single
from rtrl.tasks import OrderBook

LABEL_SCALE = 0.1
"""Keeps the clipping of the gradient, at norm 1, from cutting off the events that matter."""
SIGNS = np.array([1, -1, -1, 1])
"""Of the four kinds of event: added to the bid and taken from the ask, up."""


class Books(NamedTuple):
    """Queues, kinds of events, inputs (books, events, 6), and whether the next move is up, known in hindsight."""

    queues: Any
    kinds: Any
    inputs: Any
    up: Any


def books(book: OrderBook, keys: Key[Array, " books"], events: int) -> Books:
    """So many events of every book."""

    @jax.jit
    @jax.vmap
    def streams(key: Array) -> Books:
        queues, kinds, moves = book.events(key, events + 1000)  # the rest has the moves that end the stream

        def back(following: Array, move: Array) -> tuple[Array, Array]:
            following = jnp.where(move == 0, following, move)
            return following, following

        following = jax.lax.scan(back, jnp.zeros((), int), moves[1:], reverse=True)[1]
        inputs = jnp.concatenate([jax.nn.one_hot(kinds, 4), (queues - 3.5) / 2], axis=1)
        up = (following[:events] > 0).astype(jnp.float32)
        return Books(queues[:events], kinds[:events], inputs[:events], up)

    return jax.tree.map(np.asarray, streams(keys))


def log_loss(logit: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Minus the log probability of y, 0 or 1."""
    return np.logaddexp(0, logit) - y * logit


def book_loss(logit: Array, y: Array) -> Array:
    """The same, scaled down."""
    return LABEL_SCALE * optax.sigmoid_binary_cross_entropy(logit, y)


def flow(kinds: Int[np.ndarray, "books events"], half_life: float) -> Float[np.ndarray, "books events"]:
    """Signed orders, weighted by their age."""
    kept = 0.5 ** (1 / half_life)
    return np.asarray(scipy.signal.lfilter([1 - kept], [1, -kept], SIGNS[kinds]))


def columns(found: Books, memory: bool) -> Float[np.ndarray, "books events columns"]:
    """What the regression is on: a one, queues, imbalance, the last event and, with a memory, the order flow."""
    bid, ask = np.moveaxis(found.queues, 2, 0)
    imbalance = (bid - ask) / (bid + ask)
    now = [np.ones(bid.shape), bid, ask, imbalance, imbalance**3, *(found.kinds == k for k in range(3))]
    before = [flow(found.kinds, half_life) for half_life in (3, 10, 30, 100)] if memory else []
    return np.stack([*now, *before], axis=2).astype(float)


def regression(found: Books, events: int, memory: bool) -> Float[np.ndarray, " books"]:
    """Loss of a logistic regression on the first events of each book, on the rest."""
    losses = []
    for x, y in zip(columns(found, memory), found.up, strict=True):
        fit = sm.Logit(y[:events], x[:events]).fit(disp=0)
        losses.append(log_loss(x[events:] @ fit.params, y[events:]).mean())
    return np.array(losses)


def bayes_loss(guess: Float[np.ndarray, "books events"], up: np.ndarray) -> Float[np.ndarray, " books"]:
    """Loss of the probabilities that Bayes' filter gives."""
    return -np.log(np.where(up > 0, guess, 1 - guess)).mean(axis=1)


def trader(key: Array) -> rtrl.Model:
    """An eLSTM of 16 units with a readout of one hidden layer: the logit of a move up."""
    cell_key, readout_key = jax.random.split(key)
    readout = eqx.nn.MLP(16, 1, 16, 1, jnp.tanh, key=readout_key)
    return rtrl.Model(rtrl.ELSTMCell(6, 16, key=cell_key), Single(readout))
