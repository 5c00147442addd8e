"""The parameters of an observed differential equation, as system identification finds them without RTRL.

Each method starts from the same models, each an `rtrl.ObserverCell` around an `rtrl.ODECell` with an `InLogs` vector
field, and the same streams ((observations of one step before, inputs), observations). All numbers are double precision.
"""

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

import rtrl
from artifact.comparison import Stream, best, some
from artifact.equations.joint_filter import extended_kalman_filter, with_parameters
from artifact.equations.least_squares import best_fit


def in_double(tree: PyTree) -> PyTree:
    """The same with all floating-point arrays in double precision, where that is enabled."""
    return jax.tree.map(lambda a: jnp.asarray(a, float) if eqx.is_inexact_array_like(a) else a, tree)


def in_single(tree: PyTree) -> PyTree:
    """The same in single precision, for what goes on where double precision is not enabled."""
    return jax.tree.map(lambda a: jnp.asarray(a, jnp.float32) if eqx.is_inexact_array(a) else a, tree)


@eqx.filter_jit
@eqx.filter_vmap(in_axes=(eqx.if_array(0), 0, 0, 0, None, None))
def joint_filter(
    model: Any, process: Array, xs: PyTree, ys: Float[Array, "time m"], spread: float, noise: float
) -> tuple[PyTree, Float[Array, "time m"]]:
    """The vector field at the end of a stream, and the prediction errors along it; `process` is in standard deviations.

    The filter knows the initial state, the standard deviation `noise` of the observations, and that the logarithms of
    the parameters are off by up to `spread`, uniformly. State and logarithms receive the same noise at each step.
    """
    cell, observe = model.cell.cell, model.cell.observe
    initial, field = cell.initial_state(), cell.vector_field
    step, parts, start = with_parameters(
        lambda field: eqx.tree_at(lambda c: c.vector_field, cell, field), field, initial
    )
    variances = jnp.where(jnp.arange(len(start)) < len(initial), 0, spread**2 / 3)
    noises = process**2 * jnp.eye(len(start)), noise**2 * jnp.eye(ys.shape[-1])
    means, _, innovations = extended_kalman_filter(
        step, lambda joint: observe(parts(joint)[0]), start, jnp.diag(variances), *noises, xs[1], ys
    )
    return parts(means[-1])[1], innovations


def tuned(
    method: Callable, models: rtrl.Model, processes: Sequence[float], tuning: Stream, stream: Stream, *known: float
) -> tuple[PyTree, float]:
    """The vector fields that an online method has found, and its process noise: the best one on other streams.

    `method(models, process, xs, ys, *known)` gives vector fields and prediction errors. As many networks share the
    tries as learning rates share in `tune_and_train`; the score is the mean squared error over the last fifth.
    """
    tried, networks = np.asarray(processes, float), len(stream[1])
    few = np.tile(np.arange(networks // len(tried)), len(tried))
    with jax.enable_x64(True):
        models, tuning, stream = in_double((models, tuning, stream))
        tried_on, tuning = some(few, (models, tuning))
        _, errors = method(tried_on, jnp.repeat(jnp.asarray(tried), networks // len(tried)), *tuning, *known)
        squares = jnp.where(jnp.isnan(tuning[1]), 0, errors**2)  # what was not observed counts nothing
        process = best(tried, np.asarray(squares[:, errors.shape[1] * 4 // 5 :]).mean(axis=(1, 2)))
        return in_single(method(models, jnp.full(networks, process), *stream, *known)[0]), process


def learned_parts(model: Any) -> tuple[Any, Any]:
    """What is identified: the vector field and the observer's gain."""
    return model.cell.cell.vector_field, model.cell.gain


def least_squares_fits(models: rtrl.Model, gains: Sequence[float], stream: Stream, **options: Any) -> PyTree:
    """The vector field and gain of each network that predict its whole recording best, offline.

    Each is the best of as many fits as there are `gains`, with which the first entry of the observer's gain starts.
    """
    with jax.enable_x64(True):
        models, stream = in_double((models, stream))
        each = [
            jax.tree.map(lambda a, i=i: a[i], (eqx.filter(models, eqx.is_array), stream)) for i in range(len(stream[1]))
        ]
        flats = [np.asarray(ravel_pytree(learned_parts(arrays))[0]) for arrays, _ in each]
        one = eqx.combine(each[0][0], eqx.filter(models, eqx.is_array, inverse=True))
        rebuild, residuals = ravel_pytree(learned_parts(one))[1], prediction_errors(one)
        found = []
        for flat, (_, (xs, ys)) in zip(flats, each, strict=True):
            starts = [_with_gain(one, flat, gain) for gain in gains]
            found.append(rebuild(best_fit(residuals, starts, xs, ys, **options).x))
        return in_single(jax.tree.map(lambda *leaves: jnp.stack(leaves), *found))


def prediction_errors(model: rtrl.Model) -> Callable[..., Float[Array, " points"]]:
    """Of a model with the parameters of a vector; what was not observed counts nothing."""
    rebuild = ravel_pytree(learned_parts(model))[1]

    def residuals(flat: Array, xs: PyTree, ys: Float[Array, "time m"]) -> Float[Array, " points"]:
        predictions = eqx.tree_at(learned_parts, model, rebuild(flat)).predictions(xs)
        return jnp.where(jnp.isnan(ys), 0, predictions - ys).ravel()

    return residuals


def _with_gain(model: Any, flat: np.ndarray, gain: float) -> np.ndarray:
    """A vector of all parameters in which the gain's first entry is another; the gain comes last."""
    changed = flat.copy()
    changed[-model.cell.gain.size] = gain
    return changed
