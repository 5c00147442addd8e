"""Cells and models that the tests share."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

import rtrl

INPUTS, UNITS, OUTPUTS = 3, 5, 2


class OscillatorCell(rtrl.AbstractCell):
    """A user's own cell: state and parameters are nested pytrees, one parameter is shared, one unused."""

    weights: dict[str, Array]
    shared: Array
    unused: Array

    def __init__(self, key):
        a, b, c = jax.random.split(key, 3)
        self.weights = {"position": jax.random.normal(a, (4, 4)) / 3, "input": jax.random.normal(b, (4, INPUTS))}
        self.shared = 0.3 * jax.random.normal(c, (4,))
        self.unused = jnp.ones(2)

    def __call__(self, state, x):
        position, (velocity,) = state["position"], state["rest"]
        force = jnp.tanh(self.weights["position"] @ position + self.weights["input"] @ x) * self.shared
        velocity = 0.9 * velocity + force - 0.1 * self.shared * position
        return {"position": position + 0.1 * velocity, "rest": (velocity,)}

    def initial_state(self):
        return {"position": jnp.ones(4), "rest": (jnp.zeros(4),)}

    def output(self, state):
        return state["position"]

    def example_input(self):
        return jnp.zeros(INPUTS)


CELLS = {
    "elman": lambda key: rtrl.ElmanCell(INPUTS, UNITS, key=key),
    "gru": lambda key: rtrl.GRUCell(INPUTS, UNITS, key=key),
    "linear": lambda key: rtrl.ElmanCell(INPUTS, UNITS, key=key, activation=lambda a: a),
    "user": OscillatorCell,
}


def make_model(cell: str, seed: int = 0):
    """A model with a linear readout, weights large enough for the past to matter."""
    cell_key, readout_key = jax.random.split(jax.random.key(seed))
    made = CELLS[cell](cell_key)
    width = made.output(made.initial_state()).size
    return rtrl.Model(made, eqx.nn.Linear(width, OUTPUTS, key=readout_key))


def make_stream(steps: int, seed: int = 1, batch: tuple[int, ...] = ()):
    """Inputs and (target, weight) pairs; the first half of the stream weighs nothing."""
    x_key, y_key = jax.random.split(jax.random.key(seed))
    xs = jax.random.normal(x_key, (steps, *batch, INPUTS))
    weights = jnp.broadcast_to((jnp.arange(steps) >= steps // 2).reshape(-1, *[1] * len(batch)), (steps, *batch))
    return xs, (jax.random.normal(y_key, (steps, *batch, OUTPUTS)), weights.astype(float))


def weighted_loss(prediction, target):
    """Squared error; losses of the second half see an influence that is not zero any more."""
    return target[1] * jnp.sum((prediction - target[0]) ** 2)
