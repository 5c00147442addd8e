"""Three systems of which a part is seen, rarely and through noise, and observers of them with wrong parameters."""

import functools
from collections.abc import Callable
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PRNGKeyArray

import rtrl
from artifact.comparison import ModelOf
from rtrl.tasks import FitzHughNagumo, InLogs, LotkaVolterra, Pendulum, observed, simulated

NOISE = 0.1
"""Standard deviation of what is observed."""

SPREAD = 0.4
"""Observers begin with parameters that are wrong by a factor between the exponentials of minus this and this."""


def jumping(key: PRNGKeyArray, count: int) -> Float[Array, " time"]:
    """A current that jumps to a new value between 0 and 1 every 50 steps on average."""
    when, where = jax.random.split(key)
    jumps = jax.random.bernoulli(when, 0.02, (count,))
    values = jax.random.uniform(where, (count,))

    def step(u: Array, jv: tuple) -> tuple[Array, Array]:
        new = jnp.where(jv[0], jv[1], u)
        return new, new

    return jax.lax.scan(step, values[0], (jumps, values))[1]


def first(h: Float[Array, " n"]) -> Float[Array, "1"]:
    """What is observed of a state."""
    return h[:1]


SYSTEMS: dict[str, tuple[Any, Array, float, Callable[[PRNGKeyArray, int], Array]]] = {
    "FitzHugh–Nagumo": (FitzHughNagumo(), jnp.array([-1.0, -0.5]), 0.5, jumping),
    "Lotka–Volterra": (LotkaVolterra(), jnp.array([1.0, 0.5]), 0.25, lambda key, count: jnp.zeros(count)),
    "pendulum": (Pendulum(), jnp.zeros(2), 0.5, lambda key, count: 0.5 * jax.random.normal(key, (count,))),
}
"""The true vector field, the initial state, the time between two steps, and what drives it."""


@functools.cache
def student(system: str) -> ModelOf:
    """From a key to an observer with wrong parameters."""
    truth, initial, interval, _ = SYSTEMS[system]

    def model_of(key: PRNGKeyArray) -> rtrl.Model:
        field = InLogs(truth).scattered(key, SPREAD)
        cell = rtrl.ODECell(field, initial, time_step=interval, solver=diffrax.Tsit5(), example_args=jnp.zeros(()))
        return rtrl.Model(rtrl.ObserverCell(cell, first, jnp.array([[0.3], [0.0]])), eqx.nn.Identity())

    return model_of


@functools.partial(jax.jit, static_argnums=(0, 1))
def paths(
    system: str, steps: int, keys: Key[Array, " networks"]
) -> tuple[Float[Array, "networks time"], Float[Array, "networks time n"]]:
    """What drives a system, and its states, for each key."""
    truth, initial, interval, drive = SYSTEMS[system]

    def one(key: PRNGKeyArray) -> tuple[Array, Array]:
        pushes = drive(key, steps)
        return pushes, simulated(truth, initial, pushes, time_step=interval)

    return jax.vmap(one)(keys)


def seen(
    keys: Key[Array, " networks"],
    states: Float[Array, "networks time n"],
    observe: Callable,
    noise: float,
    spacing: int = 1,
) -> tuple[Float[Array, "networks time m"], Float[Array, "networks time m"]]:
    """Observations of one step before, and those of now."""
    return jax.vmap(lambda key, path: observed(key, path, observe, noise, spacing))(keys, states)
