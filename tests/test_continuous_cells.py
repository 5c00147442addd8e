"""Neural ODEs and SDEs as cells: against Diffrax's own solve, closed forms, and backpropagation through a loop."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from oracles import loop_loss

import rtrl
from rtrl._trained import trained

KEY = jax.random.key(0)
SOLVERS = [diffrax.Euler(), diffrax.Heun(), diffrax.Midpoint(), diffrax.Tsit5(), diffrax.Dopri5()]
STOCHASTIC = [diffrax.Euler(), diffrax.EulerHeun(), diffrax.Heun(), diffrax.ItoMilstein(), diffrax.ShARK(),
              diffrax.SPaRK()]  # fmt: skip


def name(value):
    return type(value).__name__


class Field(eqx.Module):
    """A small network that sees time, state and input."""

    mlp: eqx.nn.MLP

    def __init__(self, key, size=3):
        self.mlp = eqx.nn.MLP(size + 2, size, 5, 1, jnp.tanh, key=key)

    def __call__(self, t, y, args):
        return self.mlp(jnp.concatenate([y, args, jnp.reshape(t, 1)]))


class Noise(eqx.Module):
    scale: jax.Array
    columns: int | None = eqx.field(static=True)

    def __call__(self, t, y, args):
        diagonal = self.scale * (1.5 + jnp.sin(y))
        return diagonal if self.columns is None else jnp.outer(diagonal, jnp.cos(self.scale[: self.columns]))


def ode(**options):
    return rtrl.ODECell(Field(KEY), jnp.array([0.1, -0.2, 0.3]), example_args=jnp.zeros(1), **options)


def sde(solver, columns=None, **options):
    diffusion = Noise(jnp.array([0.2, 0.3, 0.4]), columns)
    return rtrl.SDECell(Field(KEY), diffusion, jnp.array([0.1, -0.2, 0.3]), time_step=0.3, solver=solver,
                        substeps=2, example_args=jnp.zeros(1), **options)  # fmt: skip


def with_readout(cell):
    return rtrl.Model(cell, eqx.nn.Linear(3, 1, key=jax.random.key(1)))


def loss(prediction, y):
    return jnp.sum((prediction - y) ** 2)


def stream(steps=12):
    return jax.random.normal(jax.random.key(2), (steps, 1)), jnp.sin(jnp.arange(float(steps)))[:, None]


def stream_for(cell, steps):
    """`stream`, with the noise that an SDE cell takes as input beside it."""
    xs, ys = stream(steps)
    return (cell.increments(KEY, steps), xs) if isinstance(cell, rtrl.SDECell) else xs, ys


def by_diffeqsolve(cell, xs, lengths):
    """The states, by Diffrax's diffeqsolve with as many equal steps, one observation after another."""
    state, states = cell.initial_state(), []
    for x, length in zip(xs, lengths, strict=True):
        times = jnp.linspace(0.0, length, cell.substeps + 1)
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(cell.vector_field), cell.solver, 0.0, length, None, state, x,
            stepsize_controller=diffrax.StepTo(times), adjoint=diffrax.RecursiveCheckpointAdjoint(),
        )  # fmt: skip
        state = solution.ys[-1]
        states.append(state)
    return jnp.stack(states)


def agree(one, other, rtol):
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * np.abs(b).max())


@pytest.mark.parametrize("solver", SOLVERS, ids=name)
def test_an_ode_cell_is_diffrax_s_solution_and_rtrl_its_reverse_mode(solver):
    model, (xs, ys) = with_readout(ode(time_step=0.4, solver=solver, substeps=3)), stream()

    def offline(model):
        states = by_diffeqsolve(model.cell, xs, np.full(len(xs), 0.4))
        return sum(loss(model.readout(h), y) for h, y in zip(states, ys, strict=True))

    value, expected = eqx.filter_value_and_grad(offline)(model)
    found_value, found = rtrl.sequence_gradient(rtrl.RTRL(), model, loss, xs, ys)
    np.testing.assert_allclose(found_value, value, rtol=1e-12)
    agree(
        eqx.filter(found.cell.vector_field, eqx.is_array), eqx.filter(expected.cell.vector_field, eqx.is_array), 1e-10
    )
    agree(found.readout, expected.readout, 1e-10)


def test_irregular_intervals_come_with_the_input():
    lengths = np.array([0.1, 0.7, 0.02, 1.3])
    xs = stream(4)[0]
    cell = ode(time_step=None, substeps=2)
    predictions = rtrl.Model(cell, eqx.nn.Identity()).predictions((jnp.asarray(lengths), xs))
    np.testing.assert_allclose(predictions, by_diffeqsolve(cell, xs, lengths), rtol=1e-12)


def oscillator(t, y, args):
    return jnp.stack([y[1], -y[0]])


class Decay(eqx.Module):
    rate: jax.Array

    def __call__(self, t, y, args):
        return -self.rate * y


