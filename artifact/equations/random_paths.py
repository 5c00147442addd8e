"""The influence of a random path where it is known: geometric Brownian motion, and the Ornstein-Uhlenbeck process."""

from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Array, Float, Key

import rtrl
from rtrl.continuous import SensitivityTerm, no_sensitivity

MU, SIGMA = 0.4, 0.7
"""Of dh = μ h dt + σ h dW, from 1."""


class Growth(eqx.Module):
    """A rate times the state: the drift, or the noise, of geometric Brownian motion."""

    rate: jax.Array

    def __call__(self, t: Any, y: Float[Array, " n"], args: Any) -> Float[Array, " n"]:
        return self.rate * y


def known_influence(brownian: Float[np.ndarray, " paths"]) -> Float[np.ndarray, "paths 2"]:
    """The dh/dμ and dh/dσ at time 1, from W there."""
    at_one = np.exp(MU - SIGMA**2 / 2 + SIGMA * brownian)
    return np.stack([at_one, (brownian - SIGMA) * at_one], axis=1)


def through_the_cell(solver: Any, w: Float[Array, " steps"]) -> Float[Array, "2"]:
    """The same two by RTRL through an `SDECell`, from the increments of W."""
    cell: Any = rtrl.SDECell(
        Growth(jnp.array(MU)), Growth(jnp.array(SIGMA)), jnp.ones(1), time_step=1.0, solver=solver, substeps=len(w)
    )
    gradient = rtrl.RTRL().step(cell, jnp.ones(1), (w[:, None], None), rtrl.RTRL().init(cell, jnp.ones(1)))[1](
        jnp.ones(1)
    )
    return jnp.stack([gradient.drift.rate, gradient.diffusion.rate])


def through_the_equation(solver: Any, w: Float[Array, " steps"]) -> Float[Array, "2"]:
    """The same two by the joint SDE of state and sensitivity."""
    model = Growth(jnp.array(MU)), Growth(jnp.array(SIGMA))
    path = diffrax.LinearInterpolation(jnp.linspace(0, 1, len(w) + 1), jnp.append(0, w.cumsum()))
    term = SensitivityTerm(model, lambda m: diffrax.MultiTerm(diffrax.ODETerm(m[0]), diffrax.ControlTerm(m[1], path)))

    def step(y: Any, i: Array) -> tuple:
        return solver.step(term, i / len(w), (i + 1) / len(w), y, None, None, made_jump=False)[0], None

    (_, j), _ = jax.lax.scan(step, (jnp.ones(1), no_sensitivity(model, jnp.ones(1))), jnp.arange(len(w)))
    return jnp.stack([j[0].rate[0], j[1].rate[0]])


class Reverting(eqx.Module):
    """The drift of the Ornstein-Uhlenbeck process."""

    mean: jax.Array
    rate: jax.Array

    def __call__(self, t: Any, y: Float[Array, " n"], args: Any) -> Float[Array, " n"]:
        return self.rate * (self.mean - y)


class Constant(eqx.Module):
    """Noise of constant strength, trained through its logarithm."""

    log: jax.Array

    def __call__(self, t: Any, y: Float[Array, " n"], args: Any) -> Float[Array, " n"]:
        return jnp.exp(self.log) * jnp.ones_like(y)


THETA, KAPPA, STRENGTH, STEP, LAG = 0.5, 1.5, 0.6, 0.02, 20
"""Of dh = κ(θ - h) dt + σ dW: θ, κ, σ, Euler's step, and the lag of the autocovariance in steps."""


def reverting_cell() -> rtrl.SDECell:
    """The process as a cell."""
    return rtrl.SDECell(
        Reverting(jnp.array(THETA), jnp.array(KAPPA)),
        Constant(jnp.log(STRENGTH)),
        jnp.zeros(1),
        time_step=STEP,
        solver=diffrax.Euler(),
    )


def path_and_influence(keys: Key[Array, " paths"]) -> Float[Array, "paths 2 3"]:
    """The state, dh/dκ and dh/dσ at the last of 300 steps, and `LAG` steps before."""
    cell: Any = reverting_cell()

    def step(carry: tuple, w: Array) -> tuple:
        state, pullback, memory = rtrl.RTRL().step(cell, carry[0], (w, None), carry[1])
        gradient = pullback(jnp.ones(1))
        return (state, memory), jnp.stack([state[0], gradient.drift.rate, gradient.diffusion.log / STRENGTH])

    @jax.jit
    @jax.vmap
    def one(key: Array) -> Array:
        start = cell.initial_state(), rtrl.RTRL().init(cell, cell.initial_state())
        return jax.lax.scan(step, start, cell.increments(key, 300))[1][jnp.array([-1 - LAG, -1])]

    return one(keys)


def closed_forms(paths: Float[np.ndarray, "paths 2 3"]) -> pd.DataFrame:
    """Moments of Euler's scheme and their derivatives: in closed form, and from paths with their standard errors."""
    h, by_kappa, by_sigma = np.moveaxis(paths, 2, 0)
    a, now, before = 1 - KAPPA * STEP, (h - THETA)[:, 1], (h - THETA)[:, 0]
    v, decay = STRENGTH**2 * STEP / (1 - a**2), a**LAG  # which tend to σ²/2κ and exp(-κ s) as the step falls
    by_rate = -2 * a * STEP * v / (1 - a**2)  # dv/dκ
    crossed = lambda j: j[:, 1] * before + now * j[:, 0]  # noqa: E731
    rows = {
        "mean": (h[:, 1], THETA),
        "variance v": (now**2, v),
        "autocovariance c": (now * before, v * decay),
        "dv/dκ": (2 * now * by_kappa[:, 1], by_rate),
        "dv/dσ": (2 * now * by_sigma[:, 1], 2 * v / STRENGTH),
        "dc/dκ": (crossed(by_kappa), by_rate * decay - v * LAG * STEP * a ** (LAG - 1)),
        "dc/dσ": (crossed(by_sigma), 2 * v * decay / STRENGTH),
    }
    measured = {name: (value, s.mean(), s.std() / len(s) ** 0.5) for name, (s, value) in rows.items()}
    return pd.DataFrame(measured, ["closed form", "measured", "standard error"]).T
