"""A spring with friction in a heat bath, of which the position is seen through noise, and its Kalman filter."""

import functools
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, PRNGKeyArray
from scipy.linalg import expm, solve_continuous_lyapunov, solve_discrete_are

import rtrl
from artifact.comparison import Stream
from artifact.equations.observed_systems import first
from rtrl.tasks import InLogs, observed, observed_error

HEAT, INTERVAL, BLUR = 0.5, 0.2, 0.2
"""Strength of the noise on the velocity, time between observations, standard deviation of an observation."""


class Spring(eqx.Module):
    """dx = v dt, dv = -(k x + c v) dt, without its noise."""

    stiffness: jax.Array
    friction: jax.Array

    def __call__(self, t: Any, y: Float[Array, "2"], args: Any) -> Float[Array, "2"]:
        return jnp.stack([y[1], -self.stiffness * y[0] - self.friction * y[1]])


def true_spring() -> Spring:
    return Spring(jnp.array(1.0), jnp.array(0.3))


MATRIX = np.array([[0.0, 1.0], [-1.0, -0.3]])
PROPAGATE, STILL = expm(MATRIX * INTERVAL), solve_continuous_lyapunov(MATRIX, -np.diag([0.0, HEAT**2]))
GAINED = STILL - PROPAGATE @ STILL @ PROPAGATE.T
"""The covariance that the noise adds in an interval."""


def kalman_gain() -> Float[np.ndarray, "2 1"]:
    """The stationary one, from the Riccati equation."""
    uncertain = solve_discrete_are(PROPAGATE.T, np.array([[1.0], [0.0]]), GAINED, np.array([[BLUR**2]]))
    return uncertain[:, :1] / (uncertain[0, 0] + BLUR**2)


@functools.partial(jax.jit, static_argnums=1)
def spring_streams(keys: Key[Array, " networks"], steps: int) -> Stream:
    """Exact steps of the linear SDE, and what is seen of them."""
    root = jnp.asarray(np.linalg.cholesky(GAINED))

    def step(h: Array, w: Array) -> tuple[Array, Array]:
        new = jnp.asarray(PROPAGATE, h.dtype) @ h + w
        return new, new

    def one(key: PRNGKeyArray) -> tuple:
        noise_key, blur_key = jax.random.split(key)
        kicks = jax.random.normal(noise_key, (steps, 2)) @ root.T
        _, path = jax.lax.scan(step, jnp.zeros(2), kicks)
        before, ys = observed(blur_key, path, first, BLUR)
        return (before, None), ys

    return jax.vmap(one)(keys)


def filter_with(field: InLogs, gain: Float[Array, "2 1"]) -> rtrl.Model:
    """An observer of the position."""
    cell = rtrl.ODECell(field, jnp.zeros(2), time_step=INTERVAL, solver=diffrax.Tsit5())
    return rtrl.Model(rtrl.ObserverCell(cell, first, gain), eqx.nn.Identity())


def untaught(key: PRNGKeyArray) -> rtrl.Model:
    """The right equations with wrong parameters, and a gain of no particular value."""
    return filter_with(InLogs(true_spring()).scattered(key, 0.7), jnp.array([[0.5], [0.0]]))


@eqx.filter_jit
def squared_innovations(models: rtrl.Model, streams: Stream) -> Float[Array, " networks"]:
    """Their mean on fresh streams, parameters frozen, after the first 100 steps."""

    def one(model: rtrl.Model, xs: Any, ys: Array) -> Array:
        return jnp.mean(jax.vmap(observed_error)(model.predictions(xs), ys)[100:])

    return eqx.filter_vmap(one)(models, *streams)
