"""Eligibility traces against TD(λ) by hand, and against λ-returns by their definition."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import rtrl

DISCOUNT, DECAY, RATE = 0.9, 0.7, 0.05


def test_td_lambda_over_episodes_is_the_hand_written_loop():
    """V = w·x; a trace never crosses from one episode into the next."""
    rng = np.random.default_rng(0)
    xs, rewards, begins = rng.normal(size=(20, 3)), rng.normal(size=20), np.arange(20) % 7 == 0
    np.testing.assert_allclose(along(xs, rewards, begins), by_hand(xs, rewards, begins), rtol=1e-12)


def along(xs, rewards, begins):
    optimizer = optax.chain(rtrl.eligibility_traces(DISCOUNT * DECAY), optax.sgd(RATE))
    w, before = jnp.zeros(3), jnp.zeros(())
    state = optimizer.init(w)
    for x, reward, begin in zip(xs, rewards, begins, strict=True):
        value = w @ x
        error = reward + DISCOUNT * jnp.where(begin, 0, value) - before
        updates, state = optimizer.update(jnp.asarray(x), state, w, error=error, begins=begin)
        w, before = w + updates, value
    return w


def by_hand(xs, rewards, begins):
    w, trace, before = np.zeros(3), np.zeros(3), 0.0
    for x, reward, begin in zip(xs, rewards, begins, strict=True):
        value, old = w @ x, trace
        trace = x if begin else DISCOUNT * DECAY * trace + x
        w = w + RATE * (reward + (0 if begin else DISCOUNT * value) - before) * old
        before = value
    return w


def test_a_whole_episode_of_frozen_values_is_credited_by_its_lambda_returns():
    """Sutton & Barto (2018), section 12.2: offline, the sum of δ e is that of (G^λ - V) ∇V, here through a GRU."""
    cell_key, readout_key, x_key = jax.random.split(jax.random.key(0), 3)
    model = rtrl.Model(rtrl.GRUCell(2, 3, key=cell_key), eqx.nn.Linear(3, 1, key=readout_key))
    xs, rewards = jax.random.normal(x_key, (6, 2)), np.cos(np.arange(6))
    traces = rtrl.eligibility_traces(DISCOUNT * DECAY)
    stream, before = rtrl.start(rtrl.RTRL(), model), 0.0
    state = traces.init(eqx.filter(model, eqx.is_inexact_array))
    total = jax.tree.map(jnp.zeros_like, state)
    for t in range(7):  # the last one closes the episode
        stream, now = rtrl.step_gradient(rtrl.RTRL(), model, lambda p, _: p[0], stream, xs[t % 6], None)
        error = (rewards[t - 1] if t else 0.0) + DISCOUNT * (0.0 if t in (0, 6) else now.loss) - before
        updates, state = traces.update(now.gradient, state, error=jnp.asarray(error), begins=t in (0, 6))
        total, before = jax.tree.map(jnp.subtract, total, updates), now.loss
    expected = by_returns(model, xs, rewards)
    for one, other in zip(jax.tree.leaves(total), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)


def by_returns(model, xs, rewards):
    params, static = eqx.partition(model, eqx.is_inexact_array)

    def values(params):
        whole, h, found = eqx.combine(params, static), jnp.zeros(3), []
        for x in xs:
            h = whole.cell(h, x)
            found.append(whole.readout(h)[0])
        return jnp.stack(found)

    v, steps = np.append(values(params), 0.0), len(xs)

    def n_step(t, n):
        return sum(DISCOUNT**k * rewards[t + k] for k in range(n)) + DISCOUNT**n * v[t + n]

    returns = [
        sum((1 - DECAY) * DECAY ** (n - 1) * n_step(t, n) for n in range(1, steps - t))
        + DECAY ** (steps - t - 1) * n_step(t, steps - t)
        for t in range(steps)
    ]
    errors = jnp.asarray(np.array(returns) - v[:-1])
    return jax.vjp(values, params)[1](errors)[0]


@pytest.mark.parametrize("error", [np.nan, np.inf])
def test_an_error_that_is_not_finite_counts_as_zero(error):
    traces = rtrl.eligibility_traces(0.5)
    _, state = traces.update(jnp.ones(2), traces.init(jnp.zeros(2)), error=jnp.ones(()))
    updates, after = traces.update(jnp.ones(2), state, error=jnp.asarray(error))
    np.testing.assert_array_equal(updates, 0)
    np.testing.assert_allclose(after, 1.5)


def test_a_decay_that_would_grow_is_refused():
    with pytest.raises(ValueError, match=r"^decay: expected discount times lambda, in \[0, 1\], got 1.1$"):
        rtrl.eligibility_traces(1.1)
