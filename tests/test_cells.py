"""Cells against published formulas: plain NumPy where they are short, another library's numbers where not."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cells import UNITS, make_model

import rtrl

H, X = np.linspace(-1, 1, UNITS), np.array([0.3, -0.2, 2.0])


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def as_numpy(cell):
    return {name: np.asarray(value) for name, value in vars(cell).items() if eqx.is_array(value)}


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (rtrl.GRUCell, [[0.20290460093883517, -0.258240410918722]]),
        (
            rtrl.LSTMCell,
            [[0.22690816825485643, -0.11628552896971166], [0.31258325742177173, -0.42296491254851076]],
        ),
    ],
)
def test_gru_and_lstm_give_the_numbers_of_pytorch(kind, expected):
    """Four steps from a state that is not zero; computed by torch 2.15.0 in float64 from the same weights."""
    cell = kind(3, 2, key=jax.random.key(0))
    gates = cell.weight_hh.shape[0]
    weights = (
        np.sin(np.arange(gates * 4) + 1.0).reshape(gates, 2, 2),
        np.cos(np.arange(gates * 6) * 0.7).reshape(gates, 2, 3),
        np.sin(np.arange(gates * 2) * 0.3).reshape(gates, 2),
        np.cos(np.arange(gates * 2) * 0.5).reshape(gates, 2),
    )
    cell = eqx.tree_at(
        lambda c: (c.weight_hh, c.weight_ih, c.bias_hh, c.bias_ih), cell, tuple(map(jnp.asarray, weights))
    )
    h, c = jnp.array([0.1, -0.2]), jnp.array([0.3, 0.4])
    state = h if kind is rtrl.GRUCell else (h, c)
    for x in np.cos(np.arange(12) * 1.3).reshape(4, 3):
        state = cell(state, jnp.asarray(x))
    np.testing.assert_allclose(jax.tree.leaves(state), expected, rtol=1e-13)


def test_elman_and_ctrnn():
    elman, ctrnn = (make_model(name).cell for name in ("elman", "ctrnn"))
    for cell in (elman, ctrnn):
        w = as_numpy(cell)
        target = np.tanh(w["weight_hh"][0] @ H + w["weight_ih"][0] @ X + w["bias"])
        kept = 0 if cell is elman else np.exp(-np.exp(-w["log_tau"]))
        expected = kept * H + (1 - kept) * target
        np.testing.assert_allclose(cell(jnp.asarray(H), jnp.asarray(X)), expected, rtol=1e-13)


def test_a_leaky_unit_decays_with_its_time_constant():
    """With no drive the state is multiplied by exp(-t/τ), also when τ is far below Δt."""
    cell = rtrl.CTRNNCell(1, 3, key=jax.random.key(0), time_step=0.1, activation=jnp.zeros_like)
    cell = eqx.tree_at(lambda c: c.log_tau, cell, jnp.log(jnp.array([0.03, 0.5, 3.0])))
    h = jnp.ones(3)
    for _ in range(20):
        h = cell(h, jnp.zeros(1))
    np.testing.assert_allclose(h, np.exp(-2.0 / np.exp(cell.log_tau)), rtol=1e-11)


def test_lru_is_its_complex_recurrence():
    cell = make_model("lru").cell
    w = as_numpy(cell)
    eigenvalue = np.exp(-np.exp(w["nu_log"]) + 1j * np.exp(w["theta_log"]))
    np.testing.assert_allclose(np.exp(w["gamma_log"]), np.sqrt(1 - np.abs(eigenvalue) ** 2), rtol=1e-10)
    B, C = (w[name][0] + 1j * w[name][1] for name in ("weight_ih", "weight_out"))
    state, h = cell.initial_state(), np.zeros(UNITS, complex)
    for x in (X, 0.5 * X, -X):
        state = cell(state, jnp.asarray(x))
        h = eigenvalue * h + np.exp(w["gamma_log"]) * (B @ x)
    np.testing.assert_allclose(state[0] + 1j * state[1], h, rtol=1e-12)
    np.testing.assert_allclose(cell.output(state, jnp.asarray(-X)), (C @ h).real + w["skip"] @ -X, rtol=1e-12)


def test_eigenvalues_start_on_the_ring_that_was_asked_for():
    cell = rtrl.LRUCell(1, 2000, key=jax.random.key(0), r_min=0.8, r_max=0.95, max_phase=0.5)
    radius, phase = np.exp(-np.exp(cell.nu_log)), np.exp(cell.theta_log)
    assert 0.8 <= radius.min() < 0.81
    assert 0.94 < radius.max() <= 0.95
    assert 0.49 < phase.max() <= 0.5
    np.testing.assert_allclose((radius**2).mean(), (0.8**2 + 0.95**2) / 2, atol=0.01)  # uniform in area


@pytest.mark.parametrize("name", ["rtu", "nonlinear rtu"])
def test_rtu_rotates_and_decays(name):
    cell = make_model(name).cell
    w = as_numpy(cell)
    r, angle = np.exp(-np.exp(w["nu_log"])), np.exp(w["theta_log"])
    z = (r * np.exp(1j * angle)) * (H + 1j * H[::-1])
    z = z + np.sqrt(1 - r**2) * ((w["weight_ih"][0] + 1j * w["weight_ih"][1]) @ X)
    first, second = (np.tanh(z.real), np.tanh(z.imag)) if cell.nonlinear else (z.real, z.imag)
    state = cell((jnp.asarray(H), jnp.asarray(H[::-1].copy())), jnp.asarray(X))
    np.testing.assert_allclose(state, (first, second), rtol=1e-12)
    seen = np.concatenate([np.tanh(z.real), np.tanh(z.imag)])
    np.testing.assert_allclose(cell.output(state, jnp.asarray(X)), seen, rtol=1e-12)


def test_elstm_gates_see_their_own_memory_only():
    cell = make_model("elstm").cell
    w = as_numpy(cell)
    f = sigmoid(w["weight_ih"][0] @ X + w["weight_cell"][0] * H + w["bias"][0])
    candidate = np.tanh(w["weight_ih"][1] @ X + w["weight_cell"][1] * H + w["bias"][1])
    c = f * H + (1 - f) * candidate
    state = cell(jnp.asarray(H), jnp.asarray(X))
    np.testing.assert_allclose(state, c, rtol=1e-12)
    gate = sigmoid(w["output_ih"] @ X + w["output_cell"] @ c + w["output_bias"])
    np.testing.assert_allclose(cell.output(state, jnp.asarray(X)), gate * c, rtol=1e-12)
