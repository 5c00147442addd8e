"""How much memory an estimator asks for, before any of it is allocated."""

import os
from typing import Any

import equinox as eqx
import jax

from rtrl.estimators import RTRL, TBPTT, UORO, AbstractEstimator, EProp, SnAp
from rtrl.gradient import start


def influence_bytes(estimator: AbstractEstimator, model: Any) -> int:
    """The bytes that an estimator carries from step to step along one stream: its influence matrix or its like.

    Nothing is allocated. Raises `TypeError` or `ValueError` if the estimator cannot serve the model's cell.
    """
    key = jax.random.key(0)
    stream = eqx.filter_eval_shape(lambda model: start(estimator, model, key), model)
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(stream.memory))


def check_fits(estimator: AbstractEstimator, model: Any, streams: int) -> None:
    """Raises `MemoryError` if the device has less than the estimator needs, and names those that need less."""
    needed, there = streams * influence_bytes(estimator, model), _device_bytes()
    if there is None or needed <= there:
        return
    smaller = {repr(e): _bytes(e, model, streams) for e in (RTRL(None), SnAp(1), EProp(), UORO(), TBPTT(10))}
    fit = [
        f"{name} {_readable(size)}" for name, size in smaller.items() if size is not None and size < min(needed, there)
    ]
    raise MemoryError(
        f"estimator: expected an influence that fits into {_readable(there)}, got {_readable(needed)} "
        f"for {estimator!r}; {', '.join(fit) or 'no other estimator'} would fit"
    )


def _bytes(estimator: AbstractEstimator, model: Any, streams: int) -> int | None:
    try:
        return streams * influence_bytes(estimator, model)
    except (TypeError, ValueError):
        return None


def _device_bytes() -> int | None:
    """The memory of the default device, or of the machine where the device does not say."""
    limit = (jax.devices()[0].memory_stats() or {}).get("bytes_limit")
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
