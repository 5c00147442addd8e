"""A teacher that changes while its student learns."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from rtrl._trained import join, split
from rtrl.model import Model


def drifting_mimic(
    key: PRNGKeyArray, teachers: tuple[Model, Model], mixture: Float[np.ndarray, " time"], noise: float
) -> tuple[Float[Array, "time m"], Float[Array, "time p"]]:
    r"""White noise, and the noisy answers of a teacher that turns into another one.

    $$x_t \sim \mathcal N(0, I), \quad \theta_t = (1 - w_t)\,\theta_A + w_t\,\theta_B, \quad
      y_t = \mathrm{teacher}_{\theta_t}(x_1, \dots, x_t) + \sigma \varepsilon_t$$

    `mixture` is w, between 0 and 1: a step for abrupt drift, a ramp for gradual, a square wave for recurring drift. Who
    knows θ_t has the least mean squared error, σ² in every output, whatever the drift; what a student has above it is
    its regret.

    **Raises:** `ValueError` if a weight is outside [0, 1] or the teachers differ in structure.
    """
    if not ((mixture >= 0) & (mixture <= 1)).all():
        raise ValueError(f"mixture: expected weights from 0 to 1, got from {mixture.min()} to {mixture.max()}")
    (first, static), (second, _) = map(split, teachers)
    if jax.tree.map(jnp.shape, first) != jax.tree.map(jnp.shape, second):
        raise ValueError("teachers: expected two models with parameters of the same shapes, got different ones")
    input_key, noise_key = jax.random.split(key)
    example = teachers[0].cell.example_input()
    xs = jax.random.normal(input_key, (len(mixture), *example.shape), example.dtype)

    def step(state, at):
        x, w = at
        model = join(jax.tree.map(lambda a, b: (1 - w) * a + w * b, first, second), static)
        state = model.cell(state, x)
        return state, model.predict(state, x)

    _, answers = jax.lax.scan(step, teachers[0].cell.initial_state(), (xs, jnp.asarray(mixture, xs.dtype)))
    return xs, answers + noise * jax.random.normal(noise_key, answers.shape, answers.dtype)
