"""The cells and the ways to learn that are compared, and what each is tried on."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
from jaxtyping import PRNGKeyArray

import rtrl
from artifact.control.agent import ActorCritic
from artifact.control.chunks import ChunkedActorCritic
from artifact.control.trial import Learns
from rtrl.tasks import MemoryChain, TMaze

UNITS = 64
TIMESCALES = 1.0, 1000.0
"""Of every cell, in every world: nobody knows how long there is something to remember."""

CELLS: Mapping[str, Callable] = {
    "RTU": functools.partial(rtrl.RTUCell, hidden_size=UNITS, timescales=TIMESCALES, max_phase=0.3),
    "LRU": functools.partial(rtrl.LRUCell, hidden_size=UNITS, timescales=TIMESCALES, max_phase=0.3),
    "eLSTM": functools.partial(rtrl.ELSTMCell, hidden_size=UNITS, timescales=TIMESCALES),
    "GRU": functools.partial(rtrl.GRUCell, hidden_size=16, timescales=TIMESCALES),
}


def fixed(cell_of: Callable) -> Callable:
    """A cell that is not trained."""

    def frozen(inputs: int, *, key: PRNGKeyArray) -> rtrl.AbstractCell:
        return jax.tree.map(rtrl.Frozen, cell_of(inputs, key=key))

    return frozen


METHODS: Mapping[str, Learns] = {
    "RTRL": functools.partial(ActorCritic, rtrl.RTRL()),
    "TBPTT(10)": functools.partial(ActorCritic, rtrl.TBPTT(10)),
    "TBPTT(1)": functools.partial(ActorCritic, rtrl.TBPTT(1)),
    "fixed memory": functools.partial(ActorCritic, rtrl.TBPTT(1)),
    "no memory": functools.partial(ActorCritic, rtrl.TBPTT(1), forgets=True),
    "RTRL, every 16": functools.partial(ChunkedActorCritic, rtrl.RTRL()),
    "chunks of 16": functools.partial(ChunkedActorCritic, rtrl.ChunkedBPTT()),
}
"""`fixed memory` trains the readout only, `no memory` sees a single observation."""


def cell_for(method: str, cell: str) -> Callable:
    return fixed(CELLS[cell]) if method == "fixed memory" else CELLS[cell]


STEPS = {10: 60_000, 20: 100_000, 40: 150_000, 100: 300_000, 300: 600_000}
"""Of a life in the T-maze, by its corridor; the first three are those of the published comparison."""

CHAIN_STEPS = {8: 50_000, 16: 100_000, 32: 200_000, 64: 400_000}
"""Of a life in the memory chain, by its length."""


def maze(corridor: int) -> Any:
    """The maze as in the published comparison up to 40; beyond, with Bakker's rewards: what stands still is punished.

    Where every step costs the same, a random walk that turns two times in three does not reach the end of a corridor
    of 100 within 200 steps in any life of this length, so that nobody could learn anything.
    """
    return TMaze(corridor) if corridor <= 40 else TMaze(corridor, moving=0.0, wrong=-0.1)


def near(corridor: int) -> Any:
    """The same maze, under a name of its own: here a method's rate is chosen in this very corridor."""
    return maze(corridor)


def noisy_maze(corridor: int) -> Any:
    """Bakker's noise in the maze of the published comparison, which has none."""
    return TMaze(corridor, noise=1.0)


def chain(length: int) -> MemoryChain:
    return MemoryChain(length)
