"""Small models of every kind, as templates whose numbers are drawn anew for each example."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from oracles import is_frozen

import rtrl

INPUTS, UNITS, OUTPUTS, SYMBOLS = 2, 3, 2, 4


class OddDense(rtrl.AbstractDenseCell):
    """Two parts a unit, one recurrent and two input pre-activations, parameters (2, n), a trained initial state."""

    weight_hh: Array
    weight_ih: Array
    mix: Array
    begin: Array
    mask: None = None

    def __init__(self, key):
        a, b, c, d = jax.random.split(key, 4)
        self.weight_hh = jax.random.normal(a, (1, UNITS, UNITS)) / 2
        self.weight_ih = jax.random.normal(b, (2, UNITS, INPUTS))
        self.mix, self.begin = jax.random.normal(c, (2, UNITS)), jax.random.normal(d, (2, UNITS))

    def gate(self, h, recurrent, inputs):
        fast = jnp.sin(recurrent[0] + self.mix[0] * h["slow"] + inputs[0] * h["fast"])
        return {"fast": fast, "slow": 0.7 * h["slow"] + 0.3 * fast * jnp.tanh(inputs[1] + self.mix[1])}

    def initial_state(self):
        return {"fast": self.begin[0] * self.mix[1], "slow": jnp.tanh(self.begin[1])}

    def output(self, state, x):
        return state["fast"] + state["slow"] * x.sum()


class OddDiagonal(rtrl.AbstractDiagonalCell):
    """As odd, each unit by itself; the output has parameters that the state does not depend on."""

    weight_ih: Array
    mix: Array
    begin: Array
    out: Array
    output_fields = ("out",)

    def __init__(self, key):
        a, b, c, d = jax.random.split(key, 4)
        self.weight_ih = jax.random.normal(a, (2, UNITS, INPUTS))
        self.mix, self.begin = jax.random.normal(b, (3, UNITS)), jax.random.normal(c, (UNITS,))
        self.out = jax.random.normal(d, (UNITS, INPUTS))

    def gate(self, h, inputs):
        a, b = h
        turned = jnp.sin(self.mix[0] * a - self.mix[1] * b + inputs[0])
        return turned, 0.8 * b * jnp.cos(inputs[1]) + self.mix[2] * a**2 / (1 + a**2)

    def initial_state(self):
        return self.begin, self.begin * self.mix[1]

    def output(self, state, x):
        return state[0] * (self.out @ x) + state[1]


class Nested(rtrl.AbstractCell):
    """State and parameters are nested pytrees with a scalar; one parameter is shared, one unused, one begins."""

    weights: dict[str, Array]
    shared: Array
    unused: Array
    begin: Array

    def __init__(self, key):
        a, b, c, d = jax.random.split(key, 4)
        self.weights = {"h": jax.random.normal(a, (2, 2)), "x": jax.random.normal(b, (2, INPUTS))}
        self.shared, self.begin, self.unused = jax.random.normal(c, (2,)), jax.random.normal(d, ()), jnp.ones(2)

    def __call__(self, state, x):
        place, (speed, energy) = state["place"], state["rest"]
        force = jnp.tanh(self.weights["h"] @ place + self.weights["x"] @ x) * self.shared
        speed = 0.9 * speed + force - 0.1 * self.shared * place
        return {"place": place + 0.3 * speed, "rest": (speed, 0.5 * energy + jnp.sum(speed**2) * self.begin)}

    def initial_state(self):
        return {"place": jnp.full_like(self.shared, 0.5), "rest": (self.shared * self.begin, self.begin**2)}

    def output(self, state, x):
        return jnp.append(state["place"], state["rest"][1])

    def example_input(self):
        return jnp.zeros_like(self.weights["x"][0])


class Complex(rtrl.AbstractCell):
    """Complex and real numbers, not holomorphic, a frozen array of floats and one of integers."""

    rotation: Array
    drive: Array
    gain: Array
    scale: rtrl.Frozen
    order: rtrl.Frozen

    def __init__(self, key):
        a, b, c = jax.random.split(key, 3)
        self.rotation, self.gain = 0.8 * jax.random.normal(a, (2,), complex), jax.random.normal(c, (2,))
        self.drive = jax.random.normal(b, (2, INPUTS), complex)
        self.scale, self.order = rtrl.Frozen(jnp.array([1.0, 0.5])), rtrl.Frozen(jnp.array([1, 0]))

    def __call__(self, state, x):
        z, power = state
        turned = self.rotation * z * self.scale.value + self.drive @ x.astype(self.drive.dtype)
        z = turned[self.order.value] / (1 + turned.real**2 + turned.imag**2)
        return z, 0.9 * power + self.gain * jnp.real(z * jnp.conj(z))

    def initial_state(self):
        return self.rotation / 4, jnp.zeros_like(self.gain)

    def output(self, state, x):
        return jnp.concatenate([state[0].real, state[0].imag, state[1]])

    def example_input(self):
        return jnp.zeros(INPUTS, self.gain.dtype)


class Field(eqx.Module):
    """The right-hand side of a neural ordinary differential equation."""

    weight: Array
    drive: Array

    def __call__(self, t, y, args):
        return jnp.tanh(self.weight @ y + self.drive @ args) - y


def ode(key):
    a, b = jax.random.split(key)
    field = Field(jax.random.normal(a, (UNITS, UNITS)), jax.random.normal(b, (UNITS, INPUTS)))
    return rtrl.ODECell(field, 0.5 * jnp.ones(UNITS), time_step=0.5, example_args=jnp.zeros(INPUTS))


def stack(key, **options):
    a, b, c = jax.random.split(key, 3)
    layers = [rtrl.LRUCell(INPUTS, 2, key=a), rtrl.ElmanCell(INPUTS, INPUTS, key=b)]
    return rtrl.StackedCell(layers, key=c, **options)


def words(key):
    """Integers come in; layers without state stand below, between and above the cells."""
    a, b, c, d = jax.random.split(key, 4)
    cells = rtrl.GRUCell(INPUTS, UNITS, key=b), rtrl.ELSTMCell(UNITS, UNITS, key=c)
    embedding, linear = eqx.nn.Embedding(SYMBOLS, INPUTS, key=a), eqx.nn.Linear(UNITS, OUTPUTS, key=d)
    return rtrl.StackedCell([embedding, cells[0], eqx.nn.LayerNorm(UNITS), cells[1], linear])


def encoded(key):
    """A network without state at the bottom, a user's cells above it, with trained initial states."""
    a, b, c = jax.random.split(key, 3)
    mlp = eqx.nn.MLP(INPUTS, INPUTS, 3, depth=1, activation=jnp.tanh, key=a)
    return rtrl.StackedCell([mlp, OddDiagonal(b), rtrl.LSTMCell(UNITS, 2, key=c)], example=jnp.zeros(INPUTS))


