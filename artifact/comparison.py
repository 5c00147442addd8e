"""The same networks on the same streams, trained side by side by one method after another."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int, Key, PRNGKeyArray, PyTree, Shaped
from numpy.typing import ArrayLike

from rtrl import Learner, Model, set_hyperparameters

STAGE = 500
"""Steps between changes of the learning rate."""

ModelOf = Callable[[PRNGKeyArray], Model]
Loss = Callable[[PyTree, PyTree], Array]
States = PyTree
"""Of learners, one for each network: every array has a leading axis."""
Rates = Float[np.ndarray, " networks"]
Stream = tuple[PyTree[Shaped[np.ndarray | Array, "networks ..."]], PyTree[Shaped[np.ndarray | Array, "networks ..."]]]


def tunable(optimizer: Callable[..., optax.GradientTransformation]) -> optax.GradientTransformation:
    """An optax optimizer behind a gradient clipped to norm 1, with a learning rate that can be set from outside."""
    return optax.chain(optax.clip_by_global_norm(1.0), optax.inject_hyperparams(optimizer)(learning_rate=0.0))


def begin(learner: Learner, model_of: ModelOf, keys: Key[Array, " networks"], batch_size: int | None = None) -> States:
    """Fresh networks, one for each key and the same ones for every learner; every array gains a leading axis.

    Keys go on only to estimators that ask for them: the random numbers of every step would have to be compiled.
    """
    model_keys, signs_keys = jnp.moveaxis(jax.vmap(jax.random.split)(keys), 1, 0)
    models = _side_by_side([model_of(key) for key in model_keys])
    try:
        eqx.filter_eval_shape(_started, learner, models, None, batch_size)
    except ValueError:  # it draws random signs
        return _started(learner, models, signs_keys, batch_size)
    return _started(learner, models, None, batch_size)


def _side_by_side(models: Sequence[Model]) -> Model:
    """Models of one structure as one, every array with a leading axis. They were drawn one by one, outside `jit`: to
    compile the random numbers of a whole network takes longer than to draw those of a hundred.
    """
    return jax.tree.map(lambda *a: jnp.stack(a) if eqx.is_array(a[0]) else a[0], *models)


@eqx.filter_jit
def _started(learner: Learner, models: Model, keys: Key[Array, " networks"] | None, batch_size: int | None) -> States:
    return eqx.filter_vmap(lambda model, key: learner.init(model, key=key, batch_size=batch_size))(models, keys)


def in_whole_windows(states: States) -> States:
    """For streams that are only ever cut between two updates: what runs on them compiles in a third of the time.

    The states hold no window that could stay open; they are fresh ones, or those after a whole number of windows.
    """
    return dataclasses.replace(states, window=None)


@eqx.filter_jit
def stage(
    learner: Learner,
    states: States,
    rates: Float[Array | np.ndarray, " networks"],
    xs: PyTree,
    ys: PyTree,
    reset: Bool[Array | np.ndarray, "networks steps"] | None = None,
) -> tuple[States, Float[Array, "networks steps"]]:
    """`learner.run` for every network on its own stream, at its own learning rate: the states and losses after it.

    Streams have the networks' axis before the time axis; the optimizer must be a `tunable` one. Before a step with
    `reset` a network's stream begins anew.
    """
    states = set_hyperparameters(states, learning_rate=rates)
    states, outputs = eqx.filter_vmap(lambda s, xs, ys, r: learner.run(s, xs, ys, reset=r))(states, xs, ys, reset)
    return states, outputs.loss


def stages(
    learner: Learner, states: States, rates: Callable[[int], Rates], stream: tuple, size: int
) -> Iterator[tuple[States, Float[np.ndarray, "networks steps"]]]:
    """The networks after each piece of so many steps, and its losses; `rates` gives the rates after so many steps.

    The stream, (xs, ys[, reset]), has the networks' axis before the time axis; its last piece may be shorter.
    """
    for done in range(0, jax.tree.leaves(stream)[0].shape[1], size):
        part = jax.tree.map(lambda a, done=done: a[:, done : done + size], stream)
        states, losses = stage(learner, states, rates(done), *part)
        yield states, np.asarray(losses)


def some(networks: Int[np.ndarray, " some"] | slice, states: PyTree) -> PyTree:
    """Those of the networks that stand side by side: their part of every JAX array."""
    return jax.tree.map(lambda a: a[networks] if eqx.is_array(a) else a, states)


def broke_down(values: Float[np.ndarray, "networks ..."]) -> str:
    """How many networks had a number that was not finite, of how many."""
    broken = ~np.isfinite(values).reshape(len(values), -1).all(axis=1)
    return f"{broken.sum()} of {len(values)}"


def passes(stream: Stream, steps: int) -> tuple[PyTree, PyTree, Bool[np.ndarray, "networks steps"]]:
    """A stream as often as fits into so many steps, and where it begins anew: it is never glued to its own end."""
    networks, points = jax.tree.leaves(stream)[0].shape[:2]
    at = np.arange(steps) % points
    xs, ys = jax.tree.map(lambda a: np.asarray(a)[:, at], stream)
    return xs, ys, np.tile(at == 0, (networks, 1))


def train(
    learner: Learner,
    model_of: ModelOf,
    keys: Key[Array, " networks"],
    rates: Rates,
    stream: Stream | tuple[PyTree, PyTree, Bool[np.ndarray, "networks steps"]],
    steps: int,
) -> tuple[States, Float[np.ndarray, "networks steps"]]:
    r"""Fresh networks, trained for as many steps: their states, and the loss of each step.

    Learning rates fall from `rates` along half a cosine, in stages of `STAGE` steps, the last one cut to what is
    left. A stream shorter than `steps` is passed again, each time from the cell's initial state.
    """
    stream = jax.tree.map(np.asarray, stream)  # to be cut without compiling anything
    if len(stream) == 2 and jax.tree.leaves(stream)[0].shape[1] < steps:
        stream = passes(stream, steps)
    states, losses = begin(learner, model_of, keys), []
    if STAGE % learner.update_every == 0 and steps % learner.update_every == 0:
        states = in_whole_windows(states)
    stream = jax.tree.map(lambda a: a[:, :steps], stream)
    falling = lambda done: rates * (0.5 + 0.5 * np.cos(np.pi * done / steps)).astype(rates.dtype)  # noqa: E731
    after = states
    for after, loss in stages(learner, states, falling, stream, STAGE):  # noqa: B007
        losses.append(loss)
    return after, np.concatenate(losses, axis=1)


def held_out_loss(loss: Loss, states: States, stream: Stream) -> Float[Array, " networks"]:
    """The mean loss of networks that do not learn any more, on streams that go on from where training ended."""
    return _frozen_loss(loss, states.model, states.stream.cell, *stream)


@eqx.filter_jit
def _frozen_loss(loss: Loss, models: Model, states: PyTree, xs: PyTree, ys: PyTree) -> Float[Array, " networks"]:
    def one(model: Model, state: PyTree, xs: PyTree, ys: PyTree) -> Array:
        return jax.vmap(loss)(model.predictions(xs, state), ys).mean()

    return eqx.filter_vmap(one)(models, states, xs, ys)


def best(rates: Float[np.ndarray, " tried"], losses: Float[np.ndarray | Array, "runs ..."]) -> float:
    """The rate with the lowest mean loss over its runs; a rate at which a loss was not finite counts as the worst.

    There are as many runs for each rate, those of the first rate first.
    """
    return float(rates[least(np.reshape(losses, (len(rates), -1)).mean(axis=1))])


def least(means: ArrayLike) -> Any:
    """Which of the means along the first axis is the lowest; one that is not finite counts as the worst."""
    return np.where(np.isfinite(means), means, np.inf).argmin(axis=0)


def tune(
    learner: Learner,
    model_of: ModelOf,
    keys: Key[Array, " networks"],
    rates: Float[np.ndarray, " tried"],
    stream: Stream,
    steps: int,
) -> float:
    """The one of `rates` with the lowest loss held out, each tried on the same networks.

    Networks train for `steps` on the first four fifths of the streams and are scored, frozen, on the last.
    """
    pick, four_fifths = np.tile(np.arange(len(keys)), len(rates)), jax.tree.leaves(stream)[0].shape[1] * 4 // 5
    first = jax.tree.map(lambda a: np.asarray(a)[pick, :four_fifths], stream)
    last = jax.tree.map(lambda a: np.asarray(a)[pick, four_fifths:], stream)
    states, _ = train(learner, model_of, keys[pick], np.repeat(rates, len(keys)), first, steps)
    return best(rates, held_out_loss(learner.loss, states, last))


def tune_and_train(
    learner: Learner,
    model_of: ModelOf,
    keys: Key[Array, " networks"],
    rates: Float[np.ndarray, " tried"],
    tuning: Stream,
    stream: Stream,
) -> tuple[States, float]:
    """Fresh networks that have seen their stream once, and the one of `rates` that was best on the tuning streams.

    Tuning is as long as four fifths of a stream, and shares the networks among the rates: as many train then as
    later. Raises `ValueError` if there are fewer networks than rates.
    """
    few, steps = len(keys) // len(rates), jax.tree.leaves(stream)[0].shape[1]
    if not few:
        raise ValueError(f"keys: expected at least one for each of the {len(rates)} rates, got {len(keys)}")
    rate = tune(learner, model_of, keys[:few], rates, jax.tree.map(lambda a: a[:few], tuning), steps * 4 // 5)
    return train(learner, model_of, keys, np.full(len(keys), rate, rates.dtype), stream, steps)[0], rate
