"""A contest: networks of several tasks, tuned and trained side by side by one method."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, PRNGKeyArray

from artifact.comparison import Loss, ModelOf, Rates, States, Stream, best, held_out_loss, passes, some, train
from rtrl import Learner


class Task(NamedTuple):
    """What networks are asked; `streams(key, count)` gives streams to train on, and what comes next and is held out."""

    inputs: int
    outputs: int
    loss: Loss
    steps: int
    streams: Callable[[PRNGKeyArray, int], tuple[Stream, Stream]]


class Material(NamedTuple):
    """The streams of a task: to tune on, the rest of these to choose a rate by, to train on, and those held out."""

    tuning: Stream
    tuning_rest: Stream
    training: Stream
    held_out: Stream


def material_of(
    task: Task, tuning_keys: Key[Array, " few"], keys: Key[Array, " networks"], rates: Rates, tuning_steps: int
) -> Material:
    """Fresh streams; those to tune on are the same for every rate, and a fifth of each is kept to choose by."""
    few = len(tuning_keys)
    (tuning, _), (training, rest) = task.streams(tuning_keys[0], few), task.streams(keys[0], len(keys))
    length = min(jax.tree.leaves(tuning)[0].shape[1], tuning_steps * 5 // 4)
    each = np.tile(np.arange(few), len(rates))
    parts = slice(length * 4 // 5), slice(length * 4 // 5, length)
    first, last = (jax.tree.map(lambda a, part=part: a[each, part], tuning) for part in parts)
    return Material(first, last, training, rest)


def together(
    learner: Learner, model_of: ModelOf, keys: Key[Array, " networks"], rates: Sequence[Rates],
    streams: Sequence[Stream], steps: int,
) -> list[tuple[States, Float[np.ndarray, "networks steps"]]]:  # fmt: skip
    """Networks of several tasks trained as one batch: for each task the states, and the loss of every step."""
    keys = jnp.concatenate([keys] * len(streams))
    short = any(jax.tree.leaves(stream)[0].shape[1] < steps for stream in streams)
    given = [passes(stream, steps) for stream in streams] if short else streams
    joined = jax.tree.map(lambda *a: np.concatenate([b[:, :steps] for b in a]), *given)
    states, losses = train(learner, model_of, keys, np.concatenate(rates), joined, steps)
    split = [slice(i * len(losses) // len(streams), (i + 1) * len(losses) // len(streams)) for i in range(len(streams))]
    return [(some(at, states), losses[at]) for at in split]


def contest(
    learner: Learner, model_of: ModelOf, tasks: Sequence[Task], materials: Sequence[Material],
    tuning_keys: Key[Array, " few"], keys: Key[Array, " networks"], rates: Rates, tuning_steps: int,
) -> list[tuple[float, States, Float[np.ndarray, "networks steps"]]]:  # fmt: skip
    """On each of the tasks, which have equally many steps: the tuned rate, the trained states and their losses."""
    tried = np.repeat(rates, len(tuning_keys))
    tuned = together(learner, model_of, jnp.concatenate([tuning_keys] * len(rates)), [tried] * len(tasks),
                     [m.tuning for m in materials], tuning_steps)  # fmt: skip
    chosen = [
        best(rates, held_out_loss(learner.loss, s, m.tuning_rest)) for (s, _), m in zip(tuned, materials, strict=True)
    ]
    kept = [np.full(len(keys), rate, np.float32) for rate in chosen]
    trained = together(learner, model_of, keys, kept, [m.training for m in materials], tasks[0].steps)
    return [(rate, *found) for rate, found in zip(chosen, trained, strict=True)]
