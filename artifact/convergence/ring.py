"""The task of the notebook on convergence: a walk on a ring, what a fixed teacher says of it, and a small student."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

import rtrl
from rtrl.tasks import ring_walk

Stream = Callable[[PRNGKeyArray, int], tuple[Float[Array, "time 2"], Float[Array, "time 1"]]]


def squared_error(prediction: Array, target: Array) -> Array:
    return jnp.sum((prediction - target) ** 2) / 2


def teacher(key: PRNGKeyArray, units: int = 16, memory: float = 0.95) -> rtrl.Model:
    """A fixed Elman network whose state turns and slowly fades: its recurrent matrix is `memory` times orthogonal."""
    cell_key, readout_key, turn_key = jax.random.split(key, 3)
    turn = jnp.linalg.qr(jax.random.normal(turn_key, (units, units)))[0]
    cell = eqx.tree_at(lambda c: c.weight_hh, rtrl.ElmanCell(2, units, key=cell_key), memory * turn[None])
    return rtrl.Model(cell, eqx.nn.Linear(units, 1, key=readout_key))


def ring_stream_of(teacher_seed: int) -> Stream:
    """The walk, and three times what the teacher says of it, with noise of deviation 0.1: a function (key, length)."""

    def ring_stream(key: PRNGKeyArray, length: int) -> tuple[Array, Array]:
        walk_key, noise_key = jax.random.split(key)
        xs = ring_walk(walk_key, length)
        said = teacher(jax.random.key(teacher_seed)).predictions(xs)
        return xs, 3 * said + 0.1 * jax.random.normal(noise_key, (length, 1))

    return ring_stream


def student(key: PRNGKeyArray, cell: Callable = rtrl.ElmanCell, units: int = 8) -> rtrl.Model:
    """A fresh cell that reads the ring, with a linear readout to one number."""
    cell_key, readout_key = jax.random.split(key)
    made = cell(2, units, key=cell_key)
    width = made.output(made.initial_state(), made.example_input()).size
    return rtrl.Model(made, eqx.nn.Linear(width, 1, key=readout_key))
