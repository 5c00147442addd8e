"""The Lorenz system and models that follow it: free, damped, reset or corrected."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Key, PRNGKeyArray, PyTree

import rtrl
from rtrl.tasks import InLogs, Lorenz, simulated

INTERVAL = 0.05
"""Time between two steps."""


class Damped(rtrl.AbstractCell):
    """The same cell, through which derivatives pass only in part: J ← keep D J + I."""

    cell: rtrl.AbstractCell
    keep: rtrl.Frozen

    def __call__(self, h: Array, x: PyTree) -> Array:
        keep = self.keep.value
        return self.cell(keep * h + (1 - keep) * jax.lax.stop_gradient(h), x)

    def initial_state(self) -> Array:
        return self.cell.initial_state()


def chaotic_model(field: InLogs, start: Array, gain: Array | rtrl.Frozen, keep: Array) -> rtrl.Model:
    """An observer of all three variables whose derivatives are damped."""
    cell = rtrl.ODECell(field, start, time_step=INTERVAL, solver=diffrax.Tsit5(), substeps=2)
    observer = rtrl.ObserverCell(cell, eqx.nn.Identity(), gain)
    return rtrl.Model(Damped(observer, rtrl.Frozen(keep)), eqx.nn.Identity())


def chaotic_student(gain: float, keep: Array, key: PRNGKeyArray) -> rtrl.Model:
    """`gain` 1 for resets, 0.3 for an observer that learns its gain."""
    matrix = rtrl.Frozen(jnp.eye(3)) if gain == 1 else gain * jnp.eye(3)
    return chaotic_model(InLogs(Lorenz()).scattered(key, 0.2), jnp.array([1.0, 1.0, 20.0]), matrix, keep)


@eqx.filter_vmap
def true_model(start: Float[Array, "3"]) -> rtrl.Model:
    """The true parameters, undamped. Vmapped."""
    return chaotic_model(InLogs(Lorenz()), start, 0.3 * jnp.eye(3), jnp.ones(()))


def chaotic_paths(keys: Key[Array, " networks"], steps: int) -> Float[Array, "networks time 3"]:
    """On the attractor, one path for each key."""

    @jax.jit
    @jax.vmap
    def one(key: PRNGKeyArray) -> Array:
        start = jnp.array([1.0, 1.0, 20.0]) + jax.random.normal(key, (3,))
        return simulated(Lorenz(), start, jnp.zeros(steps + 400), time_step=INTERVAL)[400:]

    return one(keys)


@eqx.filter_jit
@eqx.filter_vmap
def influence_norms(model: rtrl.Model, xs: PyTree) -> Float[Array, " time"]:
    """‖J‖ along a stream. Vmapped."""

    def step(carry: tuple, x: PyTree) -> tuple:
        state, _, influence = rtrl.RTRL().step(model.cell, carry[0], x, carry[1])
        return (state, influence), optax.global_norm(influence)

    start = model.cell.initial_state(), rtrl.RTRL().init(model.cell, model.cell.initial_state())
    return jax.lax.scan(step, start, xs)[1]
