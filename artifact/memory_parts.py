"""The parts of the study of long memory that ask who solves a task, and how soon."""

import functools
import zlib
from collections.abc import Callable, Iterator, Mapping

import equinox as eqx
import jax
import jax.numpy as jnp
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


def tuned(task: Task, cell_of: Callable, learns_by: Method, trials: int, /, **labels: object) -> pd.DataFrame:
    """Twelve networks at the best of three rates, which twelve others have found in as many trials, four at each.

    The best rate solves the task most often, then soonest, then has the least error.
    """
    tuning, _ = _keys(labels)
    tried = solve(task, cell_of, learns_by, np.repeat(RATES, NETWORKS // len(RATES)), tuning, trials)
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


def cells() -> Rows:
    """Other cells, each by exact RTRL; stacks also by layer-local RTRL."""

    def encoded(layer: Callable, inputs: int, *, key: jax.Array) -> rtrl.StackedCell:
        first, second = jax.random.split(key)
        layers = [eqx.nn.MLP(inputs, UNITS, UNITS, 1, key=first), layer(UNITS, UNITS, key=second)]
        return rtrl.StackedCell(layers, example=jnp.zeros(inputs))

    def twice(layer: Callable, inputs: int, *, key: jax.Array) -> rtrl.StackedCell:
        first, second = jax.random.split(key)
        lower = layer(inputs, UNITS, key=first)
        width = jax.eval_shape(lambda: lower.output(lower.initial_state(), lower.example_input())).size
        return rtrl.StackedCell([lower, layer(width, UNITS, key=second)])

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
            if delay == 1000 and (kind in ("GRU", "LSTM") or kind.startswith("two")):
                del estimators["RTRL"]  # influence matrices that are not diagonal, for a million steps
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

    def without_memory(inputs: int, *, key: jax.Array) -> rtrl.ELSTMCell:
        cell = rtrl.ELSTMCell(inputs, UNITS, key=key, timescales=around(delay))
        return eqx.tree_at(lambda c: c.weight_cell, cell, rtrl.Frozen(0 * cell.weight_cell))

    plain = elstm(UNITS, around(delay))
    methods = {"RTRL": rtrl.RTRL(), "chunks, twice": rtrl.ChunkedBPTT()}
    for name, estimator in methods.items():
        every = 128 if name == "RTRL" else 2 * delay
        cures = {
            "Adam": (plain, optax.adam), "SGD": (plain, optax.sgd), "Adam, clipped": (plain, clipped),
            "Adam, gates without memory": (without_memory, optax.adam),
        }  # fmt: skip
        for cure, (cell, optimizer) in cures.items():
            keys = jax.random.split(jax.random.key(5), NETWORKS * len(rates))
            method = Method(estimator, every, optimizer)
            rows = solve(recall(delay), cell, method, np.repeat(rates, NETWORKS), keys, 1000, to_the_end=True)
            yield rows.assign(delay=delay, method=name, cure=cure, trial=delay + 1, trials=1000)
            print(name, cure, rows.groupby("rate").count(), flush=True)
