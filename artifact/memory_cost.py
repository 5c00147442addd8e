"""Time and memory of a step of selective recall, by method and delay."""

from collections.abc import Mapping
from typing import Any

import jax
import optax
import pandas as pd

import rtrl
from artifact.long_memory import GAIN, Method, around, elstm, model_of, recall
from artifact.timing import in_turns, ready
from rtrl.tasks import selective_recall


def cost(
    methods: Mapping[str, Method], delay: int, units: int, seed: int, rounds: int = 21
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Microseconds of a step (median and quartiles) and kilobytes, carried from step to step or needed beside; and the
    microseconds of each round, the methods taking turns, so that whatever slows the machine slows them alike.
    """
    runs = {name: _prepared(method, delay, units, seed) for name, method in methods.items()}
    steps = pd.Series({name: steps for name, (_, steps, _) in runs.items()})
    us: Any = in_turns({name: run for name, (run, *_) in runs.items()}, rounds) * 1e6 / steps
    kilobytes = {name: kilobytes for name, (*_, kilobytes) in runs.items()}
    low, middle, high = (us.quantile(q) for q in (0.25, 0.5, 0.75))
    return pd.DataFrame({"delay": delay, "us": middle, "low": low, "high": high, "kilobytes": kilobytes}), us


def _prepared(method: Method, delay: int, units: int, seed: int) -> tuple[Any, int, float]:
    """A compiled run of some steps, their number, and its kilobytes; long windows have fewer steps."""
    task = recall(delay)
    learner = rtrl.Learner(task.loss, method.estimator, optax.adam(0.01), method.update_every, report=task.error)
    state = learner.init(model_of(task, elstm(units, around(delay)), jax.random.key(seed)))
    horizon = getattr(method.estimator, "horizon", 1)
    steps = 64 if horizon > 10 else -(-2048 // method.update_every) * method.update_every
    xs, ys, _, weight = selective_recall(jax.random.key(seed), max(steps, delay + 1), delay)
    stream = jax.tree.map(lambda a: a[:steps], (GAIN * xs, ys, None, weight))
    run, memory = ready(learner, state, stream)
    return run, steps, memory / 1e3
