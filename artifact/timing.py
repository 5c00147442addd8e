"""Wall-clock times of calls."""

import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import Float


def timed(call: Callable[[], Any], repeats: int = 7) -> Float[np.ndarray, " repeats"]:
    """Seconds of each of several calls, after one that is not counted because it may compile.

    Waits for what a call returns. Machines are noisy: show the median, and the fastest and slowest.
    """
    jax.block_until_ready(call())
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        jax.block_until_ready(call())
        seconds.append(time.perf_counter() - began)
    return np.array(seconds)