@pytest.mark.parametrize("options", [{"substeps": 10}, {"controller": diffrax.PIDController(1e-9, 1e-9)}], ids=str)
def test_the_influence_of_a_linear_ode_has_its_closed_form(options):
    """h(t) = exp(-kt): dh/dk = -t exp(-kt); over irregular intervals."""
    cell = rtrl.ODECell(Decay(jnp.array(0.7)), jnp.ones(1), time_step=None, solver=diffrax.Tsit5(), **options)
    lengths = jnp.array([0.5, 0.1, 0.9])
    state, memory = cell.initial_state(), rtrl.RTRL().init(cell, cell.initial_state())

    @eqx.filter_jit
    def step(cell, state, length, memory):
        state, pullback, memory = rtrl.RTRL().step(cell, state, (length, None), memory)
        return state, pullback(jnp.ones(1)), memory

    for length, t in zip(lengths, np.cumsum(lengths), strict=True):
        state, gradient, memory = step(cell, state, length, memory)
        np.testing.assert_allclose(state, np.exp(-0.7 * t), rtol=1e-7)
        np.testing.assert_allclose(gradient.vector_field.rate, -t * np.exp(-0.7 * t), rtol=1e-6)


def test_a_plain_function_with_its_parameters_is_a_vector_field():
    """`equinox.Partial` carries the parameters of a function; they are trained like a module's."""
    decay = lambda rates, t, y, args: -rates["k"] * y  # noqa: E731
    cell = rtrl.ODECell(eqx.Partial(decay, {"k": jnp.array(0.7)}), jnp.ones(1), time_step=0.5, substeps=50)
    state, pullback, _ = rtrl.RTRL().step(cell, jnp.ones(1), None, rtrl.RTRL().init(cell, jnp.ones(1)))
    np.testing.assert_allclose(state, np.exp(-0.35), rtol=1e-4)
    np.testing.assert_allclose(pullback(jnp.ones(1)).vector_field.args[0]["k"], -0.5 * np.exp(-0.35), rtol=1e-4)


def test_the_error_of_each_solver_falls_with_its_order():
    def error(solver, substeps):
        cell = rtrl.ODECell(oscillator, jnp.array([1.0, 0.0]), time_step=1.0, solver=solver, substeps=substeps)
        return float(np.linalg.norm(cell(cell.initial_state(), None) - np.array([np.cos(1), -np.sin(1)])))

    for solver, order in ((diffrax.Euler(), 1), (diffrax.Heun(), 2), (diffrax.Midpoint(), 2), (diffrax.Tsit5(), 5)):
        assert np.log2(error(solver, 8) / error(solver, 16)) == pytest.approx(order, abs=0.25)


@pytest.mark.parametrize("estimator", [rtrl.RTRL(), rtrl.TBPTT(40)], ids=str)
@pytest.mark.parametrize(
    "make", [lambda: ode(time_step=0.3, substeps=2), lambda: sde(diffrax.EulerHeun())], ids=["ode", "sde"]
)
def test_exact_estimators_equal_bptt(make, estimator):
    model = with_readout(make())
    xs, ys = stream_for(model.cell, 20)
    _, expected = rtrl.sequence_gradient(rtrl.BPTT(), model, loss, xs, ys)
    _, found = rtrl.sequence_gradient(estimator, model, loss, xs, ys)
    agree(found, expected, 1e-10)


def test_stacks_of_continuous_cells_are_exact():
    above = rtrl.ODECell(lambda t, y, args: jnp.tanh(args[:2] - y), jnp.zeros(2), time_step=0.2,
                         example_args=jnp.zeros(3))  # fmt: skip
    stack = rtrl.StackedCell([ode(time_step=0.3, substeps=2), above])
    model, (xs, ys) = rtrl.Model(stack, eqx.nn.Linear(2, 1, key=jax.random.key(1))), stream(20)
    _, expected = rtrl.sequence_gradient(rtrl.BPTT(), model, loss, xs, ys)
    _, found = rtrl.sequence_gradient(rtrl.RTRL(), model, loss, xs, ys)
    agree(found, expected, 1e-10)


@pytest.mark.parametrize("make", [lambda: ode(time_step=0.3), lambda: sde(diffrax.SPaRK())], ids=["ode", "sde"])
def test_uoro_is_unbiased_on_continuous_cells(make):
    model = with_readout(make())
    xs, ys = stream_for(model.cell, 4)
    _, exact = rtrl.sequence_gradient(rtrl.RTRL(), model, loss, xs, ys)
    one = lambda key: rtrl.sequence_gradient(rtrl.UORO(), model, loss, xs, ys, key=key)[1]  # noqa: E731
    many = jax.vmap(one)(jax.random.split(KEY, 4096))
    for estimates, truth in zip(jax.tree.leaves(many), jax.tree.leaves(exact), strict=True):
        error = estimates.std(axis=0) / np.sqrt(4096)
        assert (np.abs(estimates.mean(axis=0) - truth) <= 4.5 * error + 1e-12).all()


