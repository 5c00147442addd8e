"""Stacks of diagonal cells that read a text whose alphabet nobody told them."""

from time import perf_counter
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, ArrayLike, Float, Int, PRNGKeyArray, PyTree, UInt8

import rtrl
from artifact.data import Vocabulary, chunks

CONTEXT = 4
"""Bytes that the network sees at once."""
WINDOW = 16
"""Bytes between two updates."""
CHUNK = 600 * WINDOW
"""Bytes read at a time."""
CAPACITY = 80
"""Of the vocabulary, the class that announces a new symbol among them."""

cross_entropy = optax.softmax_cross_entropy_with_integer_labels


class Text(NamedTuple):
    """At each byte the numbers of the last ones, the next one, and the bits that naming a new one costs."""

    contexts: Int[np.ndarray, "bytes context"]
    targets: Int[np.ndarray, " bytes"]
    name_bits: Float[np.ndarray, " bytes"]


def numbered(text: UInt8[np.ndarray, " bytes"], vocabulary: Vocabulary) -> Text:
    """The text in numbers that grow as it is read."""
    numbers, is_new, name_bits = vocabulary.read(text)
    padded = np.concatenate([np.zeros(CONTEXT, int), numbers])
    contexts = np.stack([padded[CONTEXT - lag : len(padded) - lag] for lag in range(1, CONTEXT + 1)], axis=1)
    return Text(contexts, np.where(is_new, 0, numbers), name_bits)


def show(seen: Int[Array | np.ndarray, "... context"], capacity: int = CAPACITY) -> Float[Array, "... inputs"]:
    """The input for a context: the one-hot vectors of the last bytes, side by side."""
    return jax.nn.one_hot(seen, capacity).reshape(*seen.shape[:-1], CONTEXT * capacity)


def stack_model(units: int, key: PRNGKeyArray, capacity: int = CAPACITY) -> rtrl.Model:
    """Two layers of eLSTM (Irie et al. 2024), normalised, and a linear readout."""
    first, second, last = jax.random.split(key, 3)
    cells = rtrl.ELSTMCell(CONTEXT * capacity, units, key=first), rtrl.ELSTMCell(units, units, key=second)
    readout = eqx.nn.Sequential([eqx.nn.LayerNorm(units), eqx.nn.Linear(units, capacity, key=last)])
    return rtrl.Model(rtrl.StackedCell(cells, normalise=True), readout)


def falling(updates: ArrayLike) -> Array:
    """The learning rate; nobody need know how long the text is."""
    return 0.001 / jnp.sqrt(1 + updates / 20000)  # pyright: ignore[reportOperatorIssue]


def stack_learner(estimator: rtrl.AbstractEstimator) -> rtrl.Learner:
    return rtrl.Learner(cross_entropy, estimator, optax.adam(falling), update_every=WINDOW)


def one_pass(
    learner: rtrl.Learner, state: PyTree, text: Text, length: int
) -> tuple[Float[np.ndarray, " bytes"], list[float], dict[str, rtrl.Model]]:
    """Bits charged for every byte, names of new ones included; seconds a byte of each chunk; models on the way."""
    charged, seconds, snapshots = [], [], {"before": state.model}
    pieces = ((show(seen), target) for seen, target in chunks((text.contexts[:length], text.targets[:length]), CHUNK))
    reached, began = state, perf_counter()
    for reached, output in rtrl.follow(learner, state, pieces, chunk=CHUNK, progress=False):
        charged.append(np.asarray(output.loss))
        seconds.append((perf_counter() - began) / len(charged[-1]))
        if len(seconds) == 3:
            snapshots[f"after {3 * CHUNK:,} bytes"] = reached.model
        began = perf_counter()
    snapshots[f"after {length:,} bytes"] = reached.model
    return np.concatenate(charged) / np.log(2) + text.name_bits[:length], seconds, snapshots


def trained_parameters(model: rtrl.Model) -> int:
    arrays = eqx.filter(model, eqx.is_inexact_array, is_leaf=lambda node: isinstance(node, rtrl.Frozen))
    return sum(a.size for a in jax.tree.leaves(arrays))


@eqx.filter_jit
def write(model: rtrl.Model, key: PRNGKeyArray, length: int = 240) -> Int[Array, " length"]:
    """Symbols that a network writes by itself, each drawn from its own prediction; it does not learn."""

    def step(carry, key):
        state, seen = carry
        state = model.cell(state, show(seen))
        number = jax.random.categorical(key, model.predict(state, show(seen)).at[0].set(-jnp.inf))
        return (state, jnp.concatenate([number[None], seen[:-1]])), number

    start = model.cell.initial_state(), jnp.zeros(CONTEXT, int)
    return jax.lax.scan(step, start, jax.random.split(key, length))[1]
