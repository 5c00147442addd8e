"""Online learning: the trajectory of the parameters, batches, and what a user gets wrong."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import optax
import oracles
import pytest
from cells import OscillatorCell, make_model, make_stream, weighted_loss

import rtrl


@pytest.mark.parametrize("cell", ["elman", "gru"])
@pytest.mark.parametrize("optimizer", [optax.sgd(0.05), optax.adam(0.01)], ids=["sgd", "adam"])
def test_updates_at_every_step_follow_the_textbook_recursion(cell, optimizer):
    model, (xs, (targets, _)) = make_model(cell), make_stream(60)
    ys = (targets, jnp.ones(60))
    visited = oracles.textbook_training(
        model.cell, model.readout, weighted_loss, optimizer, xs, list(zip(*ys, strict=True))
    )
    learner = rtrl.Learner(weighted_loss, rtrl.RTRL(), optimizer)
    state = learner.init(model)
    for t in range(60):
        state, _ = learner.step(state, xs[t], (ys[0][t], ys[1][t]))
        theta = jax.flatten_util.ravel_pytree((state.model.cell, state.model.readout))[0]
        np.testing.assert_allclose(theta, visited[t], rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize("estimator", [rtrl.RTRL(), rtrl.TBPTT(4)], ids=str)
def test_run_is_step_repeated(estimator):
    model, (xs, ys) = make_model("gru"), make_stream(12)
    learner = rtrl.Learner(weighted_loss, estimator, optax.adam(0.01))
    stepped, losses = learner.init(model), []
    for t in range(12):
        stepped, output = learner.step(stepped, xs[t], (ys[0][t], ys[1][t]))
        losses.append(output.loss)
    ran, outputs = learner.run(learner.init(model), xs, ys)
    np.testing.assert_allclose(outputs.loss, jnp.stack(losses), rtol=1e-12)
    for a, b in zip(jax.tree.leaves(ran), jax.tree.leaves(stepped), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-13)


def test_a_batch_averages_the_gradients_of_its_streams():
    """One SGD update after a window, at frozen parameters before it: four streams by plain loops."""
    model, (xs, ys) = make_model("gru"), make_stream(9, batch=(4,))
    only_last = (ys[0], jnp.zeros((9, 4)).at[-1].set(1.0))
    learner = rtrl.Learner(weighted_loss, rtrl.RTRL(), optax.sgd(1.0))
    state, outputs = learner.run(learner.init(model, batch_size=4), xs, only_last)
    assert outputs.prediction.shape == (9, 4, 2)

    def mean_loss(model):
        streams = [
            oracles.loop_loss(model, weighted_loss, xs[:, b], [(y[b], w[b]) for y, w in zip(*only_last, strict=True)])
            for b in range(4)
        ]
        return sum(streams) / 4

    value, gradient = eqx.filter_value_and_grad(mean_loss)(model)
    np.testing.assert_allclose(outputs.loss[-1], value, rtol=1e-12)
    expected = eqx.apply_updates(model, jax.tree.map(jnp.negative, gradient))
    for a, b in zip(jax.tree.leaves(state.model), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


def test_a_user_cell_learns():
    key = jax.random.key(0)
    model = rtrl.Model(OscillatorCell(key), eqx.nn.Linear(4, 2, key=key))
    xs, (targets, _) = make_stream(400)
    learner = rtrl.Learner(weighted_loss, rtrl.RTRL(), optax.adam(0.01))
    targets = jnp.cumsum(xs[:, :2], axis=0) * 0.05
    _, outputs = learner.run(learner.init(model), xs, (targets, jnp.ones(400)))
    assert outputs.loss[-100:].mean() < 0.5 * outputs.loss[:100].mean()


def test_chunks_continue_the_stream():
    model, (xs, ys) = make_model("elman"), make_stream(10)
    learner = rtrl.Learner(weighted_loss, rtrl.RTRL(), optax.adam(0.01))
    whole, _ = learner.run(learner.init(model), xs, ys)
    state = learner.init(model)
    for piece in (slice(0, 3), slice(3, 10)):
        state, _ = learner.run(state, xs[piece], jax.tree.map(lambda a, piece=piece: a[piece], ys))
    for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(whole), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-14)


class Nameless(rtrl.AbstractCell):
    def __call__(self, state, x):
        return state + x

    def initial_state(self):
        return jnp.zeros(2)


class Counting(Nameless):
    def initial_state(self):
        return {"steps": jnp.zeros((), int), "h": jnp.zeros(2)}


def bad_calls():
    model, (xs, ys) = make_model("gru"), make_stream(6)
    learner = rtrl.Learner(weighted_loss, rtrl.RTRL(), optax.sgd(0.1))
    key = jax.random.key(0)
    return {
        "horizon: expected an integer of at least 1, got 0": lambda: rtrl.TBPTT(0),
        "batch_size: expected None or an integer of at least 1, got 0": lambda: learner.init(model, batch_size=0),
        "estimator: expected one with an online step, got BPTT()": lambda: rtrl.Learner(
            weighted_loss, rtrl.BPTT(), optax.sgd(0.1)
        ).init(model),
        r"x: expected shape (3,) for GRUCell, got (4,)": lambda: learner.step(
            learner.init(model), jnp.zeros(4), (ys[0][0], ys[1][0])
        ),
        "xs, ys: expected the same number of steps in every array, got [5, 6]": lambda: learner.run(
            learner.init(model), xs[:5], ys
        ),
        "hidden_size: expected an integer of at least 1, got 0": lambda: rtrl.GRUCell(1, 0, key=key),
        "cell: expected a state of real floating-point arrays, got one of dtype int": lambda: learner.init(
            rtrl.Model(Counting(), eqx.nn.Identity())
        ),
        "cell: expected Nameless to define example_input()": lambda: rtrl.TBPTT(2).init(Nameless(), jnp.zeros(2)),
    }


@pytest.mark.parametrize("message", bad_calls())
def test_bad_input_gets_one_clear_line(message):
    with pytest.raises((ValueError, TypeError)) as caught:
        bad_calls()[message]()
    assert message in str(caught.value)


def test_a_model_without_a_cell_is_refused(monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as users run it: without run-time type checks
    with pytest.raises(TypeError, match=r"cell: expected a subclass of rtrl.AbstractCell, got Identity"):
        rtrl.Model(eqx.nn.Identity(), eqx.nn.Identity())  # pyright: ignore[reportArgumentType]
