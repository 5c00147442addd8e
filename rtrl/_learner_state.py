"""What online learning carries from step to step, and what a step reports."""

import dataclasses
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int, PyTree, UInt32

from rtrl._trained import trained
from rtrl._types import Input, Params, State
from rtrl.estimators import Shared, largest
from rtrl.gradient import StreamState
from rtrl.model import Model


class OpenWindow(eqx.Module):
    """The steps since the last update, with `update_every` above 1: what their gradient will be computed from.

    The state at their beginning, the input and the cotangent v = ∂ℓ/∂h of each, where the stream began anew, the sums
    of the direct gradients and losses, and the number of steps that had a weight.
    """

    begin: State
    xs: Input
    vs: State
    reset: Bool[Array, "*batch every"]
    direct: Params
    loss: Float[Array, "*batch"]
    weighted: Float[Array, "*batch"]
    filled: Shared

    def extended(self, x: Input, v: State, reset: Any, weight: Any, direct: Params, loss: Array) -> "OpenWindow":
        """The window with one step more; its arrays have a time axis of length one."""
        filled = largest(self.filled.value)

        def put(kept: Array, new: Array) -> Array:
            return jax.lax.dynamic_update_slice_in_dim(kept, jnp.asarray(new, kept.dtype), filled, 0)

        xs, vs = jax.tree.map(put, (self.xs, self.vs), (x, v))
        resets = self.reset if reset is None else put(self.reset, reset)
        direct = jax.tree.map(jnp.add, self.direct, direct)
        loss = self.loss + loss.astype(self.loss.dtype)
        weighted = self.weighted + (1 if weight is None else weight[0] != 0)
        return OpenWindow(self.begin, xs, vs, resets, direct, loss, weighted, Shared(filled + 1))


def open_window(model: Model, state: State, every: int) -> OpenWindow:
    """A window without any step yet, that begins at a state."""
    kept = jax.tree.map(jnp.asarray, (model.cell.example_input(), state))
    xs, vs = jax.tree.map(lambda a: jnp.zeros((every, *a.shape), a.dtype), kept)
    direct = jax.tree.map(jnp.zeros_like, trained(model))
    zero = jnp.zeros(())
    return OpenWindow(state, xs, vs, jnp.zeros(every, bool), direct, zero, zero, Shared(jnp.zeros((), int)))


class LearnerState(eqx.Module):
    """All that online learning carries: the model, the optimizer's state and where each stream stands.

    `restart` marks the streams that begin anew with the next step; `seed` and `steps` are for readouts that are
    random; `fingerprint` tells the settings that the state belongs to, `layout` where `rtrl.shard` put it.
    """

    model: Any
    optimizer: PyTree
    stream: StreamState
    window: OpenWindow | None
    restart: Bool[Array, "..."] | None
    seed: UInt32[Array, "*networks 2"] | None
    steps: Int[Array, "*networks"]
    fingerprint: UInt32[Array, "*networks 2"]
    batch_size: int | None = eqx.field(static=True)
    layout: Any = eqx.field(static=True, default=None)


class StepOutput(eqx.Module):
    """What a step reports: the loss before the update, and the prediction it was computed from.

    With a batch of B streams the loss is averaged over those with weight, times their weights (0 if there is none), and
    `prediction` has a leading axis B. `finite` says whether the loss and every entry of the gradient were finite; an
    influence matrix that is not makes a gradient that is not. With a learner's `report`, `report` is what it gave,
    and `prediction` is `None`.
    """

    loss: Float[Array, "*time"]
    prediction: PyTree
    finite: Bool[Array, "*time"]
    report: PyTree = None


class NonFiniteError(FloatingPointError):
    """A loss or gradient that is not finite: `step` counts the steps before it, `state` is the last finite one."""

    def __init__(self, step: int, state: LearnerState):
        super().__init__(
            f"learner: expected finite losses and gradients, got NaN or infinity at step {step}; "
            f"error.state is the state before it"
        )
        self.step, self.state = step, state


def set_hyperparameters(state: LearnerState, **values: ArrayLike) -> LearnerState:
    """The state with other hyper-parameters of its optimizer, such as `learning_rate`, from the next update on.

    For optimizers built with `optax.inject_hyperparams(optax.adam)(learning_rate=1e-3)`, at any depth of a chain. (A
    schedule that is known before is an argument of the optimizer.)

    **Raises:** `ValueError` for a name that it has not, or that follows such a schedule.
    """
    arrays = {}
    for name, value in values.items():
        if optax.tree_utils.tree_get_all_with_path(state.optimizer, name, _within("hyperparams_states")):
            raise ValueError(f"{name}: expected a hyper-parameter given as a number, got one that follows a schedule")
        found = optax.tree_utils.tree_get_all_with_path(state.optimizer, name, _within("hyperparams"))
        if not found:
            raise ValueError(
                f"{name}: expected a hyper-parameter that optax.inject_hyperparams made settable, got none"
            )
        arrays[name] = jnp.broadcast_to(jnp.asarray(value, found[0][1].dtype), jnp.shape(found[0][1]))
    changed = optax.tree_utils.tree_set(state.optimizer, _within("hyperparams"), **arrays)
    return dataclasses.replace(state, optimizer=changed)


def _within(field: str) -> Callable[[tuple, Any], bool]:
    """Whether a path in an optimizer's state leads to an entry of `inject_hyperparams`' field."""
    return lambda path, _: len(path) > 1 and getattr(path[-2], "name", None) == field
