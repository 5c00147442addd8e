"""The parts of the study of long memory that ask what cell, estimator, time constants and optimizer do to it."""

import functools
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

import rtrl
from artifact.long_memory import NETWORKS, Method, around, elstm, recall, solve
from artifact.memory_parts import EXACT, UNITS, Rows, tuned


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


def leaky() -> Rows:
    """The same on leaky units, which RFLO needs; its errors go back through the readout's own weights here."""
    local = {
        "RTRL": rtrl.RTRL(), "SnAp(1)": rtrl.SnAp(1), "e-prop": rtrl.EProp(), "RFLO": rtrl.RFLO(),
        "TBPTT(1)": rtrl.TBPTT(1),
    }  # fmt: skip
    for delay in (10, 30):
        cell = functools.partial(rtrl.CTRNNCell, hidden_size=UNITS, timescales=around(delay))
        for name, estimator in local.items():
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

    def normalised(learning_rate: float) -> optax.GradientTransformation:
        return optax.chain(optax.normalize_by_update_norm(), optax.adam(learning_rate))

    def without_memory(inputs: int, *, key: jax.Array) -> rtrl.ELSTMCell:
        cell = rtrl.ELSTMCell(inputs, UNITS, key=key, timescales=around(delay))
        return eqx.tree_at(lambda c: c.weight_cell, cell, rtrl.Frozen(0 * cell.weight_cell))

    plain = elstm(UNITS, around(delay))
    methods = {"RTRL": rtrl.RTRL(), "chunks, twice": rtrl.ChunkedBPTT()}
    for name, estimator in methods.items():
        every = 128 if name == "RTRL" else 2 * delay
        cures = {
            "Adam": (plain, optax.adam), "SGD": (plain, optax.sgd), "Adam, clipped": (plain, clipped),
            "Adam, normalised": (plain, normalised),
            "Adam, gates without memory": (without_memory, optax.adam),
        }  # fmt: skip
        for cure, (cell, optimizer) in cures.items():
            keys = jax.random.split(jax.random.key(5), NETWORKS * len(rates))
            method = Method(estimator, every, optimizer)
            rows = solve(recall(delay), cell, method, np.repeat(rates, NETWORKS), keys, 1000, to_the_end=True)
            yield rows.assign(delay=delay, method=name, cure=cure, trial=delay + 1, trials=1000)
            print(name, cure, rows.groupby("rate").count(), flush=True)
