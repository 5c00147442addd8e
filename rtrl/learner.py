"""Online learning: a model, a gradient estimator and an optimizer, one update per time step."""

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, PRNGKeyArray, PyTree

from rtrl._checks import check_lengths, check_model, check_step
from rtrl._sizes import check_sizes
from rtrl._trained import trained
from rtrl._types import Input, Params, Target
from rtrl.estimators import AbstractEstimator, Shared
from rtrl.gradient import Loss, StepGradient, StreamState, start, step_gradient, window_gradient
from rtrl.model import Model


class LearnerState(eqx.Module):
    """All that online learning carries: the model, the optimizer's state and where each stream stands."""

    model: Model
    optimizer: PyTree
    stream: StreamState
    batch_size: int | None = eqx.field(static=True)


class StepOutput(eqx.Module):
    """What a step reports: the loss before the update, and the prediction it was computed from.

    With a batch of B streams the loss is averaged over them and `prediction` has a leading axis B. `finite`
    says whether the loss and every entry of the gradient were finite; an influence matrix that is not makes a
    gradient that is not.
    """

    loss: Float[Array, "*time"]
    prediction: PyTree
    finite: Bool[Array, "*time"]


class NonFiniteError(FloatingPointError):
    """A loss or gradient that is not finite: `step` counts the steps before it, `state` is the last finite one."""

    def __init__(self, step: int, state: LearnerState):
        super().__init__(
            f"learner: expected finite losses and gradients, got NaN or infinity at step {step}; "
            f"error.state is the state before it"
        )
        self.step, self.state = step, state


