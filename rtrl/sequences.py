"""Data sets of sequences as streams."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, PyTree

from rtrl._sizes import check_sizes


class Sequences(NamedTuple):
    """What `learner.run(state, xs, ys, reset=reset, weight=weight)` takes."""

    xs: PyTree
    ys: PyTree
    reset: Bool[Array, "time *batch"]
    weight: Float[Array, "time *batch"]


def from_sequences(
    xs: PyTree,
    ys: PyTree,
    lengths: ArrayLike | Sequence[int] | None = None,
    *,
    batch_size: int | None = None,
    weight: ArrayLike | None = None,
    one_target: bool | None = None,
) -> Sequences:
    r"""Sequences of a data set, one after another, as one stream or as `batch_size` parallel ones.

    `xs` and `ys` have axes (sequences, time, …), padded behind their `lengths`; targets may be (sequences, …) where
    there is one for a whole sequence: it then stands at each step, and counts at the last. Which of
    both is told from the shapes, unless `one_target` says it: a target of as many numbers as there are steps looks like
    one for every step. The streams begin anew with each sequence; `weight` (sequences, time) is 1 within a sequence
    unless given, and 0 behind its end. Without `batch_size` padding is
    left out. With it the time axis comes first, then the streams, and sequence i is the (i // B)-th of stream i % B;
    the last row is filled up with sequences of weight 0.

        xs, ys, reset, weight = rtrl.from_sequences(inputs, labels, lengths, batch_size=16)
        state, out = learner.run(state, xs, ys, reset=reset, weight=weight)

    **Raises:** `ValueError` if the arrays differ in the number of sequences or steps, a length is not from 1 to that,
    or `weight` has another shape.
    """
    count, time = _shape(xs)
    lengths = np.full(count, time) if lengths is None else np.asarray(lengths)
    if lengths.shape != (count,) or not np.issubdtype(lengths.dtype, np.integer) or not _within(lengths, time):
        raise ValueError(
            f"lengths: expected {count} integers from 1 to {time}, by xs of shape ({count} sequences, {time} steps, "
            f"…), got {_summary(lengths)}; if the time axis of xs comes first, swap the axes"
        )
    inside = np.arange(time) < lengths[:, None]
    ys, counted = _targets(ys, lengths, count, time, one_target)
    if weight is not None and np.shape(weight) != (count, time):
        raise ValueError(
            f"weight: expected one number for each of {count} sequences and {time} steps, got shape {np.shape(weight)}"
        )
    weights = np.where(inside, counted if weight is None else np.asarray(weight), 0).astype(float)
    reset = np.broadcast_to(np.arange(time) == 0, (count, time))
    if batch_size is None:
        return Sequences(*jax.tree.map(lambda a: jnp.asarray(np.asarray(a)[inside]), (xs, ys, reset, weights)))
    check_sizes(batch_size=batch_size)
    return Sequences(*jax.tree.map(lambda a: _side_by_side(np.asarray(a), batch_size), (xs, ys, reset, weights)))


def _shape(xs: PyTree) -> tuple[int, int]:
    shapes = {np.shape(leaf)[:2] for leaf in jax.tree.leaves(xs)}
    if len(shapes) != 1 or len(next(iter(shapes))) != 2:
        raise ValueError(f"xs: expected arrays with axes (sequences, time, …) of the same length, got {sorted(shapes)}")
    return next(iter(shapes))


def _targets(ys: PyTree, lengths: np.ndarray, count: int, time: int, one: bool | None) -> tuple[PyTree, np.ndarray]:
    """Targets for every step, and whether they count there."""
    shapes = {np.shape(leaf)[:2] for leaf in jax.tree.leaves(ys)}
    if any(shape[:1] != (count,) for shape in shapes):
        raise ValueError(f"ys: expected {count} sequences, as in xs, got shapes that begin with {sorted(shapes)}")
    every_step = all(shape == (count, time) for shape in shapes)
    if one is False and not every_step:
        raise ValueError(
            f"ys: expected targets of {count} sequences and {time} steps, got shapes that begin with {sorted(shapes)}"
        )
    if every_step and not one:
        return ys, np.ones((count, time), bool)
    spread = jax.tree.map(lambda a: np.repeat(np.asarray(a)[:, None], time, axis=1), ys)
    return spread, np.arange(time) == lengths[:, None] - 1


def _side_by_side(a: np.ndarray, streams: int) -> Array:
    """(sequences, time, …) as (rows · time, streams, …); zeros fill up the last row."""
    rows = -(-len(a) // streams)
    filled = np.concatenate([a, np.zeros_like(a, shape=(rows * streams - len(a), *a.shape[1:]))])
    by_row = filled.reshape(rows, streams, *a.shape[1:])
    return jnp.asarray(np.moveaxis(by_row, 1, 2).reshape(rows * a.shape[1], streams, *a.shape[2:]))


def _within(lengths: np.ndarray, time: int) -> bool:
    return bool(((lengths >= 1) & (lengths <= time)).all())


def _summary(lengths: Any) -> str:
    return f"{lengths.dtype}{list(lengths.shape)}" + (f" up to {lengths.max()}" if lengths.size else "")
