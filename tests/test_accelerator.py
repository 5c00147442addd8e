"""What accelerators compute otherwise than a CPU does: against plain loops, here on the CPU."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import rtrl
from artifact.cost import accelerator
from artifact.cost.parallel_scan import chunked_bptt, parallel_states
from rtrl._recurrence import linear_recurrence


class Begun(rtrl.RTUCell):
    """Its initial state is trained."""

    def initial_state(self):
        return self.nu_log, 0.1 * self.theta_log


CELLS = {"LRU": rtrl.LRUCell, "RTU": Begun, "eLSTM": rtrl.ELSTMCell, "Elman": rtrl.ElmanCell}


@pytest.fixture
def elsewhere(monkeypatch):
    """Another backend than a CPU's, or so it says; what was compiled for it is forgotten."""
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    yield
    jax.clear_caches()


@pytest.mark.parametrize("reverse", [False, True])
def test_the_parallel_recurrence_is_the_loop(reverse):
    rng = np.random.default_rng(0)
    alpha, drive, begins = rng.normal(size=(11, 2, 2, 4)), rng.normal(size=(11, 3, 2, 4)), np.arange(11) % 5 == 2
    alpha[2] = np.nan  # belongs to what was before a beginning
    h, expected = np.zeros((3, 2, 4)), np.zeros((11, 3, 2, 4))
    for t in reversed(range(11)) if reverse else range(11):
        h = drive[t] if begins[t] else np.einsum("rki,kli->rli", h, alpha[t]) + drive[t]
        expected[t] = h
    found = jax.jit(linear_recurrence, static_argnames="reverse")(alpha, drive, begins, reverse=reverse)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("reset", [None, [1, 0, 0, 1, 0, 0, 0, 1, 0]], ids=["no reset", "resets"])
@pytest.mark.parametrize("name", ["LRU", "RTU"])
def test_states_are_those_of_the_steps(elsewhere, name, reset):
    cell = CELLS[name](3, 5, key=jax.random.key(0))
    xs = jax.random.normal(jax.random.key(1), (9, 3))
    flags = None if reset is None else jnp.array(reset, bool)
    start = h = jax.tree.map(lambda s: s + 0.7, cell.initial_state())
    xs = xs if reset is None else xs.at[2].set(jnp.nan)  # a beginning forgets it
    states, step = jax.jit(lambda *given: cell.trajectory(*given))(start, xs, flags), jax.jit(lambda h, x: cell(h, x))
    for t in range(9):
        h = step(cell.initial_state() if reset and reset[t] else h, xs[t])
        at = jax.tree.map(lambda s, t=t: s[t], states)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14), at, h)


@pytest.mark.parametrize(("name", "every"), [("RTU", 6), ("eLSTM", 6), ("Elman", 1)])
def test_learning_is_that_of_the_steps(request, name, every):
    cell = CELLS[name](3, 5, key=jax.random.key(0))
    estimator = rtrl.RTRL(4) if name == "Elman" else rtrl.RTRL()
    xs = jax.random.normal(jax.random.key(1), (24, 2, 3))
    reset = jnp.arange(24)[:, None] % jnp.array([[10, 7]]) == 5
    ys = jnp.broadcast_to(jnp.sin(jnp.arange(24.0))[:, None, None], (24, 2, 1))

    def learned():
        learner = rtrl.Learner(accelerator.squared_error, estimator, optax.sgd(0.05), update_every=every)
        state = eqx.filter_jit(learner.init)(accelerator.model_of(cell), batch_size=2)
        return learner.run(state, xs, ys, reset=reset)[1].loss

    expected = learned()
    jax.clear_caches()
    request.getfixturevalue("elsewhere")
    np.testing.assert_allclose(learned(), expected, rtol=1e-10)


def test_a_subclass_with_a_gate_of_its_own_takes_its_steps_one_by_one():
    class Bent(rtrl.LRUCell):
        def gate(self, h, inputs):
            return jax.tree.map(jnp.tanh, super().gate(h, inputs))

    key = jax.random.key(0)
    assert rtrl.LRUCell(3, 5, key=key).is_linear
    assert not Bent(3, 5, key=key).is_linear
    assert not rtrl.RTUCell(3, 5, key=key, nonlinear=True).is_linear


def test_the_rival_is_the_same_network():
    cell = rtrl.LRUCell(3, 5, key=jax.random.key(0))
    model, optimizer = accelerator.model_of(cell), optax.sgd(0.1)
    xs, ys = jax.random.normal(jax.random.key(1), (2, 7, 3)), jnp.ones((2, 7, 1))
    learner = rtrl.Learner(accelerator.squared_error, rtrl.RTRL(), optimizer, update_every=7)
    state = eqx.filter_jit(learner.init)(model, batch_size=2)
    after, out = learner.run(state, xs.swapaxes(0, 1), ys.swapaxes(0, 1))
    start = jnp.zeros((2, 5), complex)
    update = chunked_bptt(accelerator.squared_error, optimizer)
    updated, _, h, losses = eqx.filter_jit(update)(model, optimizer.init(0.0), start, xs, ys)
    np.testing.assert_allclose(losses.mean(axis=0), out.loss, rtol=1e-10)
    np.testing.assert_allclose(updated.cell.weight_ih, after.model.cell.weight_ih, rtol=1e-9)
    np.testing.assert_allclose(eqx.filter_jit(parallel_states)(cell, start[0], xs[0])[-1], h[0], rtol=1e-10)
