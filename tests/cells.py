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

    def output(self, state, x):
        return state["position"]

    def example_input(self):
        return jnp.zeros(INPUTS)


class ComplexCell(rtrl.AbstractCell):
    """A user's own cell of mixed dtypes, not holomorphic, with a frozen array of each kind."""

    rotation: Array
    drive: Array
    gain: Array
    mask: rtrl.Frozen
    order: rtrl.Frozen

    def __init__(self, key):
        a, b, c = jax.random.split(key, 3)
        self.rotation = 0.8 * jax.random.normal(a, (3,), complex)
        self.drive = jax.random.normal(b, (3, INPUTS), complex)
        self.gain = jax.random.normal(c, (3,))
        self.mask = rtrl.Frozen(jnp.array([1.0, 0.5, 1.0]))
        self.order = rtrl.Frozen(jnp.array([2, 0, 1]))

    def __call__(self, state, x):
        z, power = state
        turned = self.rotation * z * self.mask.value + self.drive @ x
        z = turned[self.order.value] / (1 + jnp.abs(turned) ** 2)
        return z, 0.9 * power + self.gain * jnp.real(z * jnp.conj(z))

    def initial_state(self):
        return jnp.zeros(3, complex), jnp.zeros(3)

    def output(self, state, x):
        return jnp.concatenate([state[0].real, state[0].imag, state[1]])

    def example_input(self):
        return jnp.zeros(INPUTS)


def stack(key, **options):
    """Layers of each kind, widths as a residual stream asks for."""
    a, b, c, d = jax.random.split(key, 4)
    layers = [
        rtrl.LRUCell(INPUTS, 4, key=a),
        rtrl.LSTMCell(INPUTS, INPUTS, key=b),
        rtrl.ELSTMCell(INPUTS, INPUTS, key=c),
    ]
    return rtrl.StackedCell(layers, key=d, **options)


CELLS = {
    "elman": lambda key: rtrl.ElmanCell(INPUTS, UNITS, key=key),
    "ctrnn": lambda key: rtrl.CTRNNCell(INPUTS, UNITS, key=key),
    "gru": lambda key: rtrl.GRUCell(INPUTS, UNITS, key=key),
    "lstm": lambda key: rtrl.LSTMCell(INPUTS, UNITS, key=key),
    "lru": lambda key: rtrl.LRUCell(INPUTS, UNITS, key=key, output_size=4),
    "rtu": lambda key: rtrl.RTUCell(INPUTS, UNITS, key=key),
    "nonlinear rtu": lambda key: rtrl.RTUCell(INPUTS, UNITS, key=key, nonlinear=True),
    "elstm": lambda key: rtrl.ELSTMCell(INPUTS, UNITS, key=key),
    "stack": stack,
    "deep residual stack": lambda key: stack(key, residual=True, normalise=True, mlp_width=6),
    "linear": lambda key: rtrl.ElmanCell(INPUTS, UNITS, key=key, activation=lambda a: a),
    "user": OscillatorCell,
    "complex": ComplexCell,
}
DENSE = ["elman", "ctrnn", "gru", "lstm", "linear"]
STACKS = ["stack", "deep residual stack"]


def forms(cell: str) -> list:
    """Every exact form of RTRL that serves a cell; block sizes that do not divide the streams of the tests."""
    sizes = [1, 4, 7] if cell in ("elman", "lstm") else [4] if cell in (*DENSE, *STACKS) else []
    return [rtrl.RTRL(block_size=None), *(rtrl.RTRL(block_size=size) for size in sizes)]


def one_step(estimator, cell, state, x, memory, v):
    """A step of the stream by forward and backward: the next state, the gradient for its cotangent, the next memory."""
    states, residual = estimator.forward(cell, state, jax.tree.map(lambda a: a[None], x), memory)
    gradient, _, memory = estimator.backward(cell, residual, jax.tree.map(lambda a: a[None], v))
    return jax.tree.map(lambda a: a[0], states), gradient, memory


def make_model(cell: str, seed: int = 0):
    """A model with a linear readout, weights large enough for the past to matter."""
    cell_key, readout_key = jax.random.split(jax.random.key(seed))
    made = CELLS[cell](cell_key)
    width = made.output(made.initial_state(), made.example_input()).size
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
