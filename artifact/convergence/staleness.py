"""What older parameters leave in state and influence when a network learns online."""

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, PRNGKeyArray

import rtrl
from artifact.convergence.forgetting import influence
from artifact.convergence.ring import Stream, squared_error, student


def staleness(key: PRNGKeyArray, rate: Array, stream: Stream, steps: int = 1000) -> tuple[Array, Array]:
    """Relative error of J, and distance of h, against the same past at the parameters of now.

    The network learns at a constant rate for some steps; then, frozen, it reads the same stream from the start.
    """
    model_key, stream_key = jax.random.split(key)
    xs, ys = stream(stream_key, steps)
    now = rtrl.Learner(squared_error, rtrl.RTRL(block_size=None), optax.sgd(rate))
    state, _ = now.run(now.init(student(model_key)), xs, ys)
    again = rtrl.Learner(squared_error, rtrl.RTRL(block_size=None), optax.sgd(0.0))
    ideal, _ = again.run(again.init(state.model), xs, ys)
    units = state.stream.cell.size

    def matrix(stream):
        _, pullback, _ = rtrl.RTRL(block_size=None).step(state.model.cell, stream.cell, xs[-1], stream.memory)
        return influence(pullback, units)

    ours, ideally = matrix(state.stream), matrix(ideal.stream)
    error = jnp.linalg.norm(ours - ideally) / jnp.linalg.norm(ideally)
    return error, jnp.linalg.norm(state.stream.cell - ideal.stream.cell)
