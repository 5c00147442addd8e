"""Online learning: a model, a gradient estimator and an optimizer, one update per time step."""

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import PRNGKeyArray, PyTree

from rtrl._types import Input, Scalar, Target
from rtrl.estimators import AbstractEstimator
from rtrl.gradient import Loss, StepGradient, StreamState, check_lengths, start, step_gradient
from rtrl.model import Model


class LearnerState(eqx.Module):
    """All that online learning carries: the model, the optimizer's state and where each stream stands."""

    model: Model
    optimizer: optax.OptState
    stream: StreamState
    batch_size: int | None = eqx.field(static=True)


class StepOutput(eqx.Module):
    """What a step reports: the loss before the update, and the prediction it was computed from.

    With a batch of B streams the loss is averaged over them and `prediction` has a leading axis B.
    """

    loss: Scalar
    prediction: PyTree


class Learner(eqx.Module):
    r"""Predict, score, learn: at every time step one gradient estimate and one optimizer update.

    $$\theta_{t+1} = \theta_t + \mathrm{optimizer}(g_t), \qquad g_t \approx d\ell_t/d\theta$$

    `loss(prediction, target)` gives a scalar; `estimator` is any of `rtrl`'s online estimators; `optimizer`
    an optax gradient transformation.
    """

    loss: Loss
    estimator: AbstractEstimator
    optimizer: optax.GradientTransformation

    def init(self, model: Model, *, key: PRNGKeyArray | None = None, batch_size: int | None = None) -> LearnerState:
        """The state before the first step; `batch_size=B` for B parallel streams, their gradients averaged.

        `key` feeds estimators that are random. Raises `ValueError` if `batch_size` is below 1 or the estimator
        is offline.
        """
        if batch_size is not None and batch_size < 1:
            raise ValueError(f"batch_size: expected None or an integer of at least 1, got {batch_size}")
        optimizer = self.optimizer.init(eqx.filter(model, eqx.is_inexact_array))
        if batch_size is None:
            stream = start(self.estimator, model, key)
        else:
            keys = None if key is None else jax.random.split(key, batch_size)
            start_one = eqx.filter_vmap(
                lambda key: start(self.estimator, model, key), in_axes=eqx.if_array(0), axis_size=batch_size
            )
            stream = start_one(keys)
        return LearnerState(model, optimizer, stream, batch_size)

    @eqx.filter_jit
    def step(self, state: LearnerState, x: Input, y: Target) -> tuple[LearnerState, StepOutput]:
        """One time step: predict and score with the parameters of now, then update them."""
        stream, now = self._gradient(state, x, y)
        params = eqx.filter(state.model, eqx.is_inexact_array)
        updates, optimizer = self.optimizer.update(now.gradient, state.optimizer, params)
        model = eqx.apply_updates(state.model, updates)
        return LearnerState(model, optimizer, stream, state.batch_size), StepOutput(now.loss, now.prediction)

    @eqx.filter_jit
    def run(self, state: LearnerState, xs: Input, ys: Target) -> tuple[LearnerState, StepOutput]:
        """`step` over the leading time axis of `xs` and `ys`, compiled once; outputs gain that axis.

        Raises `ValueError` if `xs` and `ys` differ in length.
        """
        check_lengths(xs, ys)
        arrays, static = eqx.partition(state, eqx.is_array)

        def step(arrays, xy):
            state, output = self.step(eqx.combine(arrays, static), *xy)
            return eqx.filter(state, eqx.is_array), output

        arrays, outputs = jax.lax.scan(step, arrays, (xs, ys))
        return eqx.combine(arrays, static), outputs

    def _gradient(self, state: LearnerState, x: Input, y: Target) -> tuple[StreamState, StepGradient]:
        def one_stream(stream, x, y):
            return step_gradient(self.estimator, state.model, self.loss, stream, x, y)

        if state.batch_size is None:
            return one_stream(state.stream, x, y)
        streams, now = jax.vmap(one_stream)(state.stream, x, y)
        mean = jax.tree.map(lambda a: jnp.mean(a, axis=0), (now.loss, now.gradient))
        return streams, StepGradient(mean[0], now.prediction, mean[1])
