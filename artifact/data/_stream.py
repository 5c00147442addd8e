"""Data of one's own: checked, and cut into pieces that fit in memory."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree


def chunks(stream: Iterable[PyTree] | PyTree, size: int) -> Iterator[PyTree]:
    """Pieces of `size` steps, the last one shorter, of a stream that may be longer than memory, or endless.

    `stream` is an array, or a pytree of arrays, with a leading time axis; or a list, generator or other iterable of
    steps, of which no more than one piece is held, stacked along a new leading axis. `learner.run` takes the pieces
    one after the other. Raises `ValueError` if `size` is below 1 and, when the first piece is asked for, if the stream
    is empty or its arrays differ in length; `TypeError` if it is neither arrays nor steps.
    """
    if isinstance(size, bool) or not isinstance(size, int | np.integer) or size < 1:
        raise ValueError(f"size: expected an integer of at least 1, got {size!r}")
    if _has_time_axis(stream):
        return _slices(stream, size)
    if isinstance(stream, Mapping) or not isinstance(stream, Iterable):
        kind = type(stream).__name__
        raise TypeError(f"stream: expected arrays with a leading time axis or an iterable of steps, got a {kind}")
    return _stacks(iter(stream), size)


def check_series(values: Any, *, stamps: Any = None, shortest: int = 2) -> None:
    """Raises `ValueError` unless a series, time first, is finite and has `shortest` steps and rising stamps.

    `stamps` (numbers or dates, in any unit) may be irregular: how to fill a gap is not for a check to decide.
    """
    values = np.atleast_1d(values)
    if len(values) < shortest:
        raise ValueError(f"values: expected at least {shortest} steps, got {len(values)}")
    good = np.isfinite(values).reshape(len(values), -1)
    if not good.all():
        step = int(np.argmin(good.all(axis=1)))
        bad = values[step].ravel()[np.argmin(good[step])]
        raise ValueError(f"values: expected finite numbers, got {bad} at index {step}")
    if stamps is not None:
        _check_stamps(np.asarray(stamps), len(values))


def _check_stamps(stamps: np.ndarray, steps: int) -> None:
    if stamps.shape != (steps,):
        raise ValueError(f"stamps: expected shape {(steps,)}, one for each step, got {stamps.shape}")
    rising = stamps[1:] > stamps[:-1]
    if not rising.all():
        last = int(np.argmin(rising))
        raise ValueError(
            f"stamps: expected each to be later than the one before, got {stamps[last + 1]} after {stamps[last]} at "
            f"index {last + 1}"
        )


def _has_time_axis(stream: Any) -> bool:
    """Whether this is arrays to cut, and not steps to collect; tuples and dicts are looked into, lists are not."""

    def is_leaf(node: Any) -> bool:
        return isinstance(node, Iterable) and not isinstance(node, tuple | Mapping)

    leaves = jax.tree.leaves(stream, is_leaf=is_leaf)
    return bool(leaves) and all(getattr(leaf, "shape", ()) for leaf in leaves)


def _slices(arrays: PyTree, size: int) -> Iterator[PyTree]:
    lengths = {len(leaf) for leaf in jax.tree.leaves(arrays)}
    if len(lengths) != 1:
        raise ValueError(f"stream: expected the same number of steps in every array, got {sorted(lengths)}")
    (steps,) = lengths
    if steps == 0:
        raise ValueError("stream: expected at least one step, got an empty stream")
    for start in range(0, steps, size):
        yield jax.tree.map(lambda leaf, cut=slice(start, start + size): leaf[cut], arrays)


def _stacks(steps: Iterator[PyTree], size: int) -> Iterator[PyTree]:
    piece = list(islice(steps, size))
    if not piece:
        raise ValueError("stream: expected at least one step, got an empty stream")
    while piece:
        yield jax.tree.map(lambda *leaves: np.stack(leaves), *piece)
        piece = list(islice(steps, size))