def frozen(where, make):
    return lambda key: eqx.tree_at(where, make(key), replace_fn=rtrl.Frozen)


MASK = np.array([[1, 0, 1], [1, 0, 0], [0, 1, 1]], bool)

DENSE = {
    "elman": lambda key: rtrl.ElmanCell(INPUTS, UNITS, key=key),
    "ctrnn": lambda key: rtrl.CTRNNCell(INPUTS, UNITS, key=key),
    "gru": lambda key: rtrl.GRUCell(INPUTS, UNITS, key=key),
    "lstm": lambda key: rtrl.LSTMCell(INPUTS, UNITS, key=key),
    "masked lstm": lambda key: rtrl.LSTMCell(INPUTS, UNITS, key=key, mask=MASK),
    "frozen recurrent weights": frozen(lambda c: c.weight_hh, lambda key: rtrl.ElmanCell(INPUTS, UNITS, key=key)),
    "frozen bias": frozen(lambda c: c.bias_ih, lambda key: rtrl.GRUCell(INPUTS, UNITS, key=key)),
    "odd dense": OddDense,
}
DIAGONAL = {
    "lru": lambda key: rtrl.LRUCell(INPUTS, UNITS, key=key, output_size=2),
    "rtu": lambda key: rtrl.RTUCell(INPUTS, UNITS, key=key),
    "nonlinear rtu": lambda key: rtrl.RTUCell(INPUTS, UNITS, key=key, nonlinear=True),
    "elstm": lambda key: rtrl.ELSTMCell(INPUTS, UNITS, key=key),
    "odd diagonal": OddDiagonal,
    "frozen input weights": frozen(lambda c: c.weight_ih, lambda key: rtrl.ELSTMCell(INPUTS, UNITS, key=key)),
}
ARBITRARY = {"nested": Nested, "complex": Complex, "ode": ode}
STACKS = {
    "stack": stack,
    "deep residual stack": lambda key: stack(key, residual=True, normalise=True, mlp_width=3),
    "words": words,
    "encoded": encoded,
    "partly frozen stack": frozen(
        lambda c: (c.layers[1].weight_ih, c.norms[1].weight), lambda key: stack(key, normalise=True)
    ),
}
SHARED = {"shared": lambda key: rtrl.ElmanCell(INPUTS, UNITS, key=key), "tied words": lambda key: tied(key)}
KINDS = DENSE | DIAGONAL | ARBITRARY | STACKS | SHARED
INTEGERS = {"words", "tied words"}
COMPLEX = {"float64": "complex128", "float32": "complex64"}


