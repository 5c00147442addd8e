"""Continuous time: sensitivities against reverse mode, closed forms, and the other way of discretising."""

import itertools

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import lineax
import numpy as np
import pytest
import scipy.linalg
from jax.flatten_util import ravel_pytree

import rtrl
from rtrl.cells._solve import solver_step
from rtrl.continuous import (
    DescentTerm,
    SensitivityTerm,
    StationaryTerm,
    descend,
    hitting_time,
    no_sensitivity,
    robbins_monro,
)

KEY, START = jax.random.key(0), jnp.array([0.4, -0.3])


class Field(eqx.Module):
    mlp: eqx.nn.MLP

    def __call__(self, t, y, args):
        return self.mlp(jnp.append(y, t))


FIELD = Field(eqx.nn.MLP(3, 2, 4, 1, jnp.tanh, key=KEY))
SOLVERS = {"euler": (diffrax.Euler(), 1), "midpoint": (diffrax.Midpoint(), 2), "tsit5": (diffrax.Tsit5(), 5)}


def sensitivity(solver, steps):
    """(h, J) at time 1 by diffeqsolve of the extended system."""
    start = START, no_sensitivity(FIELD, START)
    term = SensitivityTerm(FIELD, diffrax.ODETerm)
    solution = diffrax.diffeqsolve(term, solver, 0.0, 1.0, 1 / steps, start, adjoint=diffrax.ForwardMode())
    h, influence = jax.tree.map(lambda a: a[-1], solution.ys)
    return h, jax.vmap(lambda j: ravel_pytree(j)[0])(influence)


def by_reverse_mode(solver, steps):
    def final(params):
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(eqx.combine(params, FIELD)), solver, 0.0, 1.0, 1 / steps, START,
            adjoint=diffrax.RecursiveCheckpointAdjoint(),
        )  # fmt: skip
        return solution.ys[-1]

    params = eqx.filter(FIELD, eqx.is_inexact_array)
    return final(params), jax.vmap(lambda j: ravel_pytree(j)[0])(jax.jacrev(final)(params))


