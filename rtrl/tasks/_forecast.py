"""A series as a stream: each value predicts the next."""

from typing import TypeAlias

import numpy as np
from jaxtyping import Array, Float

Stream: TypeAlias = tuple[Float[Array | np.ndarray, "time 1"], Float[Array | np.ndarray, "time 1"]]


def one_step_ahead(series: Float[Array | np.ndarray, " points"], training: int) -> tuple[Stream, Stream]:
    r"""Inputs $s_t$ and targets $s_{t+1}$: the training stream, and the held-out stream that goes on after it.

    `training` points make the first stream. Both are in units of its standard deviation around its mean, so that
    nothing of the held-out part is used. The first held-out input is the last training point.

    **Raises:** `ValueError` unless both parts have at least two points and the training part varies.
    """
    if not 2 <= training <= len(series) - 2:
        raise ValueError(f"training: expected from 2 to {len(series) - 2} of the {len(series)} points, got {training}")
    scale = series[:training].std()
    if not scale > 0:
        raise ValueError(f"series: expected finite points that vary, got a standard deviation of {scale}")
    points = ((series - series[:training].mean()) / scale)[:, None]
    return (points[: training - 1], points[1:training]), (points[training - 1 : -1], points[training:])
