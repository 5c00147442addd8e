"""Streams with known answers give those answers."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import rtrl
from rtrl.tasks import InfluenceBalancingCell, delayed_sum, delayed_sum_floor, truncated_derivative


def test_stationary_state_is_a_fixed_point_with_first_entry_minus_six_theta():
    cell = InfluenceBalancingCell(0.25)
    stationary = cell.stationary_state()
    np.testing.assert_allclose(cell(stationary, jnp.zeros(())), stationary, rtol=1e-12)
    np.testing.assert_allclose(stationary[0], -6 * 0.25, rtol=1e-12)


@pytest.mark.parametrize(("horizon", "published"), [(40, 0.57), (41, -0.22), (45, -2.81), (60, -5.90)])
def test_truncated_derivative_changes_sign_after_horizon_40(horizon, published):
    assert round(truncated_derivative(horizon), 2) == published


@pytest.mark.parametrize("horizon", [1, 5, 40, 41, 60])
def test_tbptt_measures_the_truncated_derivative(horizon):
    powers = [np.linalg.matrix_power(0.5 * np.eye(23) + 0.5 * np.eye(23, k=1), k)[0] for k in range(horizon)]
    by_matrices = sum(powers) @ np.repeat([1.0, -1.0], [10, 13])
    cell, estimator = InfluenceBalancingCell(0.1), rtrl.TBPTT(horizon)
    state = cell.stationary_state()
    memory = estimator.init(cell, state)
    for _ in range(horizon + 3):
        state, pullback, memory = estimator.step(cell, state, jnp.zeros(()), memory)
    np.testing.assert_allclose(pullback(jnp.eye(23)[0]).theta, by_matrices, rtol=1e-11)
    np.testing.assert_allclose(truncated_derivative(horizon), by_matrices, rtol=1e-11)


@pytest.mark.parametrize(("estimator", "converges"), [(rtrl.RTRL(), True), (rtrl.TBPTT(10), False)], ids=str)
def test_only_the_exact_gradient_finds_the_optimum(estimator, converges):
    learner = rtrl.Learner(lambda s, y: 0.5 * (s - y) ** 2, estimator, optax.sgd(1e-4))
    state = learner.init(rtrl.Model(InfluenceBalancingCell(0.0), eqx.nn.Identity()))
    state, _ = learner.run(state, jnp.zeros(5000), jnp.ones(5000))
    assert (abs(state.model.cell.theta + 1 / 6) < 1e-6) == converges
    assert len(jax.tree.leaves(state.model)) == 1  # nothing but theta is trained


@pytest.mark.parametrize(("known", "published"), [(0, 0.6616), (1, 0.5192), (2, 0.4545)])
def test_the_delayed_sum_has_its_published_floors(known, published):
    assert delayed_sum_floor(known) == pytest.approx(published, abs=5e-5)


@pytest.mark.parametrize("delays", [(2, 5), (5, 2), (1, 1)])
def test_the_delayed_sum_depends_on_two_earlier_flips(delays):
    xs, ys = delayed_sum(jax.random.key(0), 200, delays)
    flips = [0.0] * max(delays) + xs[:, 0].tolist()
    for t, (p, complement) in enumerate(ys.tolist()):
        now = t + max(delays)
        assert p == 0.5 + 0.5 * flips[now - delays[0]] - 0.25 * flips[now - delays[1]] == 1 - complement
    assert set(xs.sum(axis=1).tolist()) == {1.0}
    assert 60 < xs[:, 0].sum() < 140


def test_who_knows_both_flips_reaches_the_lowest_floor():
    _, ys = delayed_sum(jax.random.key(1), 100_000, (3, 7))
    entropy = -jax.scipy.special.xlogy(ys, ys).sum(axis=1)
    assert entropy.mean() == pytest.approx(delayed_sum_floor(2), abs=0.005)


def test_the_delayed_sum_refuses_a_delay_of_zero():
    with pytest.raises(ValueError, match=r"delays: expected two integers of at least 1, got \(0, 2\)"):
        delayed_sum(jax.random.key(0), 5, (0, 2))
