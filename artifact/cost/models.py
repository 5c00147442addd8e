"""The cells whose cost is measured, each with a linear readout, and the stream that they read."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray

import rtrl

INPUTS = 32
DENSE = {"Elman": rtrl.ElmanCell, "GRU": rtrl.GRUCell, "LSTM": rtrl.LSTMCell}
DIAGONAL = {"LRU": rtrl.LRUCell, "RTU": rtrl.RTUCell, "eLSTM": rtrl.ELSTMCell}


def perceptron(inputs: int, n: int, key: PRNGKeyArray) -> eqx.Partial:
    """A vector field with one hidden layer of 32 units."""
    layers = eqx.nn.MLP(n + inputs, n, 32, 1, jnp.tanh, key=key)
    return eqx.Partial(lambda layers, t, y, x: layers(jnp.concatenate([y, x])), layers)


def neural_ode(inputs: int, n: int, *, key: PRNGKeyArray) -> rtrl.ODECell:
    return rtrl.ODECell(perceptron(inputs, n, key), jnp.zeros(n), time_step=0.1, example_args=jnp.zeros(inputs))


def neural_sde(inputs: int, n: int, *, key: PRNGKeyArray) -> rtrl.SDECell:
    noise = eqx.Partial(lambda size, t, y, x: size, jnp.full(n, 0.1))
    field, solver = perceptron(inputs, n, key), diffrax.Euler()
    return rtrl.SDECell(field, noise, jnp.zeros(n), time_step=0.1, solver=solver, example_args=jnp.zeros(inputs))


CONTINUOUS = {"CTRNN": rtrl.CTRNNCell, "neural ODE": neural_ode, "neural SDE": neural_sde}


def make_model(cell: str, n: int, seed: int) -> rtrl.Model:
    """A cell of n units with a linear readout to one number."""
    cell_key, readout_key = jax.random.split(jax.random.key(seed))
    made = (DENSE | DIAGONAL | CONTINUOUS)[cell](INPUTS, n, key=cell_key)
    width = jax.eval_shape(lambda: made.output(made.initial_state(), made.example_input())).size
    return rtrl.Model(made, eqx.nn.Linear(width, 1, key=readout_key))


def make_stream(steps: int, seed: int, cell: rtrl.AbstractCell | None = None) -> tuple[Array | tuple, Array]:
    """White noise and zeros; a neural SDE's increments come with its inputs."""
    xs, ys = jax.random.normal(jax.random.key(seed + 1), (steps, INPUTS)), jnp.zeros((steps, 1))
    return ((cell.increments(jax.random.key(seed + 2), steps), xs) if isinstance(cell, rtrl.SDECell) else xs), ys