@pytest.mark.parametrize("columns", [None, 1, 2])
@pytest.mark.parametrize("solver", STOCHASTIC, ids=name)
def test_an_sde_cell_follows_its_scheme_and_rtrl_is_its_gradient(solver, columns):
    if isinstance(solver, diffrax.ShARK):  # for additive noise
        cell = rtrl.SDECell(Field(KEY), lambda t, y, args: 0.3 * jnp.ones((3, columns or 3)), jnp.zeros(3),
                            time_step=0.3, solver=solver, substeps=2, example_args=jnp.zeros(1))  # fmt: skip
    else:
        cell = sde(solver, columns, commutative=True)
    model, (xs, ys) = with_readout(cell), stream_for(cell, 6)
    _, expected = rtrl.sequence_gradient(rtrl.BPTT(), model, loss, xs, ys)
    _, found = rtrl.sequence_gradient(rtrl.RTRL(), model, loss, xs, ys)
    agree(found, expected, 1e-10)


def by_hand(scheme, cell, ws, inputs):
    """Published schemes for diagonal noise, substep by substep."""
    y, dt = np.asarray(cell.initial_state()), cell.time_step / cell.substeps
    states = []
    for w_step, x in zip(ws, inputs, strict=True):
        for i, w in enumerate(w_step):
            f = lambda t, y, x=x: np.asarray(cell.drift(t, jnp.asarray(y), x))  # noqa: E731
            g = lambda y: np.asarray(cell.diffusion.scale) * (1.5 + np.sin(y))  # noqa: E731
            t, mu, sigma = i * dt, f(i * dt, y), g(y)
            if scheme == "Euler":
                y = y + mu * dt + sigma * w
            elif scheme == "ItoMilstein":
                slope = np.asarray(cell.diffusion.scale) * np.cos(y)
                y = y + mu * dt + sigma * w + 0.5 * sigma * slope * (w**2 - dt)
            elif scheme == "EulerHeun":
                y = y + mu * dt + 0.5 * (sigma + g(y + sigma * w)) * w
            else:
                ahead = y + mu * dt + sigma * w
                y = y + 0.5 * (mu + f(t + dt, ahead)) * dt + 0.5 * (sigma + g(ahead)) * w
        states.append(y)
    return np.array(states)


@pytest.mark.parametrize("scheme", ["Euler", "ItoMilstein", "EulerHeun", "Heun"])
def test_sde_schemes_are_the_published_ones(scheme):
    cell, (inputs, _) = sde(getattr(diffrax, scheme)()), stream(5)
    ws = np.asarray(cell.increments(KEY, 5))
    found = rtrl.Model(cell, eqx.nn.Identity()).predictions((ws, inputs))
    np.testing.assert_allclose(found, by_hand(scheme, cell, ws, inputs), rtol=1e-10)


class Reverting(eqx.Module):
    mean: jax.Array
    rate: jax.Array

    def __call__(self, t, y, args):
        return self.rate * (self.mean - y)


class Constant(eqx.Module):
    scale: jax.Array

    def __call__(self, t, y, args):
        return self.scale * jnp.ones_like(y)


class Growth(eqx.Module):
    rate: jax.Array

    def __call__(self, t, y, args):
        return self.rate * y


def test_an_ornstein_uhlenbeck_process_has_its_closed_forms():
    """Mean θ, variance σ²/2κ (to the scheme's order), and the influence dh/dθ = 1 - (1 - κ Δt)^n on every path."""
    cell = rtrl.SDECell(Reverting(jnp.array(2.0), jnp.array(1.5)), lambda t, y, args: 0.6 * jnp.ones(1), jnp.zeros(1),
                        time_step=0.02, solver=diffrax.Euler())  # fmt: skip
    ws = cell.increments(KEY, 100_000)
    path = np.asarray(rtrl.Model(cell, eqx.nn.Identity()).predictions((ws, None)))[1000:, 0]
    assert path.mean() == pytest.approx(2.0, abs=0.04)
    assert path.var() == pytest.approx(0.36 / (2 * 1.5) / (1 - 1.5 * 0.02 / 2), rel=0.08)
    state, memory = cell.initial_state(), rtrl.RTRL().init(cell, cell.initial_state())
    for n in range(1, 8):
        state, pullback, memory = rtrl.RTRL().step(cell, state, (ws[n], None), memory)
        np.testing.assert_allclose(pullback(jnp.ones(1)).drift.mean, 1 - (1 - 1.5 * 0.02) ** n, rtol=1e-12)


