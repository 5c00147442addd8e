"""The stream whose every gradient is known, and the walk whose forgetting is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rtrl.tasks import LinearFilter, ring_walk

FILTER = LinearFilter(correlation=0.5, poles=(0.2, 0.8), weights=(0.4, 0.2), noise=0.2)


def unrolled(w, u, horizon, steps=200_000):
    """The loss and the truncated gradient of a plain loop over one long stream, in numpy."""
    xs, ys = (np.asarray(a)[:, 0] for a in FILTER.stream(jax.random.key(0), steps))
    h, losses, gradients = 0.0, [], []
    path = []
    for x, y in zip(xs, ys, strict=True):
        path = [(h, x), *path[: horizon - 1]]
        h = w * h + u * x
        by_h = [(w**k * before, w**k * seen) for k, (before, seen) in enumerate(path)]
        losses.append((h - y) ** 2 / 2)
        gradients.append((h - y) * np.sum(by_h, axis=0))
    return np.mean(losses[1000:]), np.mean(gradients[1000:], axis=0)


@pytest.mark.parametrize("horizon", [1, 3])
def test_linear_filter_knows_what_a_plain_loop_measures(horizon):
    loss, gradient = unrolled(0.7, 0.6, horizon)
    np.testing.assert_allclose(loss, FILTER.loss(0.7, 0.6), rtol=0.02)
    np.testing.assert_allclose(gradient, FILTER.gradient(0.7, 0.6, horizon), atol=0.01)


def test_linear_filter_gradient_is_that_of_its_loss():
    e = 1e-5
    by_w = (FILTER.loss(0.7 + e, 0.6) - FILTER.loss(0.7 - e, 0.6)) / (2 * e)
    by_u = (FILTER.loss(0.7, 0.6 + e) - FILTER.loss(0.7, 0.6 - e)) / (2 * e)
    np.testing.assert_allclose(FILTER.gradient(0.7, 0.6), [by_w, by_u], rtol=1e-6)
    np.testing.assert_allclose(FILTER.gradient(0.7, 0.6, 100), [by_w, by_u], rtol=1e-6)


def test_linear_filter_refuses_a_stream_that_explodes():
    with pytest.raises(ValueError, match="poles"):
        LinearFilter(correlation=0.5, poles=(1.0,), weights=(1.0,), noise=0.1)


def test_ring_walk_forgets_at_its_eigenvalue():
    walks = jax.vmap(lambda key: ring_walk(key, 4, points=6, stay=0.3, start=0))(
        jax.random.split(jax.random.key(1), 40_000)
    )
    eigenvalue = 0.3 + 0.7 * np.cos(2 * np.pi / 6)
    np.testing.assert_allclose(walks.mean(axis=0)[:, 0], eigenvalue ** np.arange(1, 5), atol=0.02)
    np.testing.assert_allclose(walks.mean(axis=0)[:, 1], 0, atol=0.02)
    np.testing.assert_allclose(jnp.linalg.norm(walks, axis=2), 1, rtol=1e-5)


def test_ring_walk_starts_anywhere():
    first = jax.vmap(lambda key: ring_walk(key, 1))(jax.random.split(jax.random.key(2), 20_000))
    np.testing.assert_allclose(first.mean(axis=0), 0, atol=0.03)


def test_ring_walk_refuses_what_is_no_probability():
    with pytest.raises(ValueError, match="stay"):
        ring_walk(jax.random.key(0), 3, stay=1.5)