class Learner(eqx.Module):
    r"""Predict, score, learn: at every time step one gradient estimate and one optimizer update.

    $$\theta_{t+1} = \theta_t + \mathrm{optimizer}(g_t), \qquad g_t \approx d\ell_t/d\theta$$

    `loss(prediction, target)` gives a scalar; `estimator` is any of `rtrl`'s online estimators; `optimizer`
    an optax gradient transformation. With `update_every=k` the parameters stay for k steps and are updated
    with the mean of k gradients, which `run` computes together. With `raise_nonfinite=True`, `step` and `run`
    raise `NonFiniteError` (outside other transformations of JAX only).

    `step` copies what it returns; in a loop of your own, `equinox.filter_jit(learner.step, donate="all")`
    updates the influence matrix in place. Raises `ValueError` if `update_every` is below 1.
    """

    loss: Loss
    estimator: AbstractEstimator
    optimizer: optax.GradientTransformation
    update_every: int = eqx.field(static=True, default=1)
    raise_nonfinite: bool = eqx.field(static=True, default=False)

    def __check_init__(self):
        check_sizes(update_every=self.update_every)

    def init(self, model: Model, *, key: PRNGKeyArray | None = None, batch_size: int | None = None) -> LearnerState:
        """The state before the first step; `batch_size=B` for B parallel streams, their gradients averaged.

        `key` feeds estimators that are random. Raises `ValueError` if `batch_size` is below 1 or the estimator
        is offline, `TypeError` if the model cannot be trained.
        """
        if batch_size is not None and batch_size < 1:
            raise ValueError(f"batch_size: expected None or an integer of at least 1, got {batch_size}")
        check_model(model)
        optimizer = self._optimizer_of(model).init(trained(model))
        if batch_size is None:
            return LearnerState(model, optimizer, start(self.estimator, model, key), None)

        def stream(key: PRNGKeyArray | None) -> StreamState:
            return start(self.estimator, model, key)

        keys = None if key is None else jax.random.split(key, batch_size)
        axes = _stream_axes(jax.eval_shape(stream, key))
        streams = jax.vmap(stream, out_axes=axes, axis_size=batch_size)(keys)
        return LearnerState(model, optimizer, streams, batch_size)

    def step(self, state: LearnerState, x: Input, y: Target) -> tuple[LearnerState, StepOutput]:
        """One time step: predict and score with the parameters of now, then update them.

        Raises `ValueError` if the input does not fit the cell, `TypeError` if a step changes the state's shape
        or the loss is no scalar.
        """
        after, output = self._step(state, x, y)
        if self.raise_nonfinite and not output.finite:
            raise NonFiniteError(0, state)
        return after, output

    def run(
        self, state: LearnerState, xs: Input, ys: Target, *, aligned: bool | None = None
    ) -> tuple[LearnerState, StepOutput]:
        """`step` over the leading time axis of `xs` and `ys`, compiled once; outputs gain that axis.

        `aligned` says whether a window of `update_every` steps begins with the first of these; `None` looks at the
        state, which under `jit` or `vmap` cannot be known. Raises as `step` does, and `ValueError` if `xs` and `ys`
        are empty or differ in length, if `aligned` is wrong, or if it cannot be known and the estimator's credit
        depends on it (`LayerLocalRTRL`, `ChunkedBPTT`).
        """
        check_lengths(xs, ys)
        after, outputs = self._run(state, xs, ys, self._in_windows(state, aligned))
        if self.raise_nonfinite and not outputs.finite.all():
            good = int(jnp.argmin(outputs.finite))
            before = jax.tree.map(lambda a: a[:good], (xs, ys))
            last = self._run(state, before[0], before[1], self._in_windows(state, aligned))[0] if good else state
            raise NonFiniteError(good, last)
        return after, outputs

    def _optimizer_of(self, model: Model) -> optax.GradientTransformation:
        if self.update_every == 1:
            return self.optimizer
        dtype = jnp.result_type(*jax.tree.leaves(trained(model)))  # optax would accumulate in float32
        return optax.MultiSteps(self.optimizer, self.update_every, accumulator_dtype=dtype).gradient_transformation()

    def _in_windows(self, state: LearnerState, aligned: bool | None) -> bool:
        """Whether to compute whole windows together, because one begins here."""
        if self.update_every == 1:
            return False
        if isinstance(state.optimizer.mini_step, Tracer):
            if aligned is None and self.estimator.needs_windows:
                raise ValueError(
                    f"aligned: expected True or False with {type(self.estimator).__name__} and update_every="
                    f"{self.update_every} under jit or vmap, where it cannot be known whether a window begins; got None"
                )
            return bool(aligned)
        begins = bool((state.optimizer.mini_step == 0).all())
        if aligned and not begins:
            raise ValueError("aligned: expected False or None for a state in the middle of a window, got True")
        return begins if aligned is None else aligned

    @eqx.filter_jit
    def _step(self, state: LearnerState, x: Input, y: Target) -> tuple[LearnerState, StepOutput]:
        first = (x, y) if state.batch_size is None else jax.tree.map(lambda a: a[0], (x, y))
        check_step(state.model, self.loss, *first)
        streams, now = self._gradient(step_gradient, state, x, y)
        model, optimizer = _update(self._optimizer_of(state.model), state.model, state.optimizer, now.gradient)
        return LearnerState(model, optimizer, streams, state.batch_size), _report(now)

    @eqx.filter_jit
    def _run(self, state: LearnerState, xs: Input, ys: Target, in_windows: bool) -> tuple[LearnerState, StepOutput]:
        if not in_windows:
            return _scan(self._step, state, (xs, ys))
        k = self.update_every
        windows = len(jax.tree.leaves(xs)[0]) // k
        whole = jax.tree.map(lambda a: a[: windows * k].reshape(windows, k, *a.shape[1:]), (xs, ys))
        state, outputs = _scan(self._window, state, whole)
        outputs = jax.tree.map(lambda a: a.reshape(windows * k, *a.shape[2:]), outputs)
        rest = jax.tree.map(lambda a: a[windows * k :], (xs, ys))
        state, others = _scan(self._step, state, rest)
        return state, jax.tree.map(lambda a, b: jnp.concatenate([a, b]), outputs, others)

    def _window(self, state: LearnerState, xs: Input, ys: Target) -> tuple[LearnerState, StepOutput]:
        streams, now = self._gradient(window_gradient, state, xs, ys)
        mean = jax.tree.map(lambda g: g / self.update_every, now.gradient)
        model, inner = _update(self.optimizer, state.model, state.optimizer.inner_opt_state, mean)
        counted = state.optimizer._replace(inner_opt_state=inner, gradient_step=state.optimizer.gradient_step + 1)
        return LearnerState(model, counted, streams, state.batch_size), _report(now)

    def _gradient(self, of_one, state: LearnerState, x: Input, y: Target) -> tuple[StreamState, StepGradient]:
        """`of_one` is `step_gradient` or `window_gradient`; a batch has its streams behind the time axis."""

        def of_stream(stream, x, y):
            stream, now = of_one(self.estimator, state.model, self.loss, stream, x, y)
            return stream, (now.loss, now.prediction), now.gradient

        if state.batch_size is None:
            streams, seen, gradient = of_stream(state.stream, x, y)
            return streams, StepGradient(*seen, gradient)
        axes, batch = _stream_axes(state.stream), int(of_one is window_gradient)
        of_streams = jax.vmap(of_stream, in_axes=(axes, batch, batch), out_axes=(axes, batch, 0))
        streams, (loss, prediction), gradient = of_streams(state.stream, x, y)
        mean = jax.tree.map(lambda g: g.mean(axis=0), gradient)
        return streams, StepGradient(loss.mean(axis=batch), prediction, mean)


def _update(
    optimizer: optax.GradientTransformation, model: Model, optimizer_state: PyTree, gradient: Params
) -> tuple[Model, PyTree]:
    """Optax descends along the conjugate of JAX's gradient of a complex parameter; real ones are themselves."""
    descent = jax.tree.map(jnp.conj, gradient)
    updates, optimizer_state = optimizer.update(descent, optimizer_state, trained(model))
    return eqx.apply_updates(model, updates), optimizer_state


def _report(now: StepGradient) -> StepOutput:
    return StepOutput(now.loss, now.prediction, jnp.isfinite(now.loss) & _all_finite(now.gradient))


def _stream_axes(stream: StreamState) -> PyTree[int | None]:
    """The batch axis of every array of a stream: the first, or none for what all streams share."""
    return jax.tree.map(
        lambda node: None if isinstance(node, Shared) else 0, stream, is_leaf=lambda node: isinstance(node, Shared)
    )


def _scan(step, state: LearnerState, xys: tuple[Input, Target]) -> tuple[LearnerState, StepOutput]:
    arrays, static = eqx.partition(state, eqx.is_array)

    def body(arrays, xy):
        state, output = step(eqx.combine(arrays, static), *xy)
        return eqx.filter(state, eqx.is_array), output

    arrays, outputs = jax.lax.scan(body, arrays, xys)
    return eqx.combine(arrays, static), outputs


def _all_finite(tree: Params) -> Bool[Array, ""]:
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)]).all()
