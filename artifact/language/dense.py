"""Dense networks that read a text byte by byte, several side by side, and what they are charged."""

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

import rtrl
from artifact.comparison import States


class SideBySide(eqx.Module):
    """Several networks over the same text; `rtrl.follow` takes it for one learner."""

    learner: rtrl.Learner
    classes: int = eqx.field(static=True)

    @eqx.filter_jit
    def run(self, states: States, seen: Array, targets: Array):
        one_hot = jax.nn.one_hot(seen, self.classes)
        return eqx.filter_vmap(lambda state: self.learner.run(state, one_hot, targets))(states)


def start(
    learner: rtrl.Learner, cell_class, classes: int, units: int, rate: Float[Array, ""], key: PRNGKeyArray
) -> PyTree:
    """A fresh network and learner that updates at the given rate."""
    cell_key, readout_key = jax.random.split(key)
    cell = cell_class(classes, units, key=cell_key)
    state = learner.init(rtrl.Model(cell, eqx.nn.Linear(units, classes, key=readout_key)))
    return rtrl.set_hyperparameters(state, learning_rate=rate)


def code_lengths(
    together: SideBySide, states: States, previous: np.ndarray, targets: np.ndarray
) -> Float[np.ndarray, "networks bytes"]:
    """The bits charged for every byte of a stretch of text, read in chunks."""
    stretch = [(previous, targets)]
    read = rtrl.follow(together, states, stretch, chunk=10_000, progress=False)  # pyright: ignore[reportArgumentType]
    return np.concatenate([np.asarray(output.loss) for _, output in read], axis=1) / np.log(2)
