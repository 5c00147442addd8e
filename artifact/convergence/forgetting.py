"""How fast a network and its influence matrix forget where they started, and what chaos does to them."""

import functools
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray
from scipy.stats import wasserstein_distance

import rtrl
from rtrl.tasks import ring_walk


def scaled_cell(key: PRNGKeyArray, activation: Callable, q: float | Array, units: int = 16) -> rtrl.ElmanCell:
    """An Elman cell of random weights whose ‖W‖ is q over the largest slope of its activation."""
    cell = rtrl.ElmanCell(2, units, key=key, activation=activation)
    slope = {jnp.tanh: 1.0, jax.nn.sigmoid: 0.25}[activation]
    norm = jnp.linalg.norm(cell.weight_hh[0], 2)
    return eqx.tree_at(lambda c: c.weight_hh, cell, cell.weight_hh * (q / slope / norm))


def influence(pullback: Callable, units: int) -> Float[Array, "units parameters"]:
    """J itself, one row for each unit, from the pullback of exact RTRL."""
    rows = jax.vmap(pullback)(jnp.eye(units))
    return jnp.concatenate([leaf.reshape(units, -1) for leaf in jax.tree.leaves(rows)], axis=1)


def carried(
    cell: rtrl.AbstractCell, xs: Float[Array, "time inputs"], start: tuple | None = None
) -> tuple[Float[Array, "time units"], Float[Array, "time units parameters"], tuple]:
    """States and influence matrices along a stream, and where they ended."""
    estimator, units = rtrl.RTRL(block_size=None), cell.initial_state().size

    def step(carry, x):
        state, pullback, memory = estimator.step(cell, carry[0], x, carry[1])
        return (state, memory), (state, influence(pullback, units))

    start = start or (cell.initial_state(), estimator.init(cell, cell.initial_state()))
    end, (states, matrices) = jax.lax.scan(step, start, xs)
    return states, matrices, end


@functools.partial(jax.jit, static_argnums=(1,))
def apart(
    key: PRNGKeyArray, activation: Callable, q: float, length: int = 150
) -> tuple[Float[Array, " time"], Float[Array, " time"]]:
    """Distance of two copies' states and of their influence matrices, from the moment when they share data."""
    cell_key, one, other, shared = jax.random.split(key, 4)
    cell, xs = scaled_cell(cell_key, activation, q), ring_walk(shared, length)

    def after(past):
        return carried(cell, xs, carried(cell, 3 * ring_walk(past, 200, stay=0.2))[2])[:2]

    states, matrices = jax.vmap(after)(jnp.stack([one, other]))
    return jnp.linalg.norm(states[0] - states[1], axis=1), jnp.linalg.norm(matrices[0] - matrices[1], axis=(1, 2))


@functools.partial(jax.jit, static_argnums=(0, 1, 3))
def joint_distribution(
    count: int, length: int, key: PRNGKeyArray, cell_seed: int
) -> Float[Array, "walkers time numbers"]:
    """(x, h, J) of many walkers after each step, from one point of the ring and a network at rest."""
    cell = scaled_cell(jax.random.key(cell_seed), jnp.tanh, 0.9, units=4)

    def one(key):
        xs = ring_walk(key, length, start=0)
        states, matrices, _ = carried(cell, xs)
        return jnp.concatenate([xs, states, matrices.reshape(length, -1)], axis=1)

    return jax.vmap(one)(jax.random.split(key, count))


def wasserstein(
    sample: Float[np.ndarray, "walkers numbers"],
    other: Float[np.ndarray, "walkers numbers"],
    view: Float[np.ndarray, "numbers directions"],
) -> float:
    """Wasserstein's distance of two samples along each direction of a view, averaged: *sliced* for random ones."""
    return float(
        np.mean([wasserstein_distance(*pair) for pair in zip((sample @ view).T, (other @ view).T, strict=True)])
    )


@jax.jit
def growth(key: PRNGKeyArray, gain: float, length: int = 400) -> tuple[Array, Array]:
    """Factor per step of the distance of two neighbouring states, and the last size of the influence matrix.

    The network has 64 units and recurrent weights of variance gain²/64; the influence is that of the biases, up to the
    slope of tanh.
    """
    cell_key, weight_key, stream_key = jax.random.split(key, 3)
    cell, xs = rtrl.ElmanCell(2, 64, key=cell_key), ring_walk(stream_key, length)
    weights = gain / 8 * jax.random.normal(weight_key, (1, 64, 64))
    cell = eqx.tree_at(lambda c: c.weight_hh, cell, weights)
    tangent = jnp.ones(64) / 8

    def step(carry, x):
        h, tangent, j = carry
        h, dynamics = cell(h, x), jax.jacobian(cell)(h, x)
        tangent = dynamics @ tangent
        size = jnp.linalg.norm(tangent)
        j = dynamics @ j + jnp.eye(64)
        return (h, tangent / size, j), (jnp.log(size), jnp.linalg.norm(j))

    _, (logs, sizes) = jax.lax.scan(step, (jnp.zeros(64), tangent, jnp.zeros((64, 64))), xs)
    return jnp.exp(logs[100:].mean()), sizes[-1]
