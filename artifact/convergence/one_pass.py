"""Networks that learn in one pass over a stream, and their loss over all of it on the way."""

import dataclasses
from collections.abc import Mapping, Sequence

import equinox as eqx
import jax
import numpy as np
import optax
from jaxtyping import Array, Float, Key

import rtrl
from artifact.comparison import ModelOf, begin, in_whole_windows, least, some, stages
from artifact.convergence.ring import squared_error


@dataclasses.dataclass(frozen=True)
class Pass:
    """One pass over a stream for each seed: how it is cut, and with which steps the networks learn."""

    data: tuple[Float[Array, "seeds time inputs"], Float[Array, "seeds time outputs"]]
    keys: Key[Array, " seeds"]
    saved_at: Sequence[int]
    """After how many of equal stretches the loss is taken; the last one ends the pass."""
    decay: float

    @property
    def stretch(self) -> int:
        """Steps in each stretch."""
        return self.data[0].shape[1] // self.saved_at[-1]


@eqx.filter_jit
def loss_over_all(models: rtrl.Model, xs: Array, ys: Array) -> Float[Array, " networks"]:
    """The mean loss of each frozen model over the whole of its own stream."""

    def one(model: rtrl.Model, xs: Array, ys: Array) -> Array:
        return jax.vmap(squared_error)(model.predictions(xs), ys).mean()

    return eqx.filter_vmap(one)(models, xs, ys)


@eqx.filter_jit
def gradient_norm_over_all(models: rtrl.Model, xs: Array, ys: Array) -> Float[Array, " networks"]:
    """The norm of each frozen model's gradient over its whole stream, by backpropagation through all of it."""

    def one(model: rtrl.Model, xs: Array, ys: Array) -> Array:
        _, gradient = rtrl.sequence_gradient(rtrl.BPTT(), model, squared_error, xs, ys)
        return optax.global_norm(gradient) / len(xs)

    return eqx.filter_vmap(one)(models, xs, ys)


def run_pass(
    learner: rtrl.Learner, model_of: ModelOf, rates: Sequence[float], over: Pass
) -> tuple[Float[np.ndarray, "times rates seeds"], list[rtrl.Model]]:
    """The loss over all data at the parameters saved on the way, for each rate and seed, and the saved models.

    The models of a time have one leading axis: all seeds at the first rate, at the second, and so on.
    """
    seeds, stretch = len(over.keys), over.stretch
    each = np.tile(np.arange(seeds), len(rates))
    xs, ys = jax.tree.map(lambda a: a[each], over.data)
    states = in_whole_windows(begin(learner, model_of, over.keys[each]))
    falling = lambda done: np.repeat(rates, seeds) * (1 + done / 1000) ** -over.decay  # noqa: E731
    stream = xs[:, : over.saved_at[-1] * stretch], ys[:, : over.saved_at[-1] * stretch]
    on_the_way = enumerate(stages(learner, states, falling, stream, stretch), 1)
    saved = [states.model for k, (states, _) in on_the_way if k in over.saved_at]
    losses = [np.asarray(loss_over_all(models, xs, ys)) for models in saved]
    return np.reshape(losses, (len(saved), len(rates), seeds)), saved


def at_rate(models: rtrl.Model, which: int, seeds: int) -> rtrl.Model:
    """All seeds' models at one of the rates."""
    return some(slice(which * seeds, (which + 1) * seeds), models)


def of_best_rate(losses: Float[np.ndarray, "times rates seeds"]) -> tuple[int, Float[np.ndarray, "times seeds"]]:
    """Which rate has the lowest mean loss at the end, and the losses at it; one that is not finite counts as worst."""
    best = int(least(losses[-1].mean(axis=1)))
    return best, losses[:, best]


def loss_within(
    budget: float, price: float, steps: Float[np.ndarray, " times"], losses: Float[np.ndarray, "times seeds"]
) -> Float[np.ndarray, " seeds"]:
    """The logarithm of each seed's loss when a budget is spent at so much a step, between the saved times."""
    at = np.log(budget / price)
    return np.array([np.interp(at, np.log(steps), np.log(line)) for line in losses.T])


def log_ratio_ahead(
    cell: str,
    ours: str,
    rival: str,
    cost: Mapping[tuple[str, str], float],
    losses: Mapping[tuple[str, str], Float[np.ndarray, "times seeds"]],
    steps: Float[np.ndarray, " times"],
) -> Float[np.ndarray, " seeds"]:
    """Log ratio of the rival's loss to ours for each seed, when the cheaper of the two has seen all data."""
    budget = steps[-1] * min(cost[cell, ours], cost[cell, rival])
    theirs, own = (loss_within(budget, cost[cell, m], steps, losses[cell, m]) for m in (rival, ours))
    return theirs - own