def test_stationary_moments_and_their_derivatives_have_their_closed_forms():
    """Of the scheme h' = a h + (1 - a) θ + σ W, a = 1 - κΔt: mean θ, variance v = σ²Δt / (1 - a²), autocovariance
    v aˢ, which tend to σ²/2κ and (σ²/2κ) exp(-κ s Δt); derivatives from E[h J] over particles, by the influence J.
    """
    theta, kappa, sigma, dt, lag, particles = 0.5, 1.5, 0.6, 0.1, 4, 40_000
    drift = Reverting(jnp.array(theta), jnp.array(kappa))
    cell = rtrl.SDECell(drift, Constant(jnp.array(sigma)), jnp.zeros(1), time_step=dt, solver=diffrax.Euler())

    def one(key):
        def step(carry, w):
            state, memory = carry
            state, pullback, memory = rtrl.RTRL().step(cell, state, (w, None), memory)
            gradient = pullback(jnp.ones(1))
            return (state, memory), (state[0], gradient.drift.rate, gradient.diffusion.scale)

        start = cell.initial_state(), rtrl.RTRL().init(cell, cell.initial_state())
        return jax.lax.scan(step, start, cell.increments(key, 80))[1]

    h, by_kappa, by_sigma = (np.asarray(a)[:, [-1 - lag, -1]] for a in jax.vmap(one)(jax.random.split(KEY, particles)))
    a = 1 - kappa * dt
    v, centred = sigma**2 * dt / (1 - a**2), h - theta
    slope = sigma**2 * dt / (1 - a**2) ** 2 * 2 * a * -dt  # dv/dκ
    crossed = lambda j: j[:, 1] * centred[:, 0] + centred[:, 1] * j[:, 0]  # noqa: E731
    expected = {
        "mean": (h[:, 1], theta),
        "variance": (centred[:, 1] ** 2, v),
        "autocovariance": (centred[:, 0] * centred[:, 1], v * a**lag),
        "dv/dkappa": (2 * centred[:, 1] * by_kappa[:, 1], slope),
        "dv/dsigma": (2 * centred[:, 1] * by_sigma[:, 1], 2 * v / sigma),
        "dc/dkappa": (crossed(by_kappa), slope * a**lag + v * lag * a ** (lag - 1) * -dt),
        "dc/dsigma": (crossed(by_sigma), 2 * v * a**lag / sigma),
    }
    for name, (samples, value) in expected.items():
        error = samples.std() / particles**0.5
        assert abs(samples.mean() - value) < 4 * error < 0.06 * abs(value), name
    assert v == pytest.approx(sigma**2 / (2 * kappa), rel=kappa * dt)
    assert v * a**lag == pytest.approx(sigma**2 / (2 * kappa) * np.exp(-kappa * lag * dt), rel=kappa * dt)


@pytest.mark.parametrize(("solver", "order"), [(diffrax.Euler(), 0.5), (diffrax.ItoMilstein(), 1.0)], ids=str)
def test_influences_of_geometric_brownian_motion_converge_with_the_strong_order(solver, order):
    """h(1) = exp(μ - σ²/2 + σW): dh/dμ = h, dh/dσ = (W - σ) h, on every path."""
    mu, sigma, paths = 0.4, 0.7, 2000
    fine = jax.random.normal(KEY, (paths, 128)) / 128**0.5
    w = fine.sum(axis=1)
    h = np.exp(mu - sigma**2 / 2 + sigma * w)
    exact = np.stack([h, h, (w - sigma) * h], axis=1)

    def error(steps):
        cell = rtrl.SDECell(Growth(jnp.array(mu)), Growth(jnp.array(sigma)), jnp.ones(1), time_step=1.0,
                            solver=solver, substeps=steps)  # fmt: skip

        def one(w):
            state, pullback, _ = rtrl.RTRL().step(
                cell, jnp.ones(1), (w[:, None], None), rtrl.RTRL().init(cell, jnp.ones(1))
            )
            gradient = pullback(jnp.ones(1))
            return jnp.stack([state[0], gradient.drift.rate, gradient.diffusion.rate])

        return np.abs(jax.vmap(one)(fine.reshape(paths, steps, -1).sum(axis=-1)) - exact).mean(axis=0)

    np.testing.assert_allclose(np.log2(error(32) / error(128)) / 2, order, atol=0.15)


def test_increments_have_the_moments_of_brownian_motion():
    w = np.asarray(sde(diffrax.EulerHeun(), columns=2).increments(KEY, 20_000))
    assert w.shape == (20_000, 2, 2)
    np.testing.assert_allclose(w.var(axis=0), 0.15, rtol=0.05)
    area = np.asarray(sde(diffrax.SPaRK()).increments(KEY, 20_000)[1])
    np.testing.assert_allclose(area.var(axis=0), 0.15 / 12, rtol=0.05)


