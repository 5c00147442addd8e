"""Learners of one's own, on the gradient of a single step."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import rtrl

DISCOUNT, DECAY, RATE, STEPS = 0.9, 0.8, 0.05, 12


def value(prediction, _):
    return prediction[0]


def test_td_lambda_with_traces_of_the_gradient_is_the_hand_written_loop():
    """e ← γλ e + ∂V_t/∂θ, δ = r + γ V_{t+1} - V_t, θ ← θ + α δ e; the reference carries dense Jacobians in NumPy."""
    cell_key, readout_key, x_key = jax.random.split(jax.random.key(0), 3)
    model = rtrl.Model(rtrl.GRUCell(2, 3, key=cell_key), eqx.nn.Linear(3, 1, key=readout_key))
    xs, rewards = jax.random.normal(x_key, (STEPS, 2)), np.sin(np.arange(STEPS))
    np.testing.assert_allclose(td_lambda(model, xs, rewards), by_hand(model, xs, rewards), rtol=1e-9)


def td_lambda(model, xs, rewards):
    params, static = eqx.partition(model, eqx.is_inexact_array)
    stream, traces, before = rtrl.start(rtrl.RTRL(), model), jax.tree.map(jnp.zeros_like, params), None
    for x, reward in zip(xs, rewards, strict=True):
        model = eqx.combine(params, static)
        after, now = rtrl.step_gradient(rtrl.RTRL(), model, value, stream, x, None)
        if before is not None:
            error = reward + DISCOUNT * now.loss - before
            params = jax.tree.map(lambda p, e, error=error: p + RATE * error * e, params, traces)
        traces = jax.tree.map(lambda e, g: DISCOUNT * DECAY * e + g, traces, now.gradient)
        stream, before = after, now.loss
    return jax.flatten_util.ravel_pytree(params)[0]


def by_hand(model, xs, rewards):
    theta, rebuild = jax.flatten_util.ravel_pytree(eqx.filter(model, eqx.is_inexact_array))
    static = eqx.filter(model, eqx.is_inexact_array, inverse=True)
    whole = lambda theta: eqx.combine(rebuild(theta), static)  # noqa: E731
    step = lambda h, theta, x: whole(theta).cell(h, x)  # noqa: E731
    score = lambda h, theta: whole(theta).readout(h)[0]  # noqa: E731
    h, influence, trace, before = jnp.zeros(3), np.zeros((3, theta.size)), np.zeros(theta.size), None
    for x, reward in zip(xs, rewards, strict=True):
        dynamics, immediate = jax.jacobian(step, argnums=(0, 1))(h, theta, x)
        influence, h = dynamics @ influence + immediate, step(h, theta, x)
        now, (v, direct) = jax.value_and_grad(score, argnums=(0, 1))(h, theta)
        if before is not None:
            theta = theta + RATE * (reward + DISCOUNT * now - before) * trace
        trace, before = DISCOUNT * DECAY * trace + v @ influence + direct, now
    return theta


def test_a_step_that_begins_anew_remembers_nothing():
    cell_key, readout_key, x_key = jax.random.split(jax.random.key(1), 3)
    model = rtrl.Model(rtrl.ELSTMCell(2, 3, key=cell_key), eqx.nn.Linear(3, 1, key=readout_key))
    xs, begins = jax.random.normal(x_key, (4, 2)), rtrl.start(rtrl.RTRL(), model)
    stream = begins
    for x in xs[:3]:
        stream, _ = rtrl.step_gradient(rtrl.RTRL(), model, value, stream, x, None)
    _, now = rtrl.step_gradient(rtrl.RTRL(), model, value, stream, xs[3], None, reset=True, weight=2.0)
    _, first = rtrl.step_gradient(rtrl.RTRL(), model, value, begins, xs[3], None)
    for one, other in zip(jax.tree.leaves(now.gradient), jax.tree.leaves(first.gradient), strict=True):
        np.testing.assert_allclose(one, 2 * other, rtol=1e-12)
