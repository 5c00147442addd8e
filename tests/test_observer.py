"""Cells that are corrected by observations: filters by hand, and their gradients."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cells import one_step

import rtrl
from rtrl.tasks import InLogs, Pendulum, observed, observed_error, simulated

KEY, GAIN, STEPS = jax.random.key(0), jnp.array([[0.4], [0.2]]), 24


def first(h):
    return h[:1]


def observer(gain=GAIN):
    cell = rtrl.ODECell(InLogs(Pendulum()), jnp.array([0.3, 0.0]), time_step=0.2, example_args=jnp.zeros(()))
    return rtrl.ObserverCell(cell, first, gain)


def stream(spacing):
    pushes = jax.random.normal(KEY, (STEPS,))
    before, ys = observed(KEY, simulated(Pendulum(), jnp.zeros(2), pushes, time_step=0.2), first, 0.1, spacing)
    return (before, pushes), ys


def gradient(estimator, cell, spacing):
    return rtrl.sequence_gradient(estimator, rtrl.Model(cell, eqx.nn.Identity()), observed_error, *stream(spacing))


@pytest.mark.parametrize("spacing", [1, 5])
@pytest.mark.parametrize("estimator", [rtrl.RTRL(), rtrl.TBPTT(STEPS)], ids=str)
def test_exact_estimators_equal_bptt(estimator, spacing):
    value, expected = gradient(rtrl.BPTT(), observer(), spacing)
    found_value, found = gradient(estimator, observer(), spacing)
    np.testing.assert_allclose(found_value, value, rtol=1e-12)
    for leaf, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(leaf, other, rtol=1e-10)
        assert np.abs(other).max() > 1e-4


def test_a_frozen_gain_is_not_trained():
    _, found = gradient(rtrl.RTRL(), observer(rtrl.Frozen(GAIN)), 1)
    assert len(jax.tree.leaves(found)) == 2


def test_a_linear_one_is_the_filter_by_hand():
    """h <- A (h + K (y - h₁)), without the correction where nothing was observed."""
    A = np.array([[0.9, 0.2], [-0.3, 0.8]])

    class Linear(rtrl.AbstractCell):
        def __call__(self, state, x):
            return jnp.asarray(A) @ state

        def initial_state(self):
            return jnp.array([1.0, -1.0])

        def example_input(self):
            return None

    seen = np.array([0.5, np.nan, -0.2, 1.0])[:, None]
    model = rtrl.Model(rtrl.ObserverCell(Linear(), first, GAIN), eqx.nn.Identity())
    state, expected = np.array([1.0, -1.0]), []
    for y in seen:
        state = A @ (state if np.isnan(y[0]) else state + np.asarray(GAIN) @ (y - state[:1]))
        expected.append(state[:1])
    np.testing.assert_allclose(model.predictions((jnp.asarray(seen), None)), expected, rtol=1e-12)


def test_observations_come_every_so_often_and_one_step_late():
    states = jnp.stack([jnp.arange(1000.0), jnp.zeros(1000)], axis=1)
    before, ys = observed(KEY, states, first, 0.5, 4)
    assert np.isnan(before[0]).all()
    np.testing.assert_array_equal(before[1:], ys[:-1])
    np.testing.assert_array_equal(np.flatnonzero(~np.isnan(ys[:, 0])), np.arange(3, 1000, 4))
    assert np.nanstd(ys[:, 0] - np.arange(1000)) == pytest.approx(0.5, rel=0.15)
    assert float(observed_error(jnp.array([1.0, 2.0]), jnp.array([jnp.nan, 4.0]))) == 4.0
    assert np.isfinite(jax.grad(observed_error)(jnp.ones(1), jnp.array([jnp.nan]))).all()


def test_simulation_is_diffrax_s_solution():
    pushes = jnp.array([0.5, -0.2])
    path, state = simulated(Pendulum(), jnp.zeros(2), pushes, time_step=0.7), jnp.zeros(2)
    for push, found in zip(pushes, path, strict=True):
        state = diffrax.diffeqsolve(
            diffrax.ODETerm(Pendulum()), diffrax.Dopri8(), 0.0, 0.7, 0.01, state, push,
            stepsize_controller=diffrax.PIDController(rtol=1e-10, atol=1e-10),
        ).ys[-1]  # fmt: skip
        np.testing.assert_allclose(found, state, rtol=1e-5)


def test_what_is_wrong_is_said_in_one_line():
    with pytest.raises(ValueError, match=r"^gain: expected shape \(2, 1\), by state and observation, got \(1, 2\)$"):
        observer(GAIN.T)
    with pytest.raises(ValueError, match=r"^observe: expected an observation of one array with one axis, got"):
        rtrl.ObserverCell(observer().cell, lambda h: h[0], GAIN)
    with pytest.raises(ValueError, match=r"^cell: expected a state of one array with one axis, got"):
        rtrl.ObserverCell(rtrl.LSTMCell(1, 2, key=KEY), lambda h: h[0], GAIN)
    with pytest.raises(ValueError, match=r"^spacing: expected an integer of at least 1, got 0$"):
        observed(KEY, jnp.zeros((3, 2)), first, 0.1, 0)
    with pytest.raises(ValueError, match=r"^noise: expected a positive number, got 0\.0$"):
        observed(KEY, jnp.zeros((3, 2)), first, 0.0)
    estimator, cell = rtrl.TBPTT(2), observer()
    memory = estimator.init(cell, cell.initial_state())
    with pytest.raises(ValueError, match=r"^x: expected an input like ObserverCell\.example_input\(\), "):
        one_step(estimator, cell, cell.initial_state(), (jnp.zeros(1), None), memory, jnp.zeros(2))
