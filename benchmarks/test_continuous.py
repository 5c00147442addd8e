"""Time per step of neural ODEs and SDEs: exact RTRL beside hand-written JAX, ForwardMode and the adjoint."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import optax
import pytest
from cases import squared_error

import rtrl

STEPS, TIME_STEP, INPUTS, RATE = 500, 0.1, 2, 1e-4
PERCEPTRON, LEAKY = ("perceptron", 8, 32, 4), [("leaky", n, 0, 1) for n in (16, 32, 64)]
"""Vector field, numbers of state, hidden units, substeps; `leaky` is a CTRNN."""


class Leaky(eqx.Module):
    """A CTRNN whose time constants are 1."""

    recurrent: eqx.nn.Linear
    inputs: eqx.nn.Linear

    def __init__(self, n, key):
        self.recurrent = eqx.nn.Linear(n, n, key=key)
        self.inputs = eqx.nn.Linear(INPUTS, n, use_bias=False, key=key)

    def __call__(self, t, y, x):
        return jnp.tanh(self.recurrent(y) + self.inputs(x)) - y


class Perceptron(eqx.Module):
    """One hidden layer."""

    mlp: eqx.nn.MLP

    def __init__(self, n, hidden, key):
        self.mlp = eqx.nn.MLP(n + INPUTS, n, hidden, 1, jnp.tanh, key=key)

    def __call__(self, t, y, x):
        return self.mlp(jnp.concatenate([y, x]))


def field_of(kind, n, hidden):
    key = jax.random.key(0)
    return Leaky(n, key) if kind == "leaky" else Perceptron(n, hidden, key)


def stream(n):
    return jax.random.normal(jax.random.key(2), (STEPS, INPUTS)), jnp.zeros((STEPS, 1))


def readout_of(n):
    return eqx.nn.Linear(n, 1, key=jax.random.key(1))


def by_package(cell, n, xs, ys):
    learner = rtrl.Learner(squared_error, rtrl.RTRL(), optax.sgd(RATE))
    state = learner.init(rtrl.Model(cell, readout_of(n)))
    return lambda: learner.run(state, xs, ys)[1].loss


def by_hand(step, jacobians, field, n, xs, ys):
    """The textbook recursion with an SGD update at every step, in plain JAX on flat parameters."""
    arrays, static = eqx.partition((field, readout_of(n)), eqx.is_inexact_array)
    of_field, unravel = jax.flatten_util.ravel_pytree(arrays[0])

    def flat_step(h, theta, x):
        return step(eqx.combine(unravel(theta), static[0]), h, x)

    def online(carry, xy):
        (h, J, theta, readout), (x, y) = carry, xy
        D, immediate = jacobians(lambda h, theta: flat_step(h, theta, x), h, theta)
        J, h = D @ J + immediate, flat_step(h, theta, x)
        score = lambda h, readout: squared_error(eqx.combine(readout, static[1])(h), y)  # noqa: E731
        loss, (v, g) = jax.value_and_grad(score, argnums=(0, 1))(h, readout)
        readout = jax.tree.map(lambda w, g: w - RATE * g, readout, g)
        return (h, J, theta - RATE * v @ J, readout), loss

    start = jnp.zeros(n), jnp.zeros((n, of_field.size)), of_field, arrays[1]
    return jax.jit(lambda: jax.lax.scan(online, start, (xs, ys))[1])


def reverse(step, h, theta):
    _, vjp = jax.vjp(step, h, theta)
    return jax.vmap(vjp)(jnp.eye(len(h)))


def forward(step, h, theta):
    return jax.jacfwd(step, argnums=(0, 1))(h, theta)


def heun(substeps):
    dt = TIME_STEP / substeps

    def step(field, h, x):
        for _ in range(substeps):
            k = field(0.0, h, x)
            h = h + 0.5 * dt * (k + field(0.0, h + dt * k, x))
        return h

    return step


def forward_mode(substeps):
    def step(field, h, x):
        return diffrax.diffeqsolve(
            diffrax.ODETerm(field), diffrax.Heun(), 0.0, TIME_STEP, TIME_STEP / substeps, h, x,
            adjoint=diffrax.ForwardMode(), max_steps=substeps + 1,
        ).ys[-1]  # fmt: skip

    return step


def measured(benchmark, cell, form, n, field, run):
    losses = jax.block_until_ready(run())
    benchmark.pedantic(lambda: jax.block_until_ready(run()), rounds=7)
    parameters = sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(field, eqx.is_inexact_array)))
    benchmark.extra_info |= {
        "case": f"{cell}-{form}-{n} ({parameters} parameters)", "cell": cell, "form": form, "n": n, "batch": 1,
        "layers": 1, "update_every": 1, "parameters": parameters, "trained": parameters, "steps": STEPS,
        "floor_us": None,
    }  # fmt: skip
    return losses


@pytest.mark.parametrize("case", [PERCEPTRON, *LEAKY], ids=lambda case: f"{case[0]}-{case[1]}")
@pytest.mark.parametrize("form", ["ODECell", "by hand", "ForwardMode"])
def test_an_ode_step(benchmark, case, form):
    (kind, n, hidden, substeps), (xs, ys) = case, stream(case[1])
    field = field_of(kind, n, hidden)
    runs = {
        "ODECell": lambda: by_package(
            rtrl.ODECell(field, jnp.zeros(n), time_step=TIME_STEP, substeps=substeps), n, xs, ys
        ),
        "by hand": lambda: by_hand(heun(substeps), reverse, field, n, xs, ys),
        "ForwardMode": lambda: by_hand(forward_mode(substeps), forward, field, n, xs, ys),
    }
    losses = measured(benchmark, f"ODE, {kind}", form, n, field, runs[form]())
    assert jnp.allclose(losses, runs["by hand"]()(), rtol=1e-3)


@pytest.mark.parametrize("form", ["SDECell", "by hand"])
def test_an_sde_step(benchmark, form):
    (_, n, hidden, _), (xs, ys) = PERCEPTRON, stream(8)
    field = field_of("perceptron", n, hidden)
    cell = rtrl.SDECell(field, lambda t, y, x: 0.1 * jnp.ones(n), jnp.zeros(n), time_step=TIME_STEP,
                        solver=diffrax.Euler(), example_args=jnp.zeros(INPUTS))  # fmt: skip
    inputs = cell.increments(jax.random.key(3), STEPS), xs

    def euler(field, h, x):
        increment, u = x
        return h + TIME_STEP * field(0.0, h, u) + 0.1 * increment[0]

    run = by_package(cell, n, inputs, ys) if form == "SDECell" else by_hand(euler, reverse, field, n, inputs, ys)
    losses = measured(benchmark, "SDE, perceptron", form, n, field, run)
    assert jnp.allclose(losses, by_hand(euler, reverse, field, n, inputs, ys)(), rtol=1e-3)


@pytest.mark.parametrize("hidden", [1, 8, 64, 512])
@pytest.mark.parametrize("form", ["forward", "adjoint"])
def test_a_gradient_of_a_whole_sequence(benchmark, form, hidden):
    """At frozen parameters: the influence carried forward, against the adjoint through the stored states."""
    n, (xs, ys) = 8, stream(8)
    field = field_of("perceptron", n, hidden)
    model = rtrl.Model(rtrl.ODECell(field, jnp.zeros(n), time_step=TIME_STEP), readout_of(n))
    estimator = rtrl.RTRL() if form == "forward" else rtrl.BPTT()
    gradient = eqx.filter_jit(lambda model: rtrl.sequence_gradient(estimator, model, squared_error, xs, ys))
    measured(benchmark, "ODE sequence", form, n, field, lambda: gradient(model))
