"""Small networks that predict one number and go on learning, many side by side."""

import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, PyTree

import rtrl
from artifact.comparison import ModelOf, Rates, States, Stream, begin, best, stages


class Single(eqx.Module):
    """A readout whose only output is a number."""

    inner: Any

    def __call__(self, h: Array) -> Array:
        return self.inner(h)[0]


def squared_error(prediction: Array, y: Array) -> Array:
    """(prediction - y)²."""
    return (prediction - y) ** 2


@functools.cache
def forecaster(inputs: int, units: int, gain: float = 1.0) -> ModelOf:
    """From a key to an eLSTM that predicts one number; `gain` scales its first predictions."""

    def model_of(key: Array) -> rtrl.Model:
        cell_key, readout_key = jax.random.split(key)
        readout = eqx.nn.Linear(units, 1, key=readout_key)
        readout = eqx.tree_at(lambda r: (r.weight, r.bias), readout, (gain * readout.weight, jnp.zeros(1)))
        return rtrl.Model(rtrl.ELSTMCell(inputs, units, key=cell_key), Single(readout))

    return model_of


def pick(chosen: Any, tree: PyTree) -> PyTree:
    """The chosen networks' part of every array."""
    return jax.tree.map(lambda a: a[chosen], tree)


def trials(networks: int, rates: Rates) -> tuple[Int[np.ndarray, " runs"], Rates]:
    """For tuning, which networks run and at what rates: every rate on the same networks, as many runs as networks."""
    few = networks // len(rates)
    return np.tile(np.arange(few), len(rates)), np.repeat(rates, few)


def go_on(
    learner: rtrl.Learner, states: States, rates: Rates, stream: Stream, chunk: int = 500
) -> tuple[States, Float[np.ndarray, "networks steps"]]:
    """Learning at constant rates through the whole chunks of the streams: states after it, losses before updates."""
    steps, losses = jax.tree.leaves(stream)[0].shape[1] // chunk * chunk, []
    nowhere = np.zeros((len(rates), steps), bool)  # given, so that `train` and this run the same program
    whole = *jax.tree.map(lambda a: a[:, :steps], stream), nowhere
    after = states
    for after, loss in stages(learner, states, lambda _: rates, whole, chunk):  # noqa: B007
        losses.append(loss)
    return after, np.concatenate(losses, axis=1)


def online(
    learner: rtrl.Learner,
    model_of: ModelOf,
    keys: Key[Array, " networks"],
    rates: Rates,
    tuning: Stream,
    stream: Stream,
    chunk: int,
) -> tuple[Float[np.ndarray, "networks steps"], float]:
    """Every step's loss of networks that never stop learning, and their rate: the best on the tuning streams.

    The first quarter of the tuning streams is not scored.
    """
    few, tried = trials(len(keys), rates)
    _, losses = go_on(learner, begin(learner, model_of, keys[few]), tried, pick(few, tuning), chunk)
    rate = best(rates, losses[:, losses.shape[1] // 4 :])
    every = np.full(len(keys), rate, np.float32)
    return go_on(learner, begin(learner, model_of, keys), every, stream, chunk)[1], rate


@eqx.filter_jit
def foreseen(models: rtrl.Model, states: PyTree, xs: PyTree) -> Float[Array, "networks steps ..."]:
    """Predictions of networks that do not learn any more."""
    return eqx.filter_vmap(lambda model, state, xs: model.predictions(xs, state))(models, states, xs)