def test_a_learner_finds_the_rate_of_a_decay():
    truth = rtrl.ODECell(Decay(jnp.array(0.5)), jnp.ones(1), time_step=0.1)
    ys = rtrl.Model(truth, eqx.nn.Identity()).predictions(jnp.zeros(30))
    learner = rtrl.Learner(loss, rtrl.RTRL(), optax.adam(0.005))
    model = rtrl.Model(rtrl.ODECell(Decay(jnp.array(1.5)), jnp.ones(1), time_step=0.1), eqx.nn.Identity())
    state = learner.init(model)
    for _ in range(100):
        state = eqx.tree_at(lambda s: s.stream, state, learner.init(state.model).stream)
        state, _ = learner.run(state, jnp.zeros(30), ys)
    assert float(state.model.cell.vector_field.rate) == pytest.approx(0.5, abs=0.02)


def test_a_single_step_without_inputs_has_its_closed_form():
    """Euler's step of y' = -r y: dh/dr = -0.1 h."""
    cell = rtrl.ODECell(Decay(jnp.array(0.5)), jnp.ones(1), time_step=0.1, solver=diffrax.Euler())
    for estimator in (rtrl.RTRL(), rtrl.TBPTT(1)):
        memory = estimator.init(cell, cell.initial_state())
        _, pullback, _ = estimator.step(cell, cell.initial_state(), None, memory)
        assert float(pullback(jnp.ones(1)).vector_field.rate) == pytest.approx(-0.1)


def test_decreasing_times_and_explosions_are_reported_with_the_last_good_state():
    learner = rtrl.Learner(loss, rtrl.RTRL(), optax.sgd(0.0), nonfinite="raise")
    state = learner.init(with_readout(ode(time_step=None)))
    xs, ys = stream(4)
    with pytest.raises(rtrl.NonFiniteError, match="at step 2") as error:
        learner.run(state, (jnp.array([0.1, 0.2, -0.1, 0.3]), xs), ys)
    assert jnp.isfinite(error.value.state.stream.cell).all()
    blow_up = rtrl.ODECell(lambda t, y, args: y**3, jnp.ones(3), time_step=1.0, substeps=2)
    state = learner.init(with_readout(blow_up))
    with pytest.raises(rtrl.NonFiniteError):
        learner.run(state, xs, ys)


PID = diffrax.PIDController(rtol=1e-6, atol=1e-9)


def cubic(k, t, y, args):
    """y' = -k y^3: y = y0 / sqrt(1 + 2 k y0^2 t), dy/dk = -y0^3 t / (1 + 2 k y0^2 t)^(3/2)."""
    return -k * y**3


def cubic_cell(**options):
    field = eqx.Partial(cubic, jnp.array(1.0))
    return rtrl.ODECell(field, jnp.array([2.0]), time_step=100.0, controller=PID, **options)


def step_and_rate(cell, state):
    """The state after a step, and its derivative by the rate, by RTRL."""
    state, pullback, _ = rtrl.RTRL().step(cell, state, None, rtrl.RTRL().init(cell, state))
    return state[0], pullback(jnp.ones(1)).vector_field.args[0]


@pytest.mark.parametrize(
    "options", [{"max_steps": 16**4}, {"solver": diffrax.Kvaerno3(), "max_steps": 4000}], ids=["Heun", "Kvaerno3"]
)
def test_with_enough_steps_an_adaptive_solution_has_its_closed_form(options):
    value, rate = eqx.filter_jit(step_and_rate)(cubic_cell(**options), jnp.array([2.0]))
    assert float(value) == pytest.approx(2 / 801**0.5, rel=1e-4)
    assert float(rate) == pytest.approx(-800 / 801**1.5, rel=1e-4)


@pytest.mark.parametrize(
    "options",
    [{}, {"adjoint": diffrax.DirectAdjoint(), "max_steps": 16}, {"solver": diffrax.Kvaerno3(), "max_steps": 5}],
    ids=["Heun", "DirectAdjoint", "Kvaerno3"],
)  # fmt: skip
def test_with_too_few_steps_a_state_and_its_derivative_are_nan_and_others_of_a_batch_right(options):
    cell = cubic_cell(**options)
    values, rates = jax.jit(jax.vmap(lambda y: step_and_rate(cell, y)))(jnp.array([[2.0], [1e-3]]))
    assert np.isnan([values[0], rates[0]]).all()
    t = 2 * 1e-6 * 100
    np.testing.assert_allclose([values[1], rates[1]], [1e-3 / (1 + t) ** 0.5, -1e-7 / (1 + t) ** 1.5], rtol=1e-5)
    model = rtrl.Model(cell, eqx.nn.Identity())
    learner = rtrl.Learner(loss, rtrl.RTRL(), optax.sgd(0.1))
    assert not learner.run(learner.init(model), jnp.zeros(2), jnp.zeros((2, 1)))[1].finite.any()


class Robertson(eqx.Module):
    """Robertson's chemical reactions."""

    rates: jax.Array

    def __call__(self, t, y, args):
        slow, fast, back = self.rates[0] * y[0], self.rates[1] * y[1] ** 2, self.rates[2] * y[1] * y[2]
        return jnp.stack([back - slow, slow - back - fast, fast])


