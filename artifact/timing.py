"""Wall-clock times and memory of compiled calls."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax
import numpy as np
import pandas as pd
from jaxtyping import Float, PyTree

import rtrl

ELSEWHERE = 1.5
"""By what factor a ratio of times measured in turns may be another one on another day or machine.

Between runs of the notebooks on one machine, idle and busy, such ratios moved by factors up to 1.4; other machines
were not measured, so that this is a margin and no result.
"""


def timed(call: Callable[[], Any], repeats: int = 7) -> Float[np.ndarray, " repeats"]:
    """Seconds of each of several calls, after one that is not counted because it may compile.

    Waits for what a call returns. Machines are noisy: show the median, and the fastest and slowest.
    """
    jax.block_until_ready(call())
    return np.array([_seconds(call) for _ in range(repeats)])


def in_turns(calls: Mapping[str, Callable[[], Any]], rounds: int) -> pd.DataFrame:
    """Seconds of each call in each round: in turn, so that whatever slows the machine slows all of them alike."""
    for call in calls.values():
        jax.block_until_ready(call())
    return pd.DataFrame([{name: _seconds(call) for name, call in calls.items()} for _ in range(rounds)])


def elsewhere(interval: tuple[float, float]) -> tuple[float, float]:
    """An interval of times or of their ratios that allows for another day and machine: `ELSEWHERE` wider, both ways."""
    low, high = interval
    return low / ELSEWHERE, high * ELSEWHERE


def ready(learner: rtrl.Learner, state: Any, stream: tuple) -> tuple[Callable[[], Any], int]:
    """A compiled run over a stream (xs, ys[, reset, weight]), and its memory in bytes beside model and optimizer:
    what is kept from step to step, an open window included, and what the compiler reserves for the work in between.
    """
    run = eqx.filter_jit(lambda s, xs, ys, reset=None, weight=None: learner.run(s, xs, ys, reset=reset, weight=weight))
    program = run.lower(state, *stream).compile()
    scratch = program.compiled.memory_analysis().temp_size_in_bytes
    return lambda: program(state, *stream), size((state.stream, state.window)) + scratch


def size(tree: PyTree) -> int:
    """Bytes of all arrays."""
    return sum(a.size * a.dtype.itemsize for a in jax.tree.leaves(tree) if hasattr(a, "dtype"))


def _seconds(call: Callable[[], Any]) -> float:
    began = time.perf_counter()
    jax.block_until_ready(call())
    return time.perf_counter() - began
