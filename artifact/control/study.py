"""The kept study of control: `python -m artifact.control.study [PART …]`, each part kept as soon as it is done."""

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import jax
import numpy as np
import pandas as pd

from artifact.control.methods import CHAIN_STEPS, METHODS, STEPS, cell_for, chain, maze, near, noisy_maze
from artifact.control.trial import best_rate, episodes, lives, scores
from artifact.errors import run
from artifact.parts import keep_parts

AGENTS = 12
"""That are scored, for each point."""

TUNING = 4
"""Agents for each of the three rates, which are not scored; a method keeps its rate in all worlds of a kind."""

Rows = Iterator[pd.DataFrame]


def compared(
    worlds: Callable[[int], Any], sizes: Iterable[int], steps: Mapping[int, int], tuned_on: int, method: str, cell: str
) -> Rows:
    """One way to learn with one cell in worlds of several sizes, at the rate that was best in one of them."""
    learns, cell_of = METHODS[method], cell_for(method, cell)
    tune_key, score_key = jax.random.split(jax.random.key(zlib.crc32(f"{worlds.__name__} {method} {cell}".encode())))
    rate = best_rate(worlds(tuned_on), learns, cell_of, tune_key, steps[tuned_on], TUNING)
    for size in sizes:
        world, keys = worlds(size), jax.random.split(jax.random.fold_in(score_key, size), AGENTS)
        _, outcome = lives(world, learns, cell_of, np.full(AGENTS, rate), keys, steps[size])
        found = scores(seen := episodes(world, outcome), AGENTS)
        print(worlds.__name__, size, method, cell, f"rate {rate}: {found.round(2).tolist()}", flush=True)
        labels = dict(world=worlds.__name__, size=size, method=method, cell=cell, rate=rate, steps=steps[size])
        first: Any = seen[seen["success"]].groupby("agent")["step"].min()
        yield pd.DataFrame(
            {**labels, "agent": range(AGENTS), "success": found, "first": first.reindex(range(AGENTS)).to_numpy()}
        )


def mazes() -> Rows:
    """The corridors of the published comparison, within its steps: the exact gradient, cell by cell."""
    for cell in ("RTU", "eLSTM", "LRU"):
        yield from compared(maze, (10, 20, 40), STEPS, 40, "RTRL", cell)


def rivals() -> Rows:
    """The same by others, each with an update at every step, and by chunks."""
    for method in ("TBPTT(1)", "fixed memory", "chunks of 16"):
        yield from compared(maze, (10, 20, 40), STEPS, 40, method, "RTU")


def chains() -> Rows:
    """The memory chain up to 64."""
    for method in ("RTRL", "TBPTT(1)"):
        yield from compared(chain, (8, 16, 32, 64), CHAIN_STEPS, 16, method, "RTU")


def far() -> Rows:
    """A corridor of 100."""
    yield from compared(maze, (100,), STEPS, 100, "RTRL", "RTU")


def farther() -> Rows:
    """A corridor of 300, at the rate that was best for 100."""
    yield from compared(maze, (300,), STEPS, 100, "RTRL", "RTU")


def within() -> Rows:
    """A corridor that chunks of 16 cover, at the rate that is best there."""
    for method in ("RTRL, every 16", "chunks of 16"):
        yield from compared(near, (10,), STEPS, 10, method, "RTU")


def every_16() -> Rows:
    """The exact gradient with an update every sixteen steps."""
    yield from compared(maze, (10, 20, 40), STEPS, 40, "RTRL, every 16", "RTU")


def noisy() -> Rows:
    """Signs that mean nothing, all along the corridor; rates from the shorter one, since in that of 40 too few of the
    agents that tune find the way to tell rates apart.
    """
    for method in ("RTRL", "TBPTT(10)", "TBPTT(1)", "chunks of 16"):
        yield from compared(noisy_maze, (20, 40), STEPS, 20, method, "eLSTM")


def windows() -> Rows:
    """A sweep back over ten steps at every step."""
    yield from compared(maze, (10, 20, 40), STEPS, 40, "TBPTT(10)", "RTU")


def dense() -> Rows:
    """A small GRU, whose exact gradient costs more than its step."""
    for method in ("RTRL", "TBPTT(1)"):
        yield from compared(maze, (10,), STEPS, 10, method, "GRU")


PARTS = mazes, rivals, far, within, every_16, windows, chains, noisy, farther, dense


def main() -> None:
    keep_parts("artifact.control.study", "11_control", "agents", PARTS, __doc__)


if __name__ == "__main__":
    run(main)
