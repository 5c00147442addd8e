"""Gradients of a model's loss over a stream: one step online, several, or a whole sequence."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Key, PRNGKeyArray, PyTree

from rtrl._checks import check_model, check_step, check_stream, flags, numbers
from rtrl._sizes import check_sizes, named
from rtrl._trained import join, split, trained
from rtrl._types import Input, Memory, Params, Scalar, State, Target
from rtrl.estimators import BPTT, AbstractEstimator, outputs_of, over_steps
from rtrl.memory import check_fits, memory_shapes
from rtrl.model import Model, ModelOrShared, read, whole

Loss = Callable[[PyTree, Target], Scalar]


class StreamState(eqx.Module):
    """Where a stream stands: the cell's state and the estimator's memory of how it came there."""

    cell: State
    memory: Memory


class StepGradient(eqx.Module):
    """One step's loss times its weight, its prediction, and the gradient of that loss, shaped like the model.

    Of several steps: all losses and predictions, the gradient of the sum of the losses.
    """

    loss: Float[Array, "*time"]
    prediction: PyTree
    gradient: Params


def start(estimator: AbstractEstimator, model: ModelOrShared, key: PRNGKeyArray | None = None) -> StreamState:
    """A stream at the cell's initial state.

    Raises what the estimator's `init` raises, `TypeError` if the model cannot be trained, `MemoryError` if the
    influence does not fit.
    """
    check_model(model)
    check_fits(estimator, model)
    return begin_stream(estimator, model, key)


def begin_stream(estimator: AbstractEstimator, model: ModelOrShared, key: PRNGKeyArray | None = None) -> StreamState:
    """`start` of a model that was looked at."""
    cell = whole(model).cell
    state = jax.tree.map(jnp.asarray, cell.initial_state())
    return StreamState(state, estimator.init(cell, state, key=key))


def step_gradient(
    estimator: AbstractEstimator,
    model: ModelOrShared,
    loss: Loss,
    stream: StreamState,
    x: Input,
    y: Target,
    *,
    reset: ArrayLike | None = None,
    weight: ArrayLike | None = None,
    key: PRNGKeyArray | None = None,
) -> tuple[StreamState, StepGradient]:
    r"""Advances a stream by one step and estimates $w_t \, d\ell_t/d\theta$ there.

    The readout's part is exact whatever the estimator; the cell's part is its direct part (through `output`)
    plus the estimator's `backward` of $\partial\ell_t/\partial h_t$. `reset`: before this step the stream begins
    anew. `weight` is $w_t$, 1 unless given; at 0 nothing of the target reaches the gradient. `key` is for readouts
    that are random. For learners of your own:

        stream, now = rtrl.step_gradient(estimator, model, value, stream, x, None)
        traces = jax.tree.map(lambda e, g: discount * decay * e + g, traces, now.gradient)        # TD(λ)

    **Raises:** `ValueError` for an offline estimator or a stream that another one has begun, `TypeError` if the model
    cannot be trained or the loss is no scalar.
    """
    check_online(estimator)
    check_model(model)
    _check_begun_by(estimator, model, stream)
    check_step(whole(model), loss, x, y, key)
    given = jax.tree.map(lambda a: jnp.asarray(a)[None], (x, y, reset, weight, key))
    xs, ys, resets, weights, keys = given
    stream, now = window_gradient(estimator, model, loss, stream, xs, ys, reset=resets, weight=weights, key=keys)
    loss_now, prediction = jax.tree.map(lambda a: a[0], (now.loss, now.prediction))
    return stream, StepGradient(loss_now, prediction, now.gradient)


def window_gradient(
    estimator: AbstractEstimator,
    model: ModelOrShared,
    loss: Loss,
    stream: StreamState,
    xs: Input,
    ys: Target,
    *,
    reset: Bool[Array, " time"] | None = None,
    weight: Float[Array, " time"] | None = None,
    key: Key[Array, " time"] | None = None,
) -> tuple[StreamState, StepGradient]:
    """Advances a stream by several steps with the same parameters; the gradient of the sum of their weighted losses."""
    shared, model = model, whole(model)
    if not jax.tree.leaves(xs) and reset is None:
        reset = jnp.zeros(len(jax.tree.leaves(ys)[0]), bool)
    states, residual = estimator.forward(model.cell, stream.cell, xs, stream.memory, reset)
    outputs = outputs_of(model.cell, states, xs)
    (losses, predictions), of_readout, v_outputs = loss_gradient(model.readout, loss, outputs, ys, weight, key)
    of_cell, memory = estimator.from_outputs(model.cell, residual, states, xs, v_outputs)
    gradient = to_shared(shared, of_parts(model, of_cell, of_readout))
    last = jax.tree.map(lambda s: s[-1], states)
    return StreamState(last, memory), StepGradient(losses, predictions, gradient)


def loss_gradient(
    readout: Callable, loss: Loss, outputs: tuple[PyTree, PyTree], ys: Target, weight: Any, key: Any
) -> tuple[tuple[Float[Array, " time"], PyTree], Params, PyTree]:
    """Weighted losses and predictions of several steps, the readout's gradient, ∂ℓ/∂output at each step."""
    params, static = split(readout)
    floats, rest = outputs

    def summed(params: Params, floats: PyTree) -> tuple[Scalar, tuple[Array, PyTree]]:
        def one(output: PyTree, y: Target, weight: Any, key: Any) -> tuple[Array, PyTree]:
            prediction = read(join(params, static), output, key)
            value = loss(_without_way_back(prediction, weight), y)
            weighted = value if weight is None else jnp.where(weight == 0, 0, weight.astype(value.dtype) * value)
            return weighted, prediction

        losses, predictions = over_steps(one, eqx.combine(floats, rest), ys, weight, key)
        return losses.sum(), (losses, predictions)

    (_, seen), (gradient, v_outputs) = jax.value_and_grad(summed, argnums=(0, 1), has_aux=True)(params, floats)
    return seen, gradient, v_outputs


