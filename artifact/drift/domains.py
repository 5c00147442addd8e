"""Text that changes its domain and comes back, and the networks that read it."""

from typing import NamedTuple

import equinox as eqx
import jax
import numpy as np
import optax
from jaxtyping import Array, Float, Key, PRNGKeyArray

import rtrl
from artifact.comparison import ModelOf, States, begin, in_whole_windows, stages
from artifact.data import Vocabulary, king_james, python_topics

CAPACITY = 112
"""Of the vocabulary, the class that announces a new symbol among them."""
WINDOW = 16
"""Bytes between two updates."""

cross_entropy = optax.softmax_cross_entropy_with_integer_labels


class Domains(NamedTuple):
    """One-hot vectors of the last symbol, the next symbol, and the bits that naming a new one costs beside."""

    inputs: Float[np.ndarray, "bytes capacity"]
    targets: np.ndarray
    beside: Float[np.ndarray, " bytes"]

    def part(self, at: slice, networks: int) -> tuple[np.ndarray, ...]:
        """Inputs and targets of a part, the same for networks side by side."""
        return tuple(np.broadcast_to(a[at], (networks, *a[at].shape)) for a in (self.inputs, self.targets))


def domains(size: int) -> Domains:
    """So many bytes of the King James Bible, of Python's documentation, and of the Bible again from there on."""
    bible, python = king_james()[0], python_topics()[0]
    parts = bible[:size], python[:size], bible[size : 2 * size]
    text = np.concatenate([part[: size // WINDOW * WINDOW] for part in parts])
    numbers, is_new, beside = Vocabulary(CAPACITY).read(text)
    previous = np.concatenate([[0], numbers[:-1]])
    return Domains(np.eye(CAPACITY, dtype=np.float32)[previous], np.where(is_new, 0, numbers), beside)


def reader(units: int, key: PRNGKeyArray) -> rtrl.Model:
    """Two layers of eLSTM and a linear readout."""
    first, second, last = jax.random.split(key, 3)
    cells = [rtrl.ELSTMCell(size, units, key=k) for size, k in ((CAPACITY, first), (units, second))]
    return rtrl.Model(rtrl.StackedCell(cells), eqx.nn.Linear(units, CAPACITY, key=last))


def text_learner(estimator: rtrl.AbstractEstimator) -> rtrl.Learner:
    """Adam, one update a window, its rate set from outside."""
    adam = optax.inject_hyperparams(optax.adam)(learning_rate=0.0)
    return rtrl.Learner(cross_entropy, estimator, adam, update_every=WINDOW)


def charged(
    learner: rtrl.Learner,
    model_of: ModelOf,
    keys: Key[Array, " networks"],
    rates: Float[np.ndarray, " networks"],
    text: Domains,
    parts: int = 3,
) -> tuple[Float[np.ndarray, "networks bytes"], States]:
    """Bits charged for every byte of the first parts of the text, and the networks after the first of them."""
    third, states = len(text.targets) // 3, in_whole_windows(begin(learner, model_of, keys))
    stream = text.part(slice(0, parts * third), len(rates))
    then, losses = zip(*stages(learner, states, lambda _: rates, stream, third), strict=True)
    bits = np.concatenate(losses, axis=1) / np.log(2)
    return bits + text.beside[: bits.shape[1]], then[0]