RATES = jnp.array([0.04, 3e7, 1e4])
INTERVALS = jnp.array([0.4, 3.6, 36.0])
PUBLISHED = [  # the example in the documentation of LSODE (Hindmarsh 1983), at t = 0.4, 4, 40; its tolerance is 1e-4
    [9.851726e-1, 3.386406e-5, 1.479357e-2],
    [9.055142e-1, 2.240418e-5, 9.446344e-2],
    [7.158050e-1, 9.184616e-6, 2.841858e-1],
]
STIFF = {
    "Kvaerno5, adaptive": {"solver": diffrax.Kvaerno5(), "controller": diffrax.PIDController(rtol=1e-8, atol=1e-12)},
    "Kvaerno3, equal steps": {"solver": diffrax.Kvaerno3(), "substeps": 50},
    "ImplicitEuler, equal steps": {"solver": diffrax.ImplicitEuler(), "substeps": 400},
}


def robertson(rates, **options):
    start = jnp.array([1.0, 0.0, 0.0], rates.dtype)
    return rtrl.Model(rtrl.ODECell(Robertson(rates), start, time_step=None, **options), eqx.nn.Identity())


def scaled_loss(prediction, y):
    """Of three chemicals of very different amounts."""
    return jnp.sum((prediction * jnp.array([1.0, 1e5, 1.0]) - y) ** 2)


@pytest.mark.parametrize("dtype", [jnp.float64, jnp.float32], ids=["float64", "float32"])
@pytest.mark.parametrize(("name", "rtol"), list(zip(STIFF, [2e-4, 2e-3, 2e-2], strict=True)))
def test_a_stiff_equation_has_its_published_solution(name, rtol, dtype):
    model = robertson(RATES.astype(dtype), **STIFF[name])
    states = eqx.filter_jit(model.predictions)((INTERVALS.astype(dtype), None))
    assert states.dtype == dtype
    np.testing.assert_allclose(states, PUBLISHED, rtol=rtol)


@pytest.mark.parametrize("name", list(STIFF)[:2])
def test_rtrl_through_a_stiff_equation_is_the_derivative_of_the_discrete_solution(name):
    """By reverse mode through a plain loop, and by differences of the solutions at other rates."""
    model, ys = robertson(RATES, **STIFF[name]), jnp.array([[0.9, 3.0, 0.1], [0.8, 2.0, 0.2], [0.7, 1.0, 0.3]])
    inputs = INTERVALS, None
    total = jax.jit(lambda rates: loop_loss(robertson(rates, **STIFF[name]), scaled_loss, inputs, ys))
    value, found = rtrl.sequence_gradient(rtrl.RTRL(), model, scaled_loss, (INTERVALS, None), ys)
    found = found.cell.vector_field.rates
    np.testing.assert_allclose(value, total(RATES), rtol=1e-10)
    np.testing.assert_allclose(found, jax.grad(total)(RATES), rtol=1e-8)
    moved = lambda i, by: float(total(RATES.at[i].multiply(1 + by)))  # noqa: E731
    differences = [(moved(i, 1e-4) - moved(i, -1e-4)) / (2e-4 * RATES[i]) for i in range(3)]
    np.testing.assert_allclose(found, differences, rtol=1e-5)


def relaxation(k, t, y, args):
    return -k * (y - jnp.cos(3 * t + y[::-1]))


def test_implicit_steps_have_derivatives_of_both_kinds_and_orders():
    def total(rate):
        cell = rtrl.ODECell(eqx.Partial(relaxation, rate), jnp.array([1.0, 0.3]), time_step=0.5, substeps=2,
                            solver=diffrax.Kvaerno3())  # fmt: skip
        return jnp.sum(cell(cell.initial_state(), None) ** 2)

    gradient, forward = jax.jit(jax.grad(total)), jax.jit(jax.jacfwd(total))
    curvature = jax.jit(jax.grad(gradient))
    rate, by = jnp.array(30.0), 1e-3
    np.testing.assert_allclose(forward(rate), gradient(rate), rtol=1e-12)
    np.testing.assert_allclose(curvature(rate), (gradient(rate + by) - gradient(rate - by)) / (2 * by), rtol=1e-6)


def test_an_implicit_step_without_a_root_is_reported():
    """One step of backward Euler, y = 1 + y^2, has none."""
    cell = rtrl.ODECell(lambda t, y, args: y**2, jnp.ones(1), time_step=1.0, solver=diffrax.ImplicitEuler())
    assert np.isnan(cell(cell.initial_state(), None)).all()
    assert np.isnan(jax.grad(lambda y: cell(y, None)[0])(jnp.ones(1))).all()


FORWARD = {
    "equal steps": {"substeps": 2},
    "DirectAdjoint": {"controller": diffrax.PIDController(1e-3, 1e-6), "adjoint": diffrax.DirectAdjoint(),
                      "max_steps": 64},
}  # fmt: skip


