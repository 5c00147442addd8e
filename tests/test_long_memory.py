"""What follows many networks through long tasks counts right, and its learners are what they say."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import rtrl
from artifact.conditioning import predict_returns
from artifact.long_memory import Method, Task, elstm, model_of, named, naming, recall, solve, solved_at
from artifact.memory_cost import cost
from artifact.memory_credit import credit, influence_norms, while_learning
from artifact.pixels import read

KEYS = jax.random.split(jax.random.key(0), 2)


def some_task(window, solved):
    return Task(lambda key, steps: (), 1, 1, 1, named, named, solved, window)


def test_a_task_is_solved_at_the_first_answer_whose_last_ones_were_good_enough():
    task, at = some_task(window=3, solved=0.4), np.array([5.0, 15, 25, 35, 45, 55])
    errors = np.array([1.0, 0, 1, 0, 0, 0])
    assert solved_at(task, at, errors) == 35  # (0 + 1 + 0) / 3
    assert np.isnan(solved_at(task, at, errors, end=35))  # what comes when it has diverged does not count
    assert np.isnan(solved_at(task, at[:2], errors[:2]))
    assert np.isnan(solved_at(task, at, np.ones(6)))


def test_the_exact_gradient_solves_recall_and_the_immediate_one_does_not():
    found = {}
    for name, estimator in {"RTRL": rtrl.RTRL(), "TBPTT(1)": rtrl.TBPTT(1)}.items():
        found[name] = solve(recall(6), elstm(8, (2.0, 18.0)), Method(estimator), np.full(2, 0.03), KEYS, 1500)
    assert found["RTRL"]["solved"].notna().all()
    assert (found["RTRL"]["solved"] < 1500 * 7).all()
    assert found["TBPTT(1)"]["solved"].isna().all()
    assert (found["TBPTT(1)"]["error"] > 0.3).all()
    assert found["RTRL"]["diverged"].isna().all()


def test_a_network_that_diverges_is_said_to():
    task = dataclasses.replace(recall(6), loss=lambda prediction, y: jnp.sum((prediction - y) ** 2))
    method = Method(rtrl.RTRL(), optimizer=optax.sgd)
    rows = solve(task, elstm(4, (2.0, 18.0)), method, np.array([1e-3, 1e30]), KEYS, 2000)
    assert rows["diverged"].isna().tolist() == [True, False]
    assert np.isnan(rows["solved"][1])
    assert rows["rate"].tolist() == [1e-3, 1e30]


def test_td_lambda_with_adam_is_the_hand_written_loop():
    discount, decay, rate, steps = 0.9, 0.8, 0.01, 15
    cell_key, readout_key, x_key = jax.random.split(jax.random.key(3), 3)
    model = rtrl.Model(rtrl.GRUCell(2, 3, key=cell_key), eqx.nn.Linear(3, 1, key=readout_key))
    xs, ys = jax.random.normal(x_key, (steps, 2)), jnp.sin(jnp.arange(steps) * 1.0)
    values = predict_returns(rtrl.RTRL(), model, xs, ys, jnp.asarray(rate), discount=discount, decay=decay)

    theta, rebuild = jax.flatten_util.ravel_pytree(eqx.filter(model, eqx.is_inexact_array))
    whole = lambda theta: eqx.combine(rebuild(theta), model)  # noqa: E731
    h, influence, trace, before = jnp.zeros(3), jnp.zeros((3, theta.size)), jnp.zeros(theta.size), 0.0
    adam = optax.adam(rate)
    moments = adam.init(theta)
    for t in range(steps):
        advance = lambda h, theta, t=t: whole(theta).cell(h, xs[t])  # noqa: E731
        dynamics, immediate = jax.jacobian(advance, argnums=(0, 1))(h, theta)
        h, influence = advance(h, theta), dynamics @ influence + immediate
        now, (v, direct) = jax.value_and_grad(lambda h, theta: whole(theta).readout(h)[0], argnums=(0, 1))(h, theta)
        assert values[t] == pytest.approx(float(now), rel=1e-9)
        error = (ys[t - 1] if t else 0.0) + discount * now - before
        change, moments = adam.update(-error * trace, moments)
        theta, before, trace = theta + change, now, discount * decay * trace + v @ influence + direct


def test_digits_read_with_boundaries_told_are_backpropagation_through_each():
    """With an update after each digit and resets, RTRL and BPTT are the same algorithm."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 60)
    digits = labels[:, None] * np.linspace(0, 1, 8) + 0.1 * rng.normal(size=(60, 8))
    task = naming(lambda key, steps: (), 1, 2, 8)
    shares = {}
    for estimator in (rtrl.RTRL(), rtrl.ChunkedBPTT()):
        method = Method(estimator, 8)
        data = (digits[:40], labels[:40]), (digits[40:], labels[40:])
        shares[str(estimator)] = read(task, elstm(8, (2.0, 20.0)), method, np.full(2, 0.03), KEYS, *data, 3, told=True)
    one, other = shares.values()
    np.testing.assert_array_equal(one, other)
    assert one.shape == (3, 2)
    assert (one[-1] > 0.9).all()


def test_the_credit_of_a_step_is_that_of_its_own_copy_of_the_parameters():
    task, steps = recall(4), 6
    model = model_of(task, elstm(3, (2.0, 8.0)), KEYS[0])
    xs, state = jax.random.normal(KEYS[1], (steps, task.inputs)), model.cell.initial_state()

    def gradient(kept):
        """Of the loss at the end, through the parameters at the kept steps alone."""

        def loss(cell):
            h = state
            for s, x in enumerate(xs):
                h = (cell if s in kept else model.cell)(h, x)
            return optax.softmax_cross_entropy_with_integer_labels(model.predict(h, xs[-1]), 1)

        return jax.flatten_util.ravel_pytree(eqx.filter_grad(loss)(model.cell))[0]

    total = gradient(range(steps))
    expected = [gradient([s]) @ total / (total @ total) for s in reversed(range(steps))]
    np.testing.assert_allclose(credit(model, state, xs, jnp.asarray(1)), expected, rtol=1e-9)
    assert sum(expected) == pytest.approx(1)


def test_networks_that_learn_to_recall_owe_their_answers_to_the_mark():
    states, shares = while_learning(6, 8, [0, 1200], KEYS[0])
    reached = shares.set_index(["trials", "steps"])["share"]
    assert reached[0, 3] > 0.5 > 0.3 > reached[1200, 3]
    assert reached[1200, 7] - reached[1200, 6] > 0.1 > reached[0, 7] - reached[0, 6]
    one = jax.tree.map(lambda a: a[0] if eqx.is_array(a) else a, states)
    norms = influence_norms(one, jnp.zeros((5, 4)))
    assert norms.shape == (5, 8)
    assert (np.asarray(norms) > 0).all()


def test_the_cost_of_a_step_is_counted_in_whole_windows():
    table, turns = cost({"RTRL": Method(rtrl.RTRL()), "every 3": Method(rtrl.ChunkedBPTT(), 3)}, 6, 2, 0, rounds=3)
    assert turns.shape == (3, 2)
    np.testing.assert_allclose(table["us"], turns.median())
    assert (table["low"] <= table["us"]).all()
    assert (table["kilobytes"] > 0).all()
