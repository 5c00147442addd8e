"""Gradients of a model's loss over a stream: one step online, or a whole sequence at frozen parameters."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray, PyTree

from rtrl._types import Input, Memory, Params, Scalar, State, Target
from rtrl.cells import AbstractCell
from rtrl.estimators import BPTT, AbstractEstimator
from rtrl.model import Model

Loss = Callable[[PyTree, Target], Scalar]


class StreamState(eqx.Module):
    """Where a stream stands: the cell's state and the estimator's memory of how it came there."""

    cell: State
    memory: Memory


class StepGradient(eqx.Module):
    """One step's loss and prediction, and the gradient of that loss, shaped like the model."""

    loss: Scalar
    prediction: PyTree
    gradient: Params


def start(estimator: AbstractEstimator, model: Model, key: PRNGKeyArray | None) -> StreamState:
    """A stream at the cell's initial state.

    Raises `TypeError` unless every array of the state is of real floating-point numbers.
    """
    state = initial_state(model.cell)
    return StreamState(state, estimator.init(model.cell, state, key=key))


def initial_state(cell: AbstractCell) -> State:
    """The cell's initial state as a constant, checked."""
    state = jax.tree.map(jnp.asarray, cell.initial_state())
    for dtype in {leaf.dtype for leaf in jax.tree.leaves(state)}:
        if not jnp.issubdtype(dtype, jnp.floating):
            raise TypeError(f"cell: expected a state of real floating-point arrays, got one of dtype {dtype}")
    return jax.lax.stop_gradient(state)


def step_gradient(
    estimator: AbstractEstimator, model: Model, loss: Loss, stream: StreamState, x: Input, y: Target
) -> tuple[StreamState, StepGradient]:
    r"""Advances a stream by one step and estimates $d\ell_t/d\theta$ there.

    The readout's part is exact whatever the estimator; the cell's part is its direct part (through `output`)
    plus the estimator's pullback of $\partial\ell_t/\partial h_t$.
    """
    state, pullback, memory = estimator.step(model.cell, stream.cell, x, stream.memory)
    params, static = eqx.partition(model, eqx.is_inexact_array)

    def instantaneous(params, state):
        prediction = eqx.combine(params, static).predict(state)
        return loss(prediction, y), prediction

    differentiate = jax.value_and_grad(instantaneous, argnums=(0, 1), has_aux=True)
    (value, prediction), (direct, v) = differentiate(params, state)
    through_time = jax.tree.map(jnp.add, direct.cell, pullback(v))
    gradient = eqx.tree_at(lambda g: g.cell, direct, through_time)
    return StreamState(state, memory), StepGradient(value, prediction, gradient)


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
    `xs` and `ys` differ in length.
    """
    check_lengths(xs, ys)
    if isinstance(estimator, BPTT):
        return _backpropagate(model, loss, xs, ys)

    def step(carry, xy):
        stream, total = carry
        stream, now = step_gradient(estimator, model, loss, stream, *xy)
        return (stream, jax.tree.map(jnp.add, total, now.gradient)), now.loss

    params = eqx.filter(model, eqx.is_inexact_array)
    carry = (start(estimator, model, key), jax.tree.map(jnp.zeros_like, params))
    (_, total), losses = jax.lax.scan(step, carry, (xs, ys))
    return losses.sum(), total


def _backpropagate(model: Model, loss: Loss, xs: Input, ys: Target) -> tuple[Scalar, Params]:
    @eqx.filter_value_and_grad
    def total_loss(model):
        def step(state, xy):
            state = model.cell(state, xy[0])
            return state, loss(model.predict(state), xy[1])

        return jax.lax.scan(step, initial_state(model.cell), (xs, ys))[1].sum()

    return total_loss(model)


def check_lengths(xs: Input, ys: Target) -> None:
    """Raises `ValueError` unless all arrays of `xs` and `ys` have the same number of steps."""
    steps = {len(leaf) for leaf in jax.tree.leaves((xs, ys))}
    if len(steps) != 1:
        raise ValueError(f"xs, ys: expected the same number of steps in every array, got {sorted(steps)}")
