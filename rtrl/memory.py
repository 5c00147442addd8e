"""How much memory an estimator asks for, before any of it is allocated."""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from rtrl._types import Memory
from rtrl.estimators import RTRL, TBPTT, UORO, AbstractEstimator, EProp, Shared, SnAp
from rtrl.model import whole

_POSTPONED: ContextVar[list[bool] | None] = ContextVar("postponed", default=None)


def influence_bytes(estimator: AbstractEstimator, model: Any) -> int:
    """The bytes that an estimator carries from step to step along one stream: its influence matrix or its like.

    Nothing is allocated.

    **Raises:** `TypeError` or `ValueError` if the estimator cannot serve the model's cell.
    """
    return _needed(estimator, model, 1)


def memory_shapes(estimator: AbstractEstimator, model: Any) -> Memory:
    """The shapes and dtypes of an estimator's memory."""

    def first(model: Any, key: Any) -> Memory:
        cell = whole(model).cell
        return estimator.init(cell, jax.tree.map(jnp.asarray, cell.initial_state()), key=key)

    return eqx.filter_eval_shape(first, model, jax.random.key(0))


def _needed(estimator: AbstractEstimator, model: Any, streams: int) -> int:
    """The bytes of so many streams; what they share is there once."""

    def size(node: Any) -> int:
        return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(node))

    nodes = jax.tree.leaves(memory_shapes(estimator, model), is_leaf=lambda node: isinstance(node, Shared))
    return sum(size(node) * (1 if isinstance(node, Shared) else streams) for node in nodes)


def check_fits(estimator: AbstractEstimator, model: Any, streams: int = 1, *, in_place: bool = False) -> None:
    """Raises `MemoryError` if the device has less than the estimator needs, and names those that need less.

    A step makes the next influence beside the one that it was given, unless it works in place.
    """
    if (postponed := _POSTPONED.get()) is not None:
        postponed.append(in_place)
        return
    needed, device = _needed(estimator, model, streams), _device_bytes()
    there = device if device is None or in_place else device // 2
    if there is None or needed <= there:
        return
    smaller = {repr(e): _bytes(e, model, streams) for e in (RTRL(None), SnAp(1), EProp(), UORO(), TBPTT(10))}
    fit = [
        f"{name} {_readable(size)}" for name, size in smaller.items() if size is not None and size < min(needed, there)
    ]
    raise MemoryError(
        f"estimator: expected an influence that fits into {_readable(there)}"
        f"{', half of the memory (a step makes the next one beside it)' * (not in_place)}, got {_readable(needed)} "
        f"for {estimator!r}; {', '.join(fit) or 'no other estimator'} would fit"
    )


@contextmanager
def postponed() -> Iterator[list[bool]]:
    """Lets `check_fits` pass, and collects for every such call whether it works in place."""
    calls: list[bool] = []
    token = _POSTPONED.set(calls)
    try:
        yield calls
    finally:
        _POSTPONED.reset(token)


def check_fits_each(memory: Memory, *, in_place: bool) -> None:
    """Raises `MemoryError` if a device has less than its part of a memory whose arrays say how they are divided."""
    arrays = jax.tree.leaves(memory)
    needed = sum(math.prod(a.sharding.shard_shape(a.shape)) * a.dtype.itemsize for a in arrays)
    devices = {device for a in arrays for device in a.sharding.addressable_devices}
    device = _device_bytes()
    if jax.default_backend() == "cpu" and device is not None:  # they are parts of one machine
        device //= max(1, len(devices))
    there = device if device is None or in_place else device // 2
    if there is not None and needed > there:
        raise MemoryError(
            f"mesh: expected a part of the influence that fits into {_readable(there)} on every device"
            f"{', half of the memory (a step makes the next one beside it)' * (not in_place)}, got "
            f"{_readable(needed)} on each"
        )


def _bytes(estimator: AbstractEstimator, model: Any, streams: int) -> int | None:
    try:
        return _needed(estimator, model, streams)
    except (TypeError, ValueError):
        return None


def _device_bytes() -> int | None:
    """The memory of a device of this process, or of the machine where the device does not say."""
    limit = (jax.local_devices()[0].memory_stats() or {}).get("bytes_limit")
    if limit is not None:
        return int(limit)
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def _readable(size: int | float) -> str:
    for unit in ("bytes", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"