def of_parts(model: Model, of_cell: Params, of_readout: Params) -> Params:
    """A gradient shaped like the model, from those of its two parts."""
    parts = lambda m: (m.cell, m.readout)  # noqa: E731
    return eqx.tree_at(parts, trained(model), (of_cell, of_readout), is_leaf=lambda leaf: leaf is None)


def _without_way_back(prediction: PyTree, weight: Any) -> PyTree:
    """The prediction; at weight 0 the way back is cut by a selection, which lets no NaN of the target through."""
    if weight is None:
        return prediction
    return jax.tree.map(lambda p: jnp.where(weight == 0, jax.lax.stop_gradient(p), p), prediction)


def to_shared(model: Any, gradient: Params) -> Params:
    """The gradient by the arrays that a model keeps, from the gradient by those that it uses (`eqx.nn.Shared`)."""
    if isinstance(model, Model):
        return gradient
    params, static = split(model)
    return jax.vjp(lambda p: trained(whole(join(p, static))), params)[1](gradient)[0]


def _check_begun_by(estimator: AbstractEstimator, model: ModelOrShared, stream: StreamState) -> None:
    """Raises `ValueError` if the memory of a stream is not what the estimator's would be."""
    forms = [
        (jax.tree.structure(memory), [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(memory)])
        for memory in (memory_shapes(estimator, model), stream.memory)
    ]
    if forms[0] != forms[1]:
        raise ValueError(
            f"stream: expected one that rtrl.start({named(estimator)}, model) began, got the memory of another "
            f"estimator or model"
        )


def check_online(estimator: AbstractEstimator) -> None:
    """Raises `ValueError` for `BPTT`."""
    if isinstance(estimator, BPTT):
        raise ValueError(
            "estimator: expected one with an online step, got BPTT(), which needs the whole sequence; "
            "use rtrl.sequence_gradient(BPTT(), ...), or TBPTT(horizon) online"
        )


def sequence_gradient(
    estimator: AbstractEstimator,
    model: ModelOrShared,
    loss: Loss,
    xs: Input,
    ys: Target,
    *,
    reset: ArrayLike | None = None,
    weight: ArrayLike | None = None,
    update_every: int = 1,
    key: PRNGKeyArray | None = None,
) -> tuple[Scalar, Params]:
    r"""The loss summed over a sequence, and its gradient at frozen parameters, as the estimator sees it.

    $$L = \sum_{t=1}^T w_t \, \ell(\hat y_t, y_t), \qquad g \approx dL/d\theta$$

    `xs` and `ys` are pytrees with a leading time axis; `loss(prediction, target)` is a scalar. Where `reset` is true
    the stream begins anew before that step; `weight` is w, 1 unless given. The gradient is shaped like the model. Exact
    estimators give what `BPTT()` gives, to rounding; `update_every` is what a learner would have, for estimators whose
    credit depends on it (`ChunkedBPTT`, `LayerLocalRTRL`).

    **Raises:** `ValueError` if arrays are empty or differ in length, or an input does not fit the cell; `TypeError` if
    the model cannot be trained (an integer array that is not frozen, a state that changes shape, a loss that is no
    scalar).
    """
    check_stream(None, xs=xs, ys=ys, reset=reset, weight=weight)  # here, for `filter_jit` chokes on what is no array
    return _sequence_gradient(estimator, model, loss, (xs, ys, flags(reset), numbers(weight)), update_every, key)


@eqx.filter_jit
def _sequence_gradient(
    estimator: AbstractEstimator,
    model: ModelOrShared,
    loss: Loss,
    stream: tuple,
    update_every: int,
    key: PRNGKeyArray | None,
) -> tuple[Scalar, Params]:
    check_model(model)
    check_sizes(update_every=update_every)
    check_fits(estimator, model)
    xs, ys, reset, weight = stream
    steps = len(jax.tree.leaves(stream)[0])
    x, y = jax.tree.map(lambda a: a[0], (xs, ys))
    check_step(whole(model), loss, x, y, key)
    keys = None if key is None else jax.random.split(key, steps)
    begun, k = begin_stream(estimator, model, key), steps if isinstance(estimator, BPTT) else update_every

    def window(carry: tuple, given: tuple) -> tuple[tuple, Array]:
        stream, total = carry
        x, y, reset, weight, key = given
        stream, now = window_gradient(estimator, model, loss, stream, x, y, reset=reset, weight=weight, key=key)
        return (stream, jax.tree.map(jnp.add, total, now.gradient)), now.loss.sum()

    carry = begun, jax.tree.map(jnp.zeros_like, trained(model))
    given, windowed, values = (xs, ys, reset, weight, keys), steps // k * k, []
    if windowed:
        carry, value = over_windows(window, carry, jax.tree.map(lambda a: a[:windowed], given), k)
        values.append(value.sum())
    if windowed < steps:
        carry, value = window(carry, jax.tree.map(lambda a: a[windowed:], given))
        values.append(value)
    return jnp.stack(values).sum(), carry[1]


def over_windows(function: Callable, carry: PyTree, given: PyTree, k: int) -> tuple[PyTree, PyTree]:
    """`jax.lax.scan` over windows of k steps; `given` has the time axis that it came with, for whole windows.

    Windows of one step get their axis inside the scan: XLA would copy the whole stream to add it outside.
    """
    if k == 1:
        return jax.lax.scan(lambda c, now: function(c, jax.tree.map(lambda a: a[None], now)), carry, given)
    return jax.lax.scan(function, carry, jax.tree.map(lambda a: a.reshape(-1, k, *a.shape[1:]), given))
