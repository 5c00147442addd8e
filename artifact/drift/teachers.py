"""Teachers that turn into other teachers, the students that follow them, and their streams."""

import functools

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float, Key, PRNGKeyArray

import rtrl
from artifact.comparison import ModelOf, Stream
from rtrl.tasks import drifting_mimic


def _scaled(cell: rtrl.AbstractCell, width: int, key: PRNGKeyArray) -> rtrl.Model:
    """A teacher with one output of variance 1."""
    model = rtrl.Model(cell, eqx.nn.Linear(width, 1, use_bias=False, key=key))
    spread = model.predictions(jax.random.normal(key, (1000, 2))).std()
    return eqx.tree_at(lambda m: m.readout.weight, model, model.readout.weight / spread)


def leaky_teacher(key: PRNGKeyArray) -> rtrl.Model:
    """Eight leaky units with time constants from 1 to 10 steps, their weights doubled."""
    cell = rtrl.CTRNNCell(2, 8, key=key)
    return _scaled(eqx.tree_at(lambda c: (c.weight_hh, c.weight_ih), cell, replace_fn=lambda w: 2 * w), 8, key)


def ringing_teacher(key: PRNGKeyArray) -> rtrl.Model:
    """Eight units with an orthogonal recurrent matrix times 0.95."""
    turn = 0.95 * jax.random.orthogonal(key, 8)[None]
    return _scaled(eqx.tree_at(lambda c: c.weight_hh, rtrl.ElmanCell(2, 8, key=key), turn), 8, key)


TEACHERS = {"leaky": (leaky_teacher, rtrl.CTRNNCell), "ringing": (ringing_teacher, rtrl.ElmanCell)}
"""For each family how a teacher is drawn, and its students' cell."""


def student(family: str, units: int) -> ModelOf:
    """Draws networks of the family's units, with standard initial weights."""
    return functools.partial(_student, TEACHERS[family][1], units)


def _student(cell_class: type[rtrl.AbstractCell], units: int, key: PRNGKeyArray) -> rtrl.Model:
    cell_key, readout_key = jax.random.split(key)
    return rtrl.Model(cell_class(2, units, key=cell_key), eqx.nn.Linear(units, 1, key=readout_key))  # pyright: ignore[reportCallIssue]


def mixtures(phase: int) -> dict[str, Float[np.ndarray, " time"]]:
    """The share of the second teacher along four phases: a step, a ramp as long as a phase, a square wave."""
    time = np.arange(4 * phase)
    return {
        "abrupt": (time >= 2 * phase) * 1.0,
        "gradual": np.clip((time - 1.5 * phase) / phase, 0, 1),
        "recurring": (time // phase % 2) * 1.0,
    }


def first_changes(phase: int) -> dict[str, int]:
    """The step at which each kind of drift begins."""
    return {"abrupt": 2 * phase, "gradual": 3 * phase // 2, "recurring": phase}


def drifting_streams(
    family: str, mixture: Float[np.ndarray, " time"], noise: float, keys: Key[Array, " networks"]
) -> Stream:
    """For each key the stream of a pair of teachers of its own."""
    mimic = lambda pair, key: drifting_mimic(key, pair, mixture, noise)  # noqa: E731
    return jax.tree.map(np.asarray, eqx.filter_vmap(mimic)(*_pairs(family, keys)))


@eqx.filter_jit
def _pairs(family: str, keys: Key[Array, " networks"]) -> tuple[tuple[rtrl.Model, rtrl.Model], Key[Array, " networks"]]:
    def one(key: PRNGKeyArray) -> tuple[tuple[rtrl.Model, rtrl.Model], PRNGKeyArray]:
        first, second, stream = jax.random.split(key, 3)
        teacher = TEACHERS[family][0]
        return (teacher(first), teacher(second)), stream

    return eqx.filter_vmap(one)(keys)
