"""Gradients of a model's loss over a stream: one step online, several, or a whole sequence."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from rtrl._checks import check_block, check_lengths, check_model, check_step
from rtrl._trained import join, split, trained
from rtrl._types import Input, Memory, Params, Scalar, State, Target
from rtrl.estimators import BPTT, AbstractEstimator, add
from rtrl.model import Model

Loss = Callable[[PyTree, Target], Scalar]


class StreamState(eqx.Module):
    """Where a stream stands: the cell's state and the estimator's memory of how it came there."""

    cell: State
    memory: Memory


class StepGradient(eqx.Module):
    """One step's loss and prediction, and the gradient of that loss, shaped like the model.

    Of several steps: all losses and predictions, and the gradient of the summed loss.
    """

    loss: Float[Array, "*time"]
    prediction: PyTree
    gradient: Params


def start(estimator: AbstractEstimator, model: Model, key: PRNGKeyArray | None) -> StreamState:
    """A stream at the cell's initial state."""
    state = initial_state(model)
    return StreamState(state, estimator.init(model.cell, state, key=key))


def initial_state(model: Model) -> State:
    """The cell's initial state, as a constant."""
    return jax.lax.stop_gradient(jax.tree.map(jnp.asarray, model.cell.initial_state()))


def step_gradient(
    estimator: AbstractEstimator, model: Model, loss: Loss, stream: StreamState, x: Input, y: Target
) -> tuple[StreamState, StepGradient]:
    r"""Advances a stream by one step and estimates $d\ell_t/d\theta$ there.

    The readout's part is exact whatever the estimator; the cell's part is its direct part (through `output`)
    plus the estimator's pullback of $\partial\ell_t/\partial h_t$.
    """
    state, pullback, memory = estimator.step(model.cell, stream.cell, x, stream.memory)
    params, static = split(model)

    def instantaneous(params, state):
        prediction = join(params, static).predict(state)
        return loss(prediction, y), prediction

    differentiate = jax.value_and_grad(instantaneous, argnums=(0, 1), has_aux=True)
    (value, prediction), (direct, v) = differentiate(params, state)
    gradient = _add_to_cell(direct, pullback(v))
    return StreamState(state, memory), StepGradient(value, prediction, gradient)


def window_gradient(
    estimator: AbstractEstimator, model: Model, loss: Loss, stream: StreamState, xs: Input, ys: Target
) -> tuple[StreamState, StepGradient]:
    """Advances a stream by several steps with the same parameters; the gradient of their summed loss."""
    params, static = split(model)

    def summed(params, states):
        predictions = jax.vmap(join(params, static).predict)(states)
        losses = jax.vmap(loss)(predictions, ys)
        return losses.sum(), (losses, predictions)

    def cotangents(states):
        (_, seen), (direct, vs) = jax.value_and_grad(summed, argnums=(0, 1), has_aux=True)(params, states)
        return vs, (*seen, direct)

    state, gradient, (losses, predictions, direct), memory = estimator.window(
        model.cell, stream.cell, xs, stream.memory, cotangents
    )
    return StreamState(state, memory), StepGradient(losses, predictions, _add_to_cell(direct, gradient))


def _add_to_cell(direct: Params, through_time: Params) -> Params:
    return eqx.tree_at(lambda g: g.cell, direct, add(direct.cell, through_time))


@eqx.filter_jit
def sequence_gradient(
    estimator: AbstractEstimator,
    model: Model,
    loss: Loss,
    xs: Input,
    ys: Target,
    *,
    key: PRNGKeyArray | None = None,
) -> tuple[Scalar, Params]:
    r"""The loss summed over a sequence, and its gradient at frozen parameters, as the estimator sees it.

    $$L = \sum_{t=1}^T \ell(\hat y_t, y_t), \qquad g \approx dL/d\theta$$

    `xs` and `ys` are pytrees with a leading time axis; `loss(prediction, target)` is a scalar. The gradient
    is shaped like the model. Exact estimators give what `BPTT()` gives, to rounding. Raises `ValueError` if
    `xs` and `ys` are empty, differ in length or are shorter than `block_size`, or an input does not fit the
    cell; `TypeError` if the model
    cannot be trained (an integer array that is not frozen, a state that changes shape, a loss that is no
    scalar).
    """
    check_model(model)
    check_lengths(xs, ys)
    check_block(estimator, xs)
    check_step(model, loss, *jax.tree.map(lambda a: a[0], (xs, ys)))
    if isinstance(estimator, BPTT):
        return _backpropagate(model, loss, xs, ys)

    def step(carry, xy):
        stream, total = carry
        stream, now = step_gradient(estimator, model, loss, stream, *xy)
        return (stream, jax.tree.map(jnp.add, total, now.gradient)), now.loss

    carry = (start(estimator, model, key), jax.tree.map(jnp.zeros_like, trained(model)))
    (_, total), losses = jax.lax.scan(step, carry, (xs, ys))
    return losses.sum(), total


def _backpropagate(model: Model, loss: Loss, xs: Input, ys: Target) -> tuple[Scalar, Params]:
    params, static = split(model)

    @jax.value_and_grad
    def total_loss(params):
        model = join(params, static)

        def step(state, xy):
            state = model.cell(state, xy[0])
            return state, loss(model.predict(state), xy[1])

        return jax.lax.scan(step, initial_state(model), (xs, ys))[1].sum()

    return total_loss(params)
