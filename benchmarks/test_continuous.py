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


def measured(benchmark, cell, form, n, field, run, steps=STEPS):
    found = jax.block_until_ready(run())
    benchmark.pedantic(lambda: jax.block_until_ready(run()), rounds=7)
    parameters = sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(field, eqx.is_inexact_array)))
    benchmark.extra_info |= {
        "case": f"{cell}-{form}-{n} ({parameters} parameters)", "cell": cell, "form": form, "n": n, "batch": 1,
        "layers": 1, "update_every": 1, "parameters": parameters, "trained": parameters, "steps": steps,
        "floor_us": None,
    }  # fmt: skip
    return found


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


PATH_FORMS = ["RTRL", "BPTT", "ForwardMode", "checkpointed", "backsolve"]
PATH_SIZES = [(n, hidden) for n in (2, 8, 32) for hidden in (2, 8, 32, 128, 512) if hidden * (2 * n + 1) < 20_000]


class Narrow(eqx.Module):
    """One hidden layer that may have very few units: dy/dt = V tanh(W y + b) - y."""

    W: jax.Array
    b: jax.Array
    V: jax.Array

    def __init__(self, n, hidden, key):
        w_key, b_key, v_key = jax.random.split(key, 3)
        self.W, self.b = jax.random.normal(w_key, (hidden, n)) / n**0.5, jax.random.normal(b_key, (hidden,))
        self.V = jax.random.normal(v_key, (n, hidden)) / hidden

    def __call__(self, t, y, x):
        return self.V @ jnp.tanh(self.W @ y + self.b) - y


def summed_square(prediction, target):
    return jnp.sum(prediction**2)


def path_gradient(form, field, n, steps):
    """The gradient of the squared states along a path of so many Heun steps, at frozen parameters."""
    if form in ("RTRL", "BPTT"):
        model = rtrl.Model(rtrl.ODECell(field, jnp.ones(n), time_step=TIME_STEP), eqx.nn.Identity())
        estimator, nothing = getattr(rtrl, form)(), jnp.zeros(steps)
        return lambda: rtrl.sequence_gradient(estimator, model, summed_square, nothing, nothing)[1].cell.vector_field
    adjoint = {
        "ForwardMode": diffrax.ForwardMode(),
        "checkpointed": diffrax.RecursiveCheckpointAdjoint(),
        "backsolve": diffrax.BacksolveAdjoint(),
    }[form]
    flat, unravel = jax.flatten_util.ravel_pytree(field)

    def loss(flat):
        until = TIME_STEP * steps
        ts = diffrax.SaveAt(ts=jnp.linspace(0, until, steps + 1)[1:])
        return summed_square(diffrax.diffeqsolve(
            diffrax.ODETerm(unravel(flat)), diffrax.Heun(), 0.0, until, TIME_STEP, jnp.ones(n), saveat=ts,
            adjoint=adjoint, max_steps=steps + 2,
        ).ys, None)  # fmt: skip

    differentiate = jax.jit(jax.jacfwd(loss) if form == "ForwardMode" else jax.grad(loss))
    return lambda: unravel(differentiate(flat))


@pytest.mark.parametrize(("n", "hidden"), PATH_SIZES)
@pytest.mark.parametrize("form", PATH_FORMS)
def test_a_gradient_over_a_path(benchmark, form, n, hidden):
    steps, field = 200, Narrow(n, hidden, jax.random.key(0))
    if form == "ForwardMode" and hidden * (2 * n + 1) * n > 10_000:
        pytest.skip("one tangent for each parameter: seconds a gradient")
    gradient = path_gradient(form, field, n, steps)
    found = measured(benchmark, "ODE path", form, n, field, gradient, steps)
    if form != "backsolve":  # which solves the path backwards again, only nearly where it came from
        reference = path_gradient("RTRL" if form == "BPTT" else "BPTT", field, n, steps)()
        for one, other in zip(*map(jax.tree.leaves, (found, reference)), strict=True):
            assert jnp.allclose(one, other, rtol=1e-2, atol=1e-3 * jnp.abs(other).max())
