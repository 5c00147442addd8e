"""The parts of the study of long memory that ask who solves selective recall, and how soon."""

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence

import jax
import numpy as np
import optax
import pandas as pd
from jaxtyping import Array, Key

import rtrl
from artifact.long_memory import NETWORKS, Method, Task, around, elstm, recall, solve

RATES = 0.003, 0.01, 0.03
UNITS = 16
DELAYS = 10, 30, 100, 300, 1000
EXACT = {
    "RTRL": Method(rtrl.RTRL()),
    "RTRL, every 16": Method(rtrl.RTRL(), 16),
    "RTRL, every 128": Method(rtrl.RTRL(), 128),
}
IMMEDIATE = {
    "TBPTT(1)": Method(rtrl.TBPTT(1)),
    "TBPTT(1), RMSprop": Method(rtrl.TBPTT(1), optimizer=optax.rmsprop),
}
CHUNKS = {f"chunks of {k}": Method(rtrl.ChunkedBPTT(), k) for k in (16, 128)}
WINDOWS = {f"TBPTT({h})": Method(rtrl.TBPTT(h)) for h in (10, 100)}
Rows = Iterator[pd.DataFrame]


def within(steps: int) -> dict[str, Method]:
    """What reaches back just beyond so many steps: a window, and chunks of twice as many."""
    window, chunk = steps + steps // 10 + 2, 2 * steps
    return {"TBPTT, just above": Method(rtrl.TBPTT(window)), "chunks, twice": Method(rtrl.ChunkedBPTT(), chunk)}


def tuned(
    task: Task,
    cell_of: Callable,
    learns_by: Method,
    trials: int,
    /,
    rates: Sequence[float] = RATES,
    **labels: object,
) -> pd.DataFrame:
    """Twelve networks at the best of three rates, which twelve others have found in as many trials, four at each.

    The best rate solves the task most often, then soonest, then has the least error.
    """
    tuning, _ = _keys(labels)
    tried = solve(task, cell_of, learns_by, np.repeat(rates, NETWORKS // len(rates)), tuning, trials)
    found = tried.groupby("rate").agg(solved=("solved", "count"), soon=("solved", "median"), error=("error", "mean"))
    rate = found.sort_values(["solved", "soon", "error"], ascending=[False, True, True]).index[0]
    return at_rate(task, cell_of, learns_by, trials, rate, **labels)


def at_rate(
    task: Task, cell_of: Callable, learns_by: Method, trials: int, rate: float, /, **labels: object
) -> pd.DataFrame:
    """Twelve networks at a rate."""
    _, scored = _keys(labels)
    rows = solve(task, cell_of, learns_by, np.full(NETWORKS, rate), scored, trials)
    print(*labels.values(), f"rate {rate}: {rows['solved'].count()} of {NETWORKS} solved", flush=True)
    return rows.assign(**labels, network=range(NETWORKS), trial=task.trial, trials=trials)


def _keys(labels: Mapping[str, object]) -> Key[Array, "2 networks"]:
    """Those to tune by, and those to score."""
    return jax.random.split(jax.random.key(zlib.crc32(repr(sorted(labels.items())).encode())), (2, NETWORKS))


def delays() -> Rows:
    """Selective recall, delay after delay."""
    for delay in DELAYS:
        reaching = {"chunks, twice": within(delay)["chunks, twice"]}
        for name, method in (EXACT | IMMEDIATE | CHUNKS | reaching).items():
            yield tuned(recall(delay), elstm(UNITS, around(delay)), method, trials_of(delay), delay=delay, method=name)


def windows() -> Rows:
    """The same with a sweep back at every step; over a thousand steps that takes hours."""
    for delay in DELAYS[:4]:
        methods = dict(WINDOWS)
        if delay <= 100:
            methods["TBPTT, just above"] = within(delay)["TBPTT, just above"]
        for name, method in methods.items():
            yield tuned(recall(delay), elstm(UNITS, around(delay)), method, trials_of(delay), delay=delay, method=name)


def windows_beyond() -> Rows:
    """Ten steps of a delay of a thousand."""
    yield tuned(
        recall(1000), elstm(UNITS, around(1000)), WINDOWS["TBPTT(10)"], trials_of(1000), delay=1000, method="TBPTT(10)"
    )


def hundred_beyond() -> Rows:
    """A hundred steps of a delay of a thousand, at the rate that was best for three hundred."""
    name, cell = "TBPTT(100)", elstm(UNITS, around(1000))
    yield at_rate(recall(1000), cell, WINDOWS[name], trials_of(1000), 0.03, delay=1000, method=name)


def equal_memory() -> Rows:
    """Windows and chunks that fit into the memory of RTRL with an update at every step."""
    methods = {"TBPTT(2)": Method(rtrl.TBPTT(2)), "chunks of 7": Method(rtrl.ChunkedBPTT(), 7)}
    for delay in DELAYS[:3]:
        for name, method in methods.items():
            yield tuned(recall(delay), elstm(UNITS, around(delay)), method, trials_of(delay), delay=delay, method=name)


def trials_of(delay: int) -> int:
    return 1500 if delay <= 100 else 1000


def longest() -> Rows:
    """Selective recall over thousands of steps; from 30,000 on at the rate that was best for 10,000."""
    rates: dict[str, float] = {}
    for delay in (3000, 10_000, 30_000, 100_000):
        methods = {"RTRL, every 128": EXACT["RTRL, every 128"]}
        if delay == 3000:
            methods |= {name: (EXACT | IMMEDIATE)[name] for name in ("RTRL", "TBPTT(1)")}
        if delay <= 10_000:
            methods["chunks, twice"] = within(delay)["chunks, twice"]
        for name, method in methods.items():
            task, cell, labels = recall(delay), elstm(UNITS, around(delay)), {"delay": delay, "method": name}
            rows = (
                at_rate(task, cell, method, 600, rates[name], **labels)
                if delay > 10_000
                else tuned(task, cell, method, 600, **labels)
            )
            rates[name] = float(rows["rate"].iloc[0])
            yield rows


def farthest() -> Rows:
    """A hundred thousand steps once more, with time for more trials, at the rate that was best for ten thousand."""
    delay, name = 100_000, "RTRL, every 128"
    yield at_rate(recall(delay), elstm(UNITS, around(delay)), EXACT[name], 1500, 0.01, delay=delay, method=name)


def harder() -> Rows:
    """Random delays, eight symbols, three marked ones."""
    variants = {
        "random delays": dict(random_delay=True), "8 symbols": dict(symbols=8), "3 marked": dict(marked=3)
    }  # fmt: skip
    for delay in (100, 1000):
        reaching = {"chunks, twice": within(delay)["chunks, twice"]}
        methods = {"RTRL, every 128": EXACT["RTRL, every 128"]} | reaching
        if delay == 100:
            methods |= {"RTRL": EXACT["RTRL"], "TBPTT(1)": IMMEDIATE["TBPTT(1)"]} | CHUNKS
        for variant, options in variants.items():
            for name, method in methods.items():
                task, trials = recall(delay, **options), 1000 if variant == "random delays" else 2000
                cell = elstm(UNITS, around(delay))
                yield tuned(task, cell, method, trials, delay=delay, variant=variant, method=name)