@pytest.mark.parametrize("name", SOLVERS)
def test_the_sensitivity_of_the_same_discretisation_is_reverse_mode_s(name):
    for found, expected in zip(sensitivity(SOLVERS[name][0], 20), by_reverse_mode(SOLVERS[name][0], 20), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


def by_rtrl(solver, steps):
    """(h, J) at time 1 by RTRL through a cell of one step, whose time never passes 0."""
    cell = rtrl.ODECell(FIELD, START, time_step=1.0, solver=solver, substeps=steps)
    state, pullback, _ = rtrl.RTRL().step(cell, START, None, rtrl.RTRL().init(cell, START))
    return state, jnp.stack([ravel_pytree(pullback(v))[0] for v in jnp.eye(2)])


@pytest.mark.parametrize("way", [sensitivity, by_rtrl])
@pytest.mark.parametrize("name", ["euler", "midpoint"])
def test_both_ways_converge_to_the_other_with_the_order_of_the_solver(name, way):
    solver, order = SOLVERS[name]
    exact = (by_rtrl if way is sensitivity else sensitivity)(diffrax.Tsit5(), 12)[1]
    coarse, fine = (np.abs(way(solver, steps)[1] - exact).max() for steps in (16, 32))
    assert np.log2(coarse / fine) == pytest.approx(order, abs=0.2)


class Linear(eqx.Module):
    matrix: jax.Array

    def __call__(self, t, y, args):
        return self.matrix @ y


def test_sensitivities_of_a_linear_system_are_derivatives_of_the_matrix_exponential():
    """h(1) = exp(A) h(0); SciPy has the Fréchet derivative of the exponential."""
    A = np.array([[-0.3, 1.1], [-0.9, 0.2]])
    cell = rtrl.ODECell(Linear(jnp.asarray(A)), START, time_step=1.0, solver=diffrax.Tsit5(), substeps=50)
    _, pullback, _ = rtrl.RTRL().step(cell, START, None, rtrl.RTRL().init(cell, START))
    found = np.stack([pullback(v).vector_field.matrix for v in jnp.eye(2)])
    for i, j in np.ndindex(2, 2):
        direction = np.zeros((2, 2))
        direction[i, j] = 1.0
        expected = scipy.linalg.expm_frechet(A, direction, compute_expm=False) @ np.asarray(START)
        np.testing.assert_allclose(found[:, i, j], expected, rtol=1e-8)


class Noise(eqx.Module):
    scale: jax.Array

    def __call__(self, t, y, args):
        return self.scale * (1 + 0.5 * jnp.sin(y))


def test_both_ways_agree_for_an_sde_on_the_same_path():
    """Euler's scheme commutes with differentiation: RTRL through the cell is the sensitivity term's solution."""
    cell = rtrl.SDECell(FIELD, Noise(jnp.array([0.3, 0.2])), START, time_step=0.1, solver=diffrax.Euler())
    ws = cell.increments(KEY, 10)
    times, path = jnp.linspace(0, 1, 11), jnp.concatenate([jnp.zeros((1, 2)), ws[:, 0].cumsum(axis=0)])
    control = diffrax.LinearInterpolation(times, path)

    def both(cell):
        diagonal = lambda t, y, args: lineax.DiagonalLinearOperator(cell.diffusion(t, y, args))  # noqa: E731
        field = lambda t, y, args: cell.drift(0.0, y, args)  # noqa: E731
        return diffrax.MultiTerm(diffrax.ODETerm(field), diffrax.ControlTerm(diagonal, control))

    term, extended = SensitivityTerm(cell, both), (START, no_sensitivity(cell, START))
    for begin, end in itertools.pairwise(times):
        extended = diffrax.Euler().step(term, begin, end, extended, None, None, made_jump=False)[0]
    h, influence = extended
    state, memory = START, rtrl.RTRL().init(cell, START)
    for w in ws:
        state, pullback, memory = rtrl.RTRL().step(cell, state, (w, None), memory)
    np.testing.assert_allclose(state, h, rtol=1e-10)
    for i, v in enumerate(jnp.eye(2)):
        row = jax.tree.map(lambda j, i=i: j[i], influence)
        np.testing.assert_allclose(ravel_pytree(pullback(v))[0], ravel_pytree(row)[0], rtol=1e-8, atol=1e-10)


class Reverting(eqx.Module):
    mean: jax.Array

    def __call__(self, t, y, args):
        return 1.5 * (self.mean - y)


def ornstein_uhlenbeck(mean, copies, rate=lambda t: 0.0):
    """Fits E h² = β; with κ = 1.5 and σ = 0.9 the variance is σ²/2κ = 0.27."""
    return StationaryTerm(Reverting(jnp.array(mean)), lambda t, y, args: 0.9 * jnp.ones(1), lambda h: h**2,
                          jnp.array([1.0]), rate, copies)  # fmt: skip


def gradients_along(term, particles, steps, key, dt=0.02):
    """Estimates of the gradient along the way."""
    initial = jnp.full((particles, 1), 0.7)
    increments = term.increments(key, steps, dt, initial)

    def step(y, now):
        i, w = now
        y = solver_step(diffrax.Euler(), term, i * dt, (i + 1) * dt, y, w)
        return y, term.gradient(y)[0].mean

    return jax.lax.scan(step, term.start(initial), (jnp.arange(steps), increments))[1]


@pytest.mark.parametrize("particles", [1, 5])
@pytest.mark.parametrize("copies", [1, 2])
def test_one_copy_is_biased_by_its_covariance_and_two_are_not(copies, particles):
    """∇L = 2 (θ² + v - β) 2θ; one copy adds 2 Cov(h², 2h) / N = 8 θ v / N, v the scheme's stationary variance."""
    theta, term = 0.7, ornstein_uhlenbeck(0.7, copies)
    gradients = jax.vmap(lambda key: gradients_along(term, particles, 500, key))(jax.random.split(KEY, 8000))
    v = 0.81 / (2 * 1.5) / (1 - 1.5 * 0.02 / 2)
    expected = 4 * theta * (theta**2 + v - 1) + (8 * theta * v / particles if copies == 1 else 0)
    found = gradients[:, 250:].mean(axis=1)
    assert abs(float(found.mean()) - expected) < 4 * float(found.std()) / 8000**0.5 < 0.1


def test_two_copies_find_the_parameter_of_a_stationary_law():
    term = ornstein_uhlenbeck(0.3, 2, robbins_monro(2.0, 5.0))
    end, path = descend(term, KEY, jnp.full((50, 1), 0.7), steps=20_000, time_step=0.02, every=1000)
    v = 0.81 / 3 / (1 - 0.015)
    assert path[0].mean.shape == (20,)
    assert float(path[0].mean[-1]) == float(end.params[0].mean) == pytest.approx((1 - v) ** 0.5, abs=0.02)


def tracking(t, h, args):
    return jnp.sum((h - jnp.sin(t)) ** 2)


def test_descent_is_the_textbook_recursion_of_its_euler_scheme():
    """θ, h and J by a plain loop, with the derivatives of dh/dt = 1.5 (θ - h) in closed form."""
    term = DescentTerm(Reverting(jnp.array(0.3)), diffrax.ODETerm, tracking, robbins_monro(2.0))
    found = diffrax.diffeqsolve(term, diffrax.Euler(), 0.0, 1.0, 0.05, term.start(jnp.array([0.5]))).ys
    theta, h, j = 0.3, 0.5, 0.0
    for k in range(20):
        t = 0.05 * k
        descent = 2 / (1 + t) * 2 * (h - np.sin(t)) * j
        theta, h, j = theta - 0.05 * descent, h + 0.05 * 1.5 * (theta - h), j + 0.05 * 1.5 * (1 - j)
    np.testing.assert_allclose([found[0].mean[0], found[1][0, 0], found[2].mean[0, 0]], [theta, h, j], rtol=1e-12)


class Tilted(eqx.Module):
    """Noise of two Brownian motions, correlated by a trained matrix."""

    matrix: jax.Array

    def __call__(self, t, y, args):
        return self.matrix * (1 + 0.2 * jnp.sin(y))[:, None]


def test_descent_along_a_noisy_path_is_rtrl_s_influence_and_plain_gradient_descent():
    """With parameters that move, step by step: SDECell and RTRL at the parameters of now give J; θ by hand."""
    dt, rate = 0.1, 0.3
    model = FIELD, Tilted(jnp.array([[0.3, 0.1], [-0.2, 0.4]]))
    ws = dt**0.5 * jax.random.normal(KEY, (6, 2))
    times, path = jnp.arange(7) * dt, jnp.concatenate([jnp.zeros((1, 2)), ws.cumsum(axis=0)])
    control = diffrax.LinearInterpolation(times, path)
    still = lambda field: lambda t, y, args: field(0.0, y, args)  # noqa: E731
    term_of = lambda m: diffrax.MultiTerm(diffrax.ODETerm(still(m[0])), diffrax.ControlTerm(m[1], control))  # noqa: E731
    term = DescentTerm(model, term_of, tracking, lambda t: rate)
    y = term.start(START)
    for begin, end in itertools.pairwise(times):
        y = diffrax.Euler().step(term, begin, end, y, None, None, made_jump=False)[0]

    cell = rtrl.SDECell(*model, START, time_step=dt, solver=diffrax.Euler())
    state, memory = START, rtrl.RTRL().init(cell, START)
    pullback = lambda v: jax.tree.map(jnp.zeros_like, eqx.filter(cell, eqx.is_inexact_array))  # noqa: E731
    for i, w in enumerate(ws):
        gradient = pullback(2 * (state - jnp.sin(i * dt)))
        state, pullback, memory = rtrl.RTRL().step(cell, state, (w[None], None), memory)
        moved = jax.tree.map(lambda g: -rate * dt * g, (gradient.drift, gradient.diffusion))
        cell = eqx.tree_at(
            lambda c: (c.drift, c.diffusion), cell, eqx.apply_updates((cell.drift, cell.diffusion), moved)
        )
    np.testing.assert_allclose(y[1], state, rtol=1e-10)
    found, expected = ravel_pytree(y[0])[0], ravel_pytree(eqx.filter((cell.drift, cell.diffusion), eqx.is_array))[0]
    np.testing.assert_allclose(found, expected, rtol=1e-10)
    assert np.abs(found - ravel_pytree(eqx.filter(model, eqx.is_array))[0]).max() > 1e-3


def test_particles_of_a_stationary_term_carry_rtrl_s_influence():
    model, initial = (FIELD, Tilted(jnp.array([[0.3, 0.1], [-0.2, 0.4]]))), jnp.stack([START, -START])
    term = StationaryTerm(*model, lambda h: h, jnp.zeros(2), lambda t: 0.0, 2)
    y, ws = term.start(initial), term.increments(KEY, 5, 0.1, initial)
    for w in ws:
        y = jax.tree.map(jnp.add, y, term.vf_prod(0.0, y, w, 0.1))
    cell = rtrl.SDECell(*model, START, time_step=0.1, solver=diffrax.Euler())
    for particle in (0, 1):
        state, memory = initial[particle], rtrl.RTRL().init(cell, START)
        for w in ws[:, 0, particle]:
            state, pullback, memory = rtrl.RTRL().step(cell, state, (w[None], None), memory)
        np.testing.assert_allclose(y.h[particle], state, rtol=1e-10)
        for i, v in enumerate(jnp.eye(2)):
            row = jax.tree.map(lambda j, i=i, particle=particle: j[particle, i], y.influence)
            np.testing.assert_allclose(ravel_pytree(row)[0], ravel_pytree(pullback(v))[0], rtol=1e-9, atol=1e-12)


def test_complex_parameters_descend():
    class Turned(eqx.Module):
        z: jax.Array

        def __call__(self, t, y, args):
            return self.z.imag - y

    term = DescentTerm(
        Turned(jnp.array(0.0j)), diffrax.ODETerm, lambda t, h, args: jnp.sum((h - 2.0) ** 2), lambda t: 0.5
    )
    euler = lambda y, _: (jax.tree.map(lambda a, da: a + 0.05 * da, y, term.vf(0.0, y, None)), None)  # noqa: E731
    (params, *_), _ = jax.lax.scan(euler, term.start(jnp.zeros(1)), length=1200)
    assert abs(complex(params.z) - 2j) < 1e-2


@pytest.mark.parametrize("noisy", [False, True], ids=["ode", "sde"])
def test_descent_at_rate_zero_leaves_the_sensitivity_as_it_is(noisy):
    path = diffrax.LinearInterpolation(jnp.linspace(0, 1, 11), jax.random.normal(KEY, (11, 2)))

    def term_of(field):
        drift = diffrax.ODETerm(field)
        noise = diffrax.ControlTerm(lambda t, y, args: lineax.DiagonalLinearOperator(jnp.cos(y)), path)
        return diffrax.MultiTerm(drift, noise) if noisy else drift

    def solved(term, y):
        if not noisy:
            return diffrax.diffeqsolve(term, diffrax.Tsit5(), 0.0, 1.0, 0.1, y, adjoint=diffrax.ForwardMode()).ys
        for begin, end in itertools.pairwise(path.ts):
            y = diffrax.Euler().step(term, begin, end, y, None, None, made_jump=False)[0]
        return jax.tree.map(lambda a: a[None], y)

    moving, still = DescentTerm(FIELD, term_of, tracking, lambda t: 0.0), SensitivityTerm(FIELD, term_of)
    both = solved(moving, moving.start(START)), solved(still, (START, no_sensitivity(FIELD, START)))
    for one, other in zip(*map(jax.tree.leaves, (both[0][1:], both[1])), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-14)
    assert eqx.tree_equal(jax.tree.map(lambda p: p[-1], both[0][0]), eqx.filter(FIELD, eqx.is_inexact_array))


def test_the_time_at_which_a_decay_is_halved():
    def halved(rate):
        return hitting_time(lambda t, y, args: -args * y, jnp.ones(1), lambda t, y, args: y[0] - 0.5, 10.0, rate)

    rate = jnp.array(0.8)
    np.testing.assert_allclose(halved(rate), np.log(2) / 0.8, rtol=1e-7)
    np.testing.assert_allclose(jax.jacfwd(halved)(rate), -np.log(2) / 0.64, rtol=1e-6)
    assert np.isnan(halved(jnp.array(0.01)))


def test_learning_rates_fall_as_the_theory_asks():
    assert robbins_monro(2.0, 3.0)(1.0) == 0.5
    for power in (0.5, 1.1):
        with pytest.raises(ValueError, match=f"power: expected 1/2 < power <= 1, got {power}"):
            robbins_monro(1.0, power=power)
    with pytest.raises(ValueError, match=r"^scale: expected a positive number, got 0\.0$"):
        robbins_monro(0.0)


def test_a_solver_that_cannot_serve_is_refused():
    with pytest.raises(ValueError, match=r"^copies: expected 1 or 2, got 3$"):
        StationaryTerm(FIELD, FIELD, FIELD, jnp.zeros(1), lambda t: 0.0, 3)
    with pytest.raises(ValueError, match=r"^steps: expected at least every = 20, got 10$"):
        descend(ornstein_uhlenbeck(0.3, 2), KEY, jnp.ones((2, 1)), steps=10, time_step=0.1, every=20)
    stationary = ornstein_uhlenbeck(0.3, 2)
    with pytest.raises(TypeError, match=r"^solver: expected Euler\(\)"):
        stationary.vf(0.0, stationary.start(jnp.ones((2, 1))), None)
    control = diffrax.LinearInterpolation(jnp.arange(2.0), jnp.zeros((2, 2)))
    both = lambda field: diffrax.MultiTerm(diffrax.ODETerm(field), diffrax.ControlTerm(field, control))  # noqa: E731
    sensitivity, descent = SensitivityTerm(FIELD, both), DescentTerm(FIELD, both, tracking, lambda t: 0.1)
    for term, y in ((sensitivity, (START, no_sensitivity(FIELD, START))), (descent, descent.start(START))):
        with pytest.raises(TypeError, match=r"^solver: expected Euler\(\) or Heun\(\).* of a MultiTerm"):
            term.vf(0.0, y, None)  # the first that Tsit5 and other Runge-Kutta methods of Diffrax ask for
        for solver in (diffrax.EulerHeun(), diffrax.ItoMilstein()):
            with pytest.raises(TypeError, match=r"^solver: expected Euler\(\) or Heun\(\).* of a MultiTerm"):
                solver.step(term, 0.0, 0.1, y, None, (True, None), made_jump=False)
