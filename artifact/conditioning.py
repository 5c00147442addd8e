"""Prediction of a discounted return by TD(λ), with any estimator's gradient of the value."""

import functools
from collections.abc import Callable, Iterator

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
from jaxtyping import Array, Float, Key, PRNGKeyArray, PyTree

import rtrl
from artifact.comparison import best
from artifact.long_memory import GAIN, NETWORKS, around, elstm
from rtrl.tasks import discounted_return, trace_conditioning, trace_conditioning_levels

UNITS = 16
STEPS = 60_000
METHODS = {
    "RTRL": (rtrl.RTRL(), False),
    "TBPTT(1)": (rtrl.TBPTT(1), False),
    "readout only": (rtrl.TBPTT(1), True),
}
"""An estimator, and whether the cell stays as it was drawn."""


def value(prediction: Array, _: None) -> Array:
    return prediction[0]


def predict_returns(
    estimator: rtrl.AbstractEstimator,
    model: rtrl.Model,
    xs: Float[Array, "time inputs"],
    ys: Float[Array, " time"],
    rate: Array,
    *,
    discount: float,
    decay: float,
    learns: Callable[[PyTree], PyTree] = lambda gradient: gradient,
) -> Float[Array, " time"]:
    r"""The value at each step, by TD(λ) with Adam on what `learns` leaves of the direction $-\delta_t e_t$.

    $$\delta_t = y_t + \gamma V_{t+1} - V_t, \qquad e_t = \gamma \lambda e_{t-1} + \partial V_t / \partial \theta$$

    Sutton & Barto (2018), "Reinforcement learning", section 12.2.
    """
    params, static = eqx.partition(model, eqx.is_inexact_array)
    optimizer = optax.adam(rate)

    def step(carry: tuple, xy: tuple) -> tuple[tuple, Array]:
        params, moments, stream, traces, before = carry
        x, y_before = xy
        stream, now = rtrl.step_gradient(estimator, eqx.combine(params, static), value, stream, x, None)
        error = y_before + discount * now.loss - before
        change, moments = optimizer.update(learns(jax.tree.map(lambda e: -error * e, traces)), moments)
        traces = jax.tree.map(lambda e, g: discount * decay * e + g, traces, now.gradient)
        return (optax.apply_updates(params, change), moments, stream, traces, now.loss), now.loss

    nothing = jax.tree.map(jnp.zeros_like, params)
    begin = params, optimizer.init(params), rtrl.start(estimator, model), nothing, jnp.zeros(())
    return jax.lax.scan(step, begin, (xs, jnp.concatenate([jnp.zeros(1), ys[:-1]])))[1]


def conditioning() -> Iterator[pd.DataFrame]:
    """Trace conditioning: who learns to expect the outcome, and how well; rates are chosen by networks not scored."""
    for interval in (10, 30, 120):
        discount = 1 - 1 / interval
        least, constant = trace_conditioning_levels((interval, interval), discount)
        for name, (estimator, readout_only) in METHODS.items():
            score = functools.partial(_errors, estimator, readout_only, interval, discount)
            rates = np.repeat((0.0003, 0.001, 0.003), NETWORKS // 3)
            tuning, scored = jax.random.split(jax.random.key(interval), (2, NETWORKS))
            rate = best(rates[:: NETWORKS // 3], score(tuning, rates))
            error = score(scored, np.full(NETWORKS, rate))
            print(interval, name, rate, error.mean(), least, constant, flush=True)
            labels = {"interval": interval, "method": name, "rate": rate, "least": least, "constant": constant}
            yield pd.DataFrame({"network": range(NETWORKS), "error": error, "steps": STEPS}).assign(**labels)


def _errors(
    estimator: rtrl.AbstractEstimator,
    readout_only: bool,
    interval: int,
    discount: float,
    keys: Key[Array, " networks"],
    rates: Float[np.ndarray, " networks"],
) -> Float[np.ndarray, " networks"]:
    """Mean squared errors of the return over the last quarter of the stream, but for its end."""

    def only_readout(gradient: rtrl.Model) -> rtrl.Model:
        return eqx.tree_at(lambda m: m.cell, gradient, jax.tree.map(jnp.zeros_like, gradient.cell))

    def one(key: PRNGKeyArray, rate: Array) -> Array:
        cell_key, readout_key, stream_key = jax.random.split(key, 3)
        xs, ys, *_ = trace_conditioning(stream_key, STEPS, (interval, interval))
        cell = elstm(UNITS, around(interval))(xs.shape[1], key=cell_key)
        model = rtrl.Model(cell, eqx.nn.Linear(UNITS, 1, key=readout_key))
        learns = only_readout if readout_only else lambda gradient: gradient
        values = predict_returns(estimator, model, GAIN * xs, ys, rate, discount=discount, decay=0.9, learns=learns)
        scored = slice(STEPS * 3 // 4, STEPS - 5 * interval)
        return ((values - discounted_return(ys, discount)) ** 2)[scored].mean()

    return np.asarray(eqx.filter_jit(jax.vmap(one))(keys, jnp.asarray(rates)))