@pytest.mark.parametrize("name", FORWARD)
def test_a_sketch_of_full_rank_is_exact_where_tangents_can_be_pushed_forward(name):
    model, (xs, ys) = with_readout(ode(time_step=0.3, solver=diffrax.Kvaerno3(), **FORWARD[name])), stream(3)
    _, expected = rtrl.sequence_gradient(rtrl.RTRL(), model, loss, xs, ys)
    _, found = rtrl.sequence_gradient(rtrl.SketchedRTRL(3), model, loss, xs, ys, key=KEY)
    agree(found, expected, 1e-9)


@pytest.mark.parametrize("estimator", [rtrl.UORO(), rtrl.SketchedRTRL(2)], ids=str)
@pytest.mark.parametrize("solver", [diffrax.Tsit5(), diffrax.Kvaerno3()], ids=name)
def test_tangents_that_cannot_be_pushed_forward_are_refused(estimator, solver):
    model, (xs, ys) = with_readout(ode(time_step=0.3, solver=solver, controller=PID)), stream(3)
    with pytest.raises(TypeError, match=r"^adjoint: expected DirectAdjoint\(\) .*, got RecursiveCheckpointAdjoint"):
        rtrl.sequence_gradient(estimator, model, loss, xs, ys, key=KEY)


def test_reverse_mode_passes_under_batches_and_loops():
    """What refuses tangents lets cotangents through, however the transformations are nested."""
    cell = rtrl.ODECell(Decay(jnp.array(0.7)), jnp.ones(1), time_step=0.5, solver=diffrax.Tsit5(), controller=PID)
    end = lambda y: jax.lax.scan(lambda y, _: (cell(y, None), None), y, None, length=2)[0].sum()  # noqa: E731
    ys = jnp.array([[1.0], [2.0]])
    batched = jax.jit(jax.vmap(jax.grad(end)))(ys)
    np.testing.assert_allclose(batched, np.full((2, 1), np.exp(-0.7)), rtol=1e-5)
    np.testing.assert_allclose(jax.jit(jax.grad(lambda ys: jax.vmap(end)(ys).sum()))(ys), batched, rtol=1e-12)


@pytest.mark.parametrize("options", [{}, {"controller": PID}, {"solver": diffrax.ImplicitEuler()}], ids=str)
def test_intervals_of_any_type_and_states_of_any_precision(options):
    """An integer Δt, float32 beside float64, no time at all, and time that runs backward."""
    cell = rtrl.ODECell(Decay(jnp.array(0.7)), jnp.ones(1), time_step=None, **options)
    step = jax.jit(lambda y, length: cell(y, (length, None)))
    y = cell.initial_state()
    np.testing.assert_array_equal(step(y, jnp.array(2)), step(y, 2.0))
    np.testing.assert_array_equal(step(y, 0.0), y)
    single = step(y.astype(jnp.float32), jnp.array(2.0))
    assert single.dtype == jnp.float32
    np.testing.assert_allclose(single, step(y, 2.0), rtol=1e-5)
    for length in (-1.0, jnp.nan):
        assert np.isnan(step(y, length)).all()
        assert np.isnan(jax.grad(lambda y, length=length: step(y, length)[0])(y)).all()


@pytest.mark.parametrize("initial", [np.array([1, 2]), jnp.array([1, 2]), np.array([1.0, 2.0])], ids=str)
def test_an_initial_state_becomes_floating(initial):
    for cell in (rtrl.ODECell(oscillator, initial, time_step=0.1),
                 rtrl.SDECell(oscillator, lambda t, y, args: y, initial, time_step=0.1)):  # fmt: skip
        state = cell.initial_state()
        assert isinstance(state, jax.Array)
        assert state.dtype == jnp.float64
        np.testing.assert_array_equal(state, [1.0, 2.0])


@pytest.mark.parametrize("train", [False, True])
def test_an_initial_state_is_trained_if_so_said(train):
    start, options = jnp.array([1.0, 2.0]), {"time_step": 0.1, "train_initial": train}
    for cell in (rtrl.ODECell(oscillator, start, **options),
                 rtrl.SDECell(oscillator, lambda t, y, args: y, start, **options)):  # fmt: skip
        gradient = eqx.filter_grad(lambda cell: jnp.sum(cell.initial_state() ** 2))(cell)
        np.testing.assert_array_equal(gradient.initial_state(), 2 * start)
        leaves = jax.tree.leaves(trained(cell))
        assert [leaf.tolist() for leaf in leaves] == ([[1.0, 2.0]] if train else [])


def test_sde_increments_are_taken_in_the_precision_of_the_state():
    cell = sde(diffrax.EulerHeun())
    state = cell(cell.initial_state().astype(jnp.float32), cell.example_input())
    assert state.dtype == jnp.float32


