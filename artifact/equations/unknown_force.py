"""A pendulum whose force is a network: the model, its streams, and how far the force is off."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

import rtrl
from artifact.equations.observed_systems import first
from rtrl.tasks import Pendulum, simulated


class Force(eqx.Module):
    """A pendulum under an unknown force, a network of (sin φ, cos φ, dφ/dt)."""

    mlp: eqx.nn.MLP

    def force(self, y: Float[Array, "2"]) -> Float[Array, ""]:
        return self.mlp(jnp.stack([jnp.sin(y[0]), jnp.cos(y[0]), y[1]]))

    def __call__(self, t: Any, y: Float[Array, "2"], push: Array) -> Float[Array, "2"]:
        return jnp.stack([y[1], self.force(y) + push])


def unknown_force(key: PRNGKeyArray, time_step: float | None = 0.5) -> rtrl.Model:
    """An observer with a network of 16 hidden units, untrained."""
    field = Force(eqx.nn.MLP(3, "scalar", 16, 1, jnp.tanh, key=key))
    example = jnp.zeros(())
    cell = rtrl.ODECell(field, jnp.zeros(2), time_step=time_step, substeps=2, example_args=example)
    return rtrl.Model(rtrl.ObserverCell(cell, first, jnp.full((2, 1), 0.5)), eqx.nn.Identity())


@jax.jit
@jax.vmap
def pendulum_paths(
    key: PRNGKeyArray, intervals: Float[Array, " time"]
) -> tuple[Float[Array, " time"], Float[Array, "time 2"]]:
    """Pushes, and the states after each interval. Vmapped."""
    pushes = 0.5 * jax.random.normal(key, intervals.shape)
    return pushes, simulated(Pendulum(), jnp.zeros(2), (intervals, pushes), time_step=None)


@eqx.filter_jit
@eqx.filter_vmap
def forces(model: Any, states: Float[Array, "points 2"]) -> Float[Array, " points"]:
    """The force of each model at each of its states. Vmapped."""
    return jax.vmap(model.cell.cell.vector_field.force)(states)


def force_errors(models: rtrl.Model, visited: Float[np.ndarray, "networks points 2"]) -> Float[np.ndarray, " networks"]:
    """In percent of the root mean square of the true force; 1000 percent for who has diverged."""
    true_force = -np.sin(visited[..., 0]) - 0.2 * visited[..., 1]
    errors = np.sqrt(((forces(models, visited) - true_force) ** 2).mean(axis=1) / (true_force**2).mean(axis=1))
    return 100 * np.nan_to_num(np.asarray(errors), nan=10.0)
