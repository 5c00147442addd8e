"""The Lorenz system with noise in proportion to its state."""

import functools

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Key, PRNGKeyArray

import rtrl
from artifact.comparison import Stream
from rtrl.tasks import InLogs, Lorenz, observed

INTERVAL, BLUR = 0.02, 0.5
"""Time between observations, and their standard deviation."""


def noisy_cell(time_step: float, substeps: int = 1) -> rtrl.SDECell:
    """The true system, solved by Euler's scheme."""
    noise = lambda t, y, args: jnp.array([0.1, 0.28, 0.3]) * y  # noqa: E731
    start = jnp.array([1.0, 1.0, 20.0])
    return rtrl.SDECell(Lorenz(), noise, start, time_step=time_step, solver=diffrax.Euler(), substeps=substeps)


@functools.partial(jax.jit, static_argnums=1)
def lorenz_streams(keys: Key[Array, " networks"], steps: int) -> Stream:
    """All three variables, seen through noise."""

    def one(key: PRNGKeyArray) -> tuple:
        noise_key, blur_key = jax.random.split(key)
        cell = noisy_cell(INTERVAL, 10)
        path = rtrl.Model(cell, eqx.nn.Identity()).predictions((cell.increments(noise_key, steps), None))
        before, ys = observed(blur_key, path, eqx.nn.Identity(), BLUR)
        return (before, None), ys

    return jax.vmap(one)(keys)


@jax.jit
@jax.vmap
def free_influence(key: PRNGKeyArray) -> Float[Array, " time"]:
    """The logarithm of ‖J‖ along a free path, every step of 0.002. Vmapped."""
    cell = noisy_cell(0.002)

    def step(carry: tuple, w: Array) -> tuple:
        state, _, influence = rtrl.RTRL().step(cell, carry[0], (w, None), carry[1])
        return (state, influence), jnp.log(optax.global_norm(influence))

    start = cell.initial_state(), rtrl.RTRL().init(cell, cell.initial_state())
    return jax.lax.scan(step, start, cell.increments(key, 10000))[1]


def stochastic_student(key: PRNGKeyArray) -> rtrl.Model:
    """An observer with wrong parameters and a gain to be learned."""
    cell = rtrl.ODECell(
        InLogs(Lorenz()).scattered(key, 0.3), jnp.array([1.0, 1.0, 20.0]), time_step=INTERVAL, solver=diffrax.Tsit5()
    )
    return rtrl.Model(rtrl.ObserverCell(cell, eqx.nn.Identity(), 0.5 * jnp.eye(3)), eqx.nn.Identity())