BAD = {
    **{
        f"adjoint: expected RecursiveCheckpointAdjoint.*, got {name(adjoint)}": lambda a=adjoint: ode(
            time_step=0.1, adjoint=a
        )
        for adjoint in (diffrax.ImplicitAdjoint(), diffrax.BacksolveAdjoint(), diffrax.ForwardMode())
    },
    **{
        f"solver: expected a one-step Diffrax solver for a single .*, got {name(solver)}": lambda s=solver: ode(
            time_step=0.1, solver=s
        )
        for solver in (
            diffrax.KenCarp4(),
            diffrax.Sil3(),
            diffrax.LeapfrogMidpoint(),
            diffrax.EulerHeun(),
            diffrax.SemiImplicitEuler(),
        )
    },
    "solver: expected one that is not wrapped .*, got HalfSolver": lambda: ode(
        time_step=0.1, solver=diffrax.HalfSolver(diffrax.Heun())
    ),
    "solver: expected an implicit solver with one tableau.*, got HalfSolver": lambda: ode(
        time_step=0.1, solver=diffrax.HalfSolver(diffrax.Kvaerno3()), controller=PID
    ),
    r"solver: expected Kvaerno3\(\), whose stages .*, got a root finder": lambda: ode(
        time_step=0.1, solver=diffrax.Kvaerno3(root_finder=diffrax.VeryChord(1e-3, 1e-3))
    ),
    "solver: expected an explicit solver for a complex state, got Kvaerno5": lambda: rtrl.ODECell(
        oscillator, jnp.ones(2) + 1j, time_step=0.1, solver=diffrax.Kvaerno5()
    ),
    "solver: expected one with an error estimate.*, got Euler": lambda: ode(
        time_step=0.1, solver=diffrax.Euler(), controller=PID
    ),
    "controller: expected one that adapts.*, got ConstantStepSize": lambda: ode(
        time_step=0.1, controller=diffrax.ConstantStepSize()
    ),
    "max_steps: expected an integer of at least 1, got 0": lambda: ode(time_step=0.1, max_steps=0),
    "initial: expected an array or a pytree of arrays, .*, got list of float": lambda: rtrl.ODECell(
        oscillator, [1.0, 0.0], time_step=0.1
    ),
    "initial: expected an array or a pytree of arrays, .*, got no array": lambda: rtrl.ODECell(
        oscillator, (), time_step=0.1
    ),
    r"vector_field: expected \(2,\), like the state, got \(\)": lambda: step(
        rtrl.ODECell(lambda t, y, args: 1.0, jnp.ones(2), time_step=0.1)
    ),
    "vector_field: expected real values": lambda: step(
        rtrl.ODECell(lambda t, y, args: 1j * y, jnp.ones(2), time_step=0.1)
    ),
    r"x: expected a pair \(Δt, args\) with a scalar Δt, got f64\[3\]": lambda: ode(time_step=None)(
        jnp.ones(3), jnp.ones(3)
    ),
    **{
        f"solver: expected an explicit Diffrax solver of stochastic .*, got {name(solver)}": lambda s=solver: sde(s)
        for solver in (
            diffrax.Kvaerno3(),
            diffrax.ImplicitEuler(),
            diffrax.HalfSolver(diffrax.EulerHeun()),
            diffrax.ALIGN(),
        )
    },
    r"x: expected increments of shape \(2, 3\), got f64\[1,3\]": lambda: sde(diffrax.EulerHeun())(
        jnp.ones(3), (jnp.ones((1, 3)), jnp.zeros(1))
    ),
    r"x: expected a pair of increments, both of shape \(2, 3\), got f64\[2,3\]": lambda: sde(diffrax.SPaRK())(
        jnp.ones(3), (jnp.ones((2, 3)), jnp.zeros(1))
    ),
    "solver: expected an explicit Diffrax solver of stochastic .*, got Tsit5": lambda: sde(diffrax.Tsit5()),
    "time_step: expected a positive number, got 0.0": lambda: ode(time_step=0.0),
    "substeps: expected an integer of at least 1, got 0": lambda: ode(time_step=0.1, substeps=0),
    "diffusion: expected commutative noise for ItoMilstein, got 2 Brownian .*commutative=True": lambda: step(
        sde(diffrax.ItoMilstein(), columns=2)
    ),
    r"diffusion: expected shape \(2,\) or \(2, 'm'\), got \(3, 2\)": lambda: step(
        rtrl.SDECell(oscillator, lambda t, y, args: jnp.ones((3, 2)), jnp.zeros(2), time_step=0.1)
    ),
    r"drift: expected shape \(3,\), that of the state, got \(2,\)": lambda: step(
        rtrl.SDECell(oscillator, lambda t, y, args: jnp.ones(3), jnp.zeros(3), time_step=0.1)
    ),
}


def step(cell):
    return cell(cell.initial_state(), cell.example_input())


@pytest.mark.parametrize("message", BAD)
def test_what_is_wrong_is_said_in_one_line(message):
    with pytest.raises((TypeError, ValueError), match=f"^{message}") as error:
        BAD[message]()
    assert "\n" not in str(error.value)
