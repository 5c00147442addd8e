"""What notebooks compare RTRL with does what it says: the filter is Kalman's, the fit finds the truth."""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import rtrl
from artifact.equations.error_bars import influence_rows, newton_step
from artifact.equations.joint_filter import extended_kalman_filter, with_parameters
from artifact.equations.least_squares import best_fit
from artifact.equations.recursive_prediction_error import gauss_newton_online
from artifact.equations.system_identification import joint_filter, least_squares_fits, prediction_errors, tuned
from rtrl.tasks import InLogs, Pendulum, observed


def kalman(a, c, q, r, mean, covariance, us, ys):
    """The textbook filter in plain numpy, with inverses."""
    means, covariances = [], []
    for u, y in zip(us, ys, strict=True):
        mean, covariance = a @ mean + u, a @ covariance @ a.T + q
        if not np.isnan(y).any():
            gain = covariance @ c.T @ np.linalg.inv(c @ covariance @ c.T + r)
            mean, covariance = mean + gain @ (y - c @ mean), (np.eye(len(mean)) - gain @ c) @ covariance
        means.append(mean)
        covariances.append(covariance)
    return np.array(means), np.array(covariances)


def test_on_a_linear_system_it_is_the_kalman_filter():
    rng = np.random.default_rng(0)
    a, c = np.array([[0.9, 0.2], [-0.1, 0.8]]), np.array([[1.0, 0.5]])
    q, r, start = np.diag([0.1, 0.2]), np.array([[0.3]]), np.array([[2.0, 0.3], [0.3, 1.0]])
    us, ys = rng.normal(size=(50, 2)), rng.normal(size=(50, 1))
    ys[7] = np.nan
    with jax.enable_x64(True):
        found = extended_kalman_filter(
            lambda h, u: a @ h + u,
            lambda h: c @ h,
            jnp.ones(2),
            jnp.asarray(start),
            q,
            r,
            jnp.asarray(us),
            jnp.asarray(ys),
        )
    means, covariances = kalman(a, c, q, r, np.ones(2), start, us, ys)
    np.testing.assert_allclose(found[0], means, rtol=1e-10)
    np.testing.assert_allclose(found[1], covariances, rtol=1e-10)


def test_the_slope_of_a_known_state_is_least_squares():
    """y = θ x + noise, θ constant: the joint filter's last mean is the ridge regression of Bayes."""
    rng = np.random.default_rng(1)
    xs, ys = rng.normal(size=(40, 1)), rng.normal(size=(40, 1))
    with jax.enable_x64(True):
        step, parts, start = with_parameters(lambda theta: lambda h, x: theta * x, jnp.zeros(1), jnp.zeros(1))
        prior = jnp.diag(jnp.array([0.0, 2.0]))
        means, *_ = extended_kalman_filter(
            step, lambda z: parts(z)[0], start, prior, 0 * prior, jnp.eye(1) * 0.5, jnp.asarray(xs), jnp.asarray(ys)
        )
    np.testing.assert_allclose(means[-1, 1], (xs * ys).sum() / 0.5 / ((xs**2).sum() / 0.5 + 1 / 2.0), rtol=1e-10)


def pendulums(networks, steps, noise):
    """Wrong models, and streams of the right one, solved by the same steps."""

    def model_of(field):
        cell = rtrl.ODECell(field, jnp.zeros(2), time_step=0.5, solver=diffrax.Tsit5(), example_args=jnp.zeros(()))
        return rtrl.Model(rtrl.ObserverCell(cell, lambda h: h[:1], jnp.array([[0.1], [0.0]])), eqx.nn.Identity())

    def stream(key):
        pushes = 0.5 * jax.random.normal(key, (steps,))
        path = rtrl.Model(model_of(InLogs(Pendulum())).cell.cell, eqx.nn.Identity()).predictions(pushes)
        before, ys = observed(key, path, lambda h: h[:1], noise)
        return (before, pushes), ys

    keys = jax.random.split(jax.random.key(0), networks)
    models = eqx.filter_vmap(lambda key: model_of(InLogs(Pendulum()).scattered(key, 0.2)))(keys)
    return models, jax.tree.map(np.asarray, jax.vmap(stream)(keys))


def off(fields):
    with jax.enable_x64(True):
        return np.asarray(jax.vmap(lambda field: field.relative_error(InLogs(Pendulum())))(fields))


def test_without_noise_all_find_the_parameters():
    models, stream = pendulums(2, 300, 1e-6)
    fields, _ = least_squares_fits(models, [0.1], stream, x_scale="jac")
    assert off(fields).max() < 1e-4
    models, stream = pendulums(4, 300, 1e-3)
    for method, known in ((joint_filter, (0.2, 1e-3)), (gauss_newton_online, (0.2, 0.1, 1e-3))):
        fields, process = tuned(method, models, [1e-6, 1e-1], stream, stream, *known)
        assert process == 1e-6
        assert off(fields).max() < 0.02


def test_the_best_of_several_starts_is_taken():
    def double_well(x):
        return jnp.concatenate([x**2 - 1, 0.1 * (x - 1)])

    assert abs(best_fit(double_well, [np.array([-1.1]), np.array([1.1])]).x[0] - 1) < 1e-6


def test_a_step_from_nearby_is_the_least_squares_fit_and_rows_are_derivatives():
    models, stream = pendulums(2, 200, 0.05)
    rows, errors = map(np.asarray, influence_rows(models, *stream))
    one, (xs, ys) = jax.tree.map(lambda a: a[0] if eqx.is_array(a) else a, (models, stream))
    residuals = prediction_errors(one)
    start = jax.flatten_util.ravel_pytree((one.cell.cell.vector_field, one.cell.gain))[0]
    np.testing.assert_allclose(rows[0], jax.jacrev(residuals)(start, xs, ys), rtol=1e-2, atol=1e-3)
    expected = np.linalg.lstsq(rows[0].astype(float), errors[0].astype(float))[0]
    found = newton_step(rows[0], errors[0])
    np.testing.assert_allclose(found["step"], expected, rtol=1e-6)
    assert np.isnan(newton_step(rows[0] * np.nan, errors[0])["step"]).all()


def test_white_errors_have_the_same_standard_errors_either_way_and_slow_ones_do_not():
    rng = np.random.default_rng(2)
    rows, errors = rng.normal(size=(20000, 2)), rng.normal(size=20000)
    white = newton_step(rows, errors)
    np.testing.assert_allclose(white["robust"], white["white"], rtol=0.1)
    slow = np.convolve(rng.normal(size=20003), np.ones(4) / 2, "valid")
    trend = newton_step(np.convolve(rng.normal(size=20003), np.ones(4) / 2, "valid")[:, None], slow)
    assert trend["robust"] > 1.4 * trend["white"]
