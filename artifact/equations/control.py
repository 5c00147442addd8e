"""A linear-quadratic control problem in continuous time: its Riccati solution, and a policy that learns along paths."""

from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PRNGKeyArray, PyTree
from scipy.linalg import solve_discrete_are, solve_discrete_lyapunov

import rtrl

UNSTABLE, LEVER = np.array([[0.0, 1.0], [0.5, -0.2]]), np.array([[0.0], [1.0]])
STATE_COST, EFFORT_COST, KICKS = np.diag([1.0, 0.2]), np.array([[0.1]]), np.array([0.1, 0.5])
TICK = 0.05
"""Of dh = (Ah + Bu) dt + G dW: A and B; Q and R of the cost, the diagonal of G; and the time step."""

FIRST_GAIN = np.array([[2.0, 1.0]])
"""Before learning; it stabilises."""

DISCRETE, PUSH = np.eye(2) + TICK * UNSTABLE, TICK * LEVER


def riccati_gain() -> Float[np.ndarray, "1 2"]:
    """The optimal feedback of the discretised system."""
    value = solve_discrete_are(DISCRETE, PUSH, STATE_COST, EFFORT_COST)
    return np.linalg.solve(EFFORT_COST + PUSH.T @ value @ PUSH, PUSH.T @ value @ DISCRETE)


def long_run_cost(gain: Float[np.ndarray, "1 2"]) -> float:
    """E[hᵀQh + uᵀRu] in stationarity, infinite if the feedback does not stabilise."""
    closed = DISCRETE - PUSH @ gain
    if not np.isfinite(closed).all() or np.abs(np.linalg.eigvals(closed)).max() >= 1:
        return np.inf
    return np.trace(
        (STATE_COST + gain.T @ EFFORT_COST @ gain) @ solve_discrete_lyapunov(closed, TICK * np.diag(KICKS**2))
    )


class Feedback(eqx.Module):
    """The drift under u = -K h."""

    gain: jax.Array

    def policy(self, y: Float[Array, "2"]) -> Float[Array, "1"]:
        return -self.gain @ y

    def __call__(self, t: PyTree, y: Float[Array, "2"], args: PyTree) -> Float[Array, "2"]:
        return jnp.asarray(UNSTABLE, y.dtype) @ y + jnp.asarray(LEVER, y.dtype) @ self.policy(y)


class Controlled(rtrl.AbstractCell):
    """A controlled SDE, whose output is the state and what the policy does there."""

    cell: rtrl.SDECell

    def __call__(self, h: Array, x: PyTree) -> Array:
        return self.cell(h, x)

    def initial_state(self) -> Array:
        return self.cell.initial_state()

    def output(self, h: Array, x: PyTree) -> tuple[Array, Array]:
        return h, self.cell.drift.policy(h)

    def example_input(self) -> PyTree:
        return self.cell.example_input()


def cost(output: tuple[Array, Array], _: Array) -> Array:
    """hᵀQh + uᵀRu of one step."""
    (h, u), q, r = output, jnp.asarray(STATE_COST, output[0].dtype), EFFORT_COST[0, 0]
    return h @ q @ h + r * u @ u


def controlled() -> rtrl.Model:
    """The system under the first gain."""
    drift = Feedback(jnp.array(FIRST_GAIN))
    cell = rtrl.SDECell(
        drift, lambda t, y, args: jnp.asarray(KICKS, y.dtype), jnp.zeros(2), time_step=TICK, solver=diffrax.Euler()
    )
    return rtrl.Model(Controlled(cell), eqx.nn.Identity())


def learned_gain(estimator: rtrl.AbstractEstimator, steps: int, key: PRNGKeyArray) -> Float[Array, "20 1 2"]:
    """The gain along so many steps of ten paths at once, at twenty times."""
    learner = rtrl.Learner(cost, estimator, optax.adam(optax.cosine_decay_schedule(0.01, steps)))
    model: Any = controlled()
    noise = jax.vmap(lambda k: model.cell.cell.increments(k, steps), out_axes=1)(jax.random.split(key, 10))
    arrays, static = eqx.partition(learner.init(model, batch_size=10), eqx.is_array)

    def block(arrays: PyTree, noise: Array) -> tuple[PyTree, Array]:
        state, _ = learner.run(eqx.combine(arrays, static), (noise, None), jnp.zeros(noise.shape[:2]))
        return eqx.filter(state, eqx.is_array), state.model.cell.cell.drift.gain

    return jax.lax.scan(block, arrays, noise.reshape(20, steps // 20, *noise.shape[1:]))[1]
