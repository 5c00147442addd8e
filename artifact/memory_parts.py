"""The parts of the study of long memory that ask who solves a task, and how soon."""

import functools
import zlib
from collections.abc import Callable, Iterator

import equinox as eqx
import jax
import numpy as np
import optax
import pandas as pd

import rtrl
from artifact.long_memory import Method, Task, adding, around, copying, counting, elstm, recall, solve

NETWORKS = 12
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


def tuned(task: Task, cell_of: Callable, learns_by: Method, trials: int, /, **labels: object) -> pd.DataFrame:
    """Twelve networks at the best of three rates, which twelve others have found in as many trials, four at each.

    The best rate solves the task most often, then soonest, then has the least error.
    """
    seed = zlib.crc32(repr(sorted(labels.items())).encode())
    tuning, scored = jax.random.split(jax.random.key(seed), (2, NETWORKS))
    tried = solve(task, cell_of, learns_by, np.repeat(RATES, NETWORKS // len(RATES)), tuning, trials)
    found = tried.groupby("rate").agg(solved=("solved", "count"), soon=("solved", "median"), error=("error", "mean"))
    rate = found.sort_values(["solved", "soon", "error"], ascending=[False, True, True]).index[0]
    rows = solve(task, cell_of, learns_by, np.full(NETWORKS, rate), scored, trials)
    print(*labels.values(), f"rate {rate}: {rows['solved'].count()} of {NETWORKS} solved", flush=True)
    return rows.assign(**labels, network=range(NETWORKS), trial=task.trial, trials=trials)


def delays() -> Rows:
    """Selective recall, delay after delay."""
    for delay in DELAYS:
        reaching = {"chunks, twice": within(delay)["chunks, twice"]}
        for name, method in (EXACT | IMMEDIATE | CHUNKS | reaching).items():
            yield tuned(recall(delay), elstm(UNITS, around(delay)), method, trials_of(delay), delay=delay, method=name)


def windows() -> Rows:
    """The same with a sweep back at every step, where that can be afforded."""
    for delay in DELAYS:
        methods = dict(WINDOWS)
        if delay <= 100:
            methods["TBPTT, just above"] = within(delay)["TBPTT, just above"]
        if delay == 1000:
            del methods["TBPTT(100)"]
        for name, method in methods.items():
            trials = 300 if (name, delay) == ("TBPTT(100)", 300) else trials_of(delay)
            yield tuned(recall(delay), elstm(UNITS, around(delay)), method, trials, delay=delay, method=name)


def trials_of(delay: int) -> int:
    return 1500 if delay <= 100 else 1000


def longest() -> Rows:
    """Selective recall over thousands of steps."""
    for delay in (3000, 10_000, 30_000, 100_000):
        methods = {"RTRL, every 128": EXACT["RTRL, every 128"], "chunks of 128": CHUNKS["chunks of 128"]}
        if delay <= 10_000:
            methods |= {"RTRL": EXACT["RTRL"], "TBPTT(1)": IMMEDIATE["TBPTT(1)"]}
            methods["chunks, twice"] = within(delay)["chunks, twice"]
        for name, method in methods.items():
            yield tuned(recall(delay), elstm(UNITS, around(delay)), method, 600, delay=delay, method=name)


def harder() -> Rows:
    """Random delays, eight symbols, three marked ones."""
    variants = {
        "random delays": dict(random_delay=True), "8 symbols": dict(symbols=8), "3 marked": dict(marked=3)
    }  # fmt: skip
    for delay in (100, 1000):
        methods = {name: EXACT[name] for name in ("RTRL", "RTRL, every 128")} | {
            "TBPTT(1)": IMMEDIATE["TBPTT(1)"], "chunks of 128": CHUNKS["chunks of 128"],
            "chunks, twice": within(delay)["chunks, twice"],
        }  # fmt: skip
        for variant, options in variants.items():
            for name, method in methods.items():
                if name == "RTRL" and variant != "random delays":
                    continue
                task, trials = recall(delay, **options), 1000 if variant == "random delays" else 2000
                cell = elstm(UNITS, around(delay))
                yield tuned(task, cell, method, trials, delay=delay, variant=variant, method=name)


def cells() -> Rows:
    """Other cells, each by exact RTRL; stacks also by layer-local RTRL."""

    def encoded(layer: Callable, inputs: int, *, key: jax.Array) -> rtrl.StackedCell:
        first, second = jax.random.split(key)
        return rtrl.StackedCell([eqx.nn.MLP(inputs, UNITS, UNITS, 1, key=first), layer(UNITS, UNITS, key=second)])

    def twice(layer: Callable, inputs: int, *, key: jax.Array) -> rtrl.StackedCell:
        first, second = jax.random.split(key)
        return rtrl.StackedCell([layer(inputs, UNITS, key=first), layer(UNITS, UNITS, key=second)])

    for delay in (100, 1000):
        ts = around(delay)
        of = {
            name: functools.partial(getattr(rtrl, f"{name}Cell"), timescales=ts)
            for name in ("ELSTM", "RTU", "LRU", "GRU", "LSTM")
        }
        kinds = {name: functools.partial(cell, hidden_size=UNITS) for name, cell in of.items()}
        kinds |= {f"MLP, {name}": functools.partial(encoded, of[name]) for name in ("RTU", "LRU")}
        kinds |= {f"two {name}": functools.partial(twice, of[name]) for name in ("ELSTM", "RTU", "LRU")}
        for kind, cell in kinds.items():
            estimators: dict[str, rtrl.AbstractEstimator] = {"RTRL": rtrl.RTRL()}
            if kind.startswith("two"):
                estimators["layer-local"] = rtrl.LayerLocalRTRL()
            for name, estimator in estimators.items():
                method = Method(estimator, 128)
                yield tuned(recall(delay), cell, method, 1000, delay=delay, cell=kind, method=f"{name}, every 128")


def dense() -> Rows:
    """The estimators of dense cells, on a GRU."""
    approximate = {
        "RTRL": rtrl.RTRL(), "SnAp(1)": rtrl.SnAp(1), "e-prop": rtrl.EProp(), "UORO": rtrl.UORO(),
        "KF-RTRL": rtrl.KFRTRL(), "OK(4)": rtrl.OK(4), "sketch(8)": rtrl.SketchedRTRL(8), "TBPTT(1)": rtrl.TBPTT(1),
    }  # fmt: skip
    for delay in (10, 30, 100):
        cell = functools.partial(rtrl.GRUCell, hidden_size=UNITS, timescales=around(delay))
        for name, estimator in approximate.items():
            yield tuned(recall(delay), cell, Method(estimator), 1500, delay=delay, method=name)


def timescales() -> Rows:
    """What the longest initial time constant does, from a thirtieth of the delay to thirty times it."""
    for delay in (100, 1000):
        for ratio in (0.03, 0.1, 0.3, 1, 3, 10, 30):
            cell = elstm(UNITS, (1, max(1.5, ratio * delay)))
            yield tuned(recall(delay), cell, EXACT["RTRL, every 128"], 1000, delay=delay, ratio=ratio)


def stability() -> Rows:
    """Who diverges at which rate, and what helps; every run goes to its end."""
    delay, rates = 300, (0.003, 0.01, 0.03, 0.1, 0.3)

    def clipped(learning_rate: float) -> optax.GradientTransformation:
        return optax.chain(optax.clip_by_global_norm(1.0), optax.adam(learning_rate))

    def gates_of_inputs(inputs: int, *, key: jax.Array) -> rtrl.ELSTMCell:
        cell = rtrl.ELSTMCell(inputs, UNITS, key=key, timescales=around(delay))
        return eqx.tree_at(lambda c: c.weight_cell, cell, rtrl.Frozen(0 * cell.weight_cell))

    plain = elstm(UNITS, around(delay))
    methods = {"RTRL": rtrl.RTRL(), "chunks, twice": rtrl.ChunkedBPTT()}
    for name, estimator in methods.items():
        every = 128 if name == "RTRL" else 2 * delay
        cures = {
            "Adam": (plain, optax.adam), "SGD": (plain, optax.sgd), "Adam, clipped": (plain, clipped),
            "Adam, gates see inputs only": (gates_of_inputs, optax.adam),
        }  # fmt: skip
        for cure, (cell, optimizer) in cures.items():
            keys = jax.random.split(jax.random.key(5), NETWORKS * len(rates))
            method = Method(estimator, every, optimizer)
            rows = solve(recall(delay), cell, method, np.repeat(rates, NETWORKS), keys, 1000, to_the_end=True)
            yield rows.assign(delay=delay, method=name, cure=cure, trial=delay + 1, trials=1000)
            print(name, cure, rows.groupby("rate").count(), flush=True)


def sums() -> Rows:
    """The adding problem."""
    for length in (50, 200, 1000):
        methods = (
            EXACT | {"TBPTT(1)": IMMEDIATE["TBPTT(1)"]} | CHUNKS | {"chunks, twice": within(length)["chunks, twice"]}
        )
        del methods["RTRL, every 16"]
        for name, method in methods.items():
            yield tuned(adding(length), elstm(32, around(length)), method, 5000, length=length, method=name)


def words() -> Rows:
    """Copy memory and aⁿbⁿ."""
    tasks = {f"copy, delay {d}": (copying(d), around(d + 10), 2 * (d + 20), 5000) for d in (50, 500)}
    tasks |= {f"a^n b^n, n to {n}": (counting(n), around(n), 2 * n, 5000) for n in (10, 30, 100)}
    for label, (task, scales, chunk, trials) in tasks.items():
        methods = {
            "RTRL, every 16": EXACT["RTRL, every 16"], "TBPTT(1)": IMMEDIATE["TBPTT(1)"],
            "chunks of 16": CHUNKS["chunks of 16"], "chunks, twice": Method(rtrl.ChunkedBPTT(), chunk),
        }  # fmt: skip
        for name, method in methods.items():
            yield tuned(task, elstm(64, scales), method, trials, task=label, method=name)