def tied(key):
    a, b = jax.random.split(key)
    return rtrl.StackedCell([eqx.nn.Embedding(SYMBOLS, UNITS, key=a), rtrl.CTRNNCell(UNITS, UNITS, key=b)])


@functools.cache
def template(kind, dtype="float64"):
    """A model of this kind and dtype; where arrays are shared, as the `eqx.nn.Shared` that keeps them once."""
    cell = KINDS[kind](jax.random.key(0))
    seen = cell.output(cell.initial_state(), cell.example_input()).size
    model = rtrl.Model(cell, eqx.nn.Linear(seen, SYMBOLS if kind == "tied words" else OUTPUTS, key=jax.random.key(1)))
    if kind == "shared":
        readout = eqx.nn.Linear(UNITS, UNITS, key=jax.random.key(1))
        model = rtrl.Model(cell, readout)
        model = eqx.nn.Shared(model, lambda m: m.readout.weight, lambda m: m.cell.weight_hh[0])
    if kind == "tied words":
        model = eqx.nn.Shared(model, lambda m: m.readout.weight, lambda m: m.cell.layers[0].weight)

    def cast(leaf):
        return leaf.astype(
            {"float64": "complex128", "float32": "complex64"}[dtype] if jnp.iscomplexobj(leaf) else dtype
        )

    return jax.tree.map(lambda leaf: cast(leaf) if eqx.is_inexact_array(leaf) else leaf, model)


def halves(model):
    """The trained arrays, and the rest, without the package's own functions."""
    return eqx.partition(model, eqx.is_inexact_array, is_leaf=is_frozen)


def whole(params, rest):
    model = eqx.combine(params, rest, is_leaf=is_frozen)
    return model() if isinstance(model, eqx.nn.Shared) else model


def varied(kind, dtype, seed, scale):
    """A model with other numbers in the trained arrays."""
    params, rest = halves(template(kind, dtype))
    draw = np.random.default_rng(seed)

    def near(leaf):
        noise = draw.standard_normal(leaf.shape)
        if jnp.iscomplexobj(leaf):
            noise = noise + 1j * draw.standard_normal(leaf.shape)
        return jnp.asarray(np.asarray(leaf) + scale * noise, leaf.dtype)

    return eqx.combine(jax.tree.map(near, params), rest, is_leaf=is_frozen)


def stream(kind, dtype, seed, steps, scale=1.0, batch=()):
    """Inputs and targets."""
    draw = np.random.default_rng(seed + 1)
    xs = scale * draw.standard_normal((steps, *batch, INPUTS))
    width = {"shared": UNITS, "tied words": SYMBOLS}.get(kind, OUTPUTS)
    ys = draw.standard_normal((steps, *batch, width)).astype(dtype)
    if kind in INTEGERS:
        return draw.integers(0, SYMBOLS, (steps, *batch)), ys
    return xs.astype(dtype), ys
