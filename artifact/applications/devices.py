"""What a learner carries from step to step, and its step as a file that runs without Python."""

import functools
from collections.abc import Callable, Iterable
from time import perf_counter
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

import rtrl

CELLS = {"GRU": rtrl.GRUCell, "trace units": rtrl.RTUCell}
LEARNERS = {
    name: rtrl.Learner(lambda p, y: jnp.sum((p - y) ** 2), estimator, optax.sgd(0.01))
    for name, estimator in {"RTRL": rtrl.RTRL(), "TBPTT(10)": rtrl.TBPTT(10)}.items()
}


def device_model(cell_name: str, units: int) -> rtrl.Model:
    """A network with 8 inputs and 4 outputs."""
    key = jax.random.key(0, impl="rbg")  # compiles fast
    cell = CELLS[cell_name](8, units, key=key)
    width = cell.output(cell.initial_state(), cell.example_input()).size
    return rtrl.Model(cell, eqx.nn.Linear(width, 4, key=key))


@functools.cache
def memory_of(cell_name: str, method: str, units: int) -> dict[str, int]:
    """Bytes carried from step to step, by what they are; nothing is allocated."""
    model = eqx.filter_eval_shape(lambda: device_model(cell_name, units))
    state = eqx.filter_eval_shape(lambda model: model.cell.initial_state(), model)
    parameters, states = (
        sum(a.size * a.dtype.itemsize for a in jax.tree.leaves(tree) if hasattr(a, "dtype")) for tree in (model, state)
    )
    carried = rtrl.influence_bytes(LEARNERS[method].estimator, model)  # plain gradient descent carries nothing
    return {"parameters": parameters, "influence or window": carried, "all": parameters + states + carried}


def widest(cell_name: str, method: str, budget: int) -> int:
    """The largest number of units whose memory fits, in steps of eight; between two sizes it is about a power law."""
    low, high = 8, 100_000

    def size_of(units: int) -> int:
        return memory_of(cell_name, method, units)["all"]

    if size_of(low) > budget:
        return 0
    while high - low > 8:
        share = np.log(budget / size_of(low)) / np.log(size_of(high) / size_of(low))
        middle = int(np.clip(low * (high / low) ** share // 8 * 8, low + 8, high - 8))
        low, high = (middle, high) if size_of(middle) <= budget else (low, middle)
    return low


def exported(cell_name: str, method: str, units: int, steps: int = 60) -> tuple[float, float, np.ndarray]:
    """An exported step: deviation from the learner's own over twenty steps, scratch memory in kB, times in us.

    Times are those of each step of a stream, since one that ends a block takes longer: of nine passes the fastest, as
    if the machine had nothing else to do.
    """
    learner = LEARNERS[method]
    state = eqx.filter_jit(lambda: learner.init(device_model(cell_name, units)))()
    xs, ys = (np.random.default_rng(n).standard_normal((steps, n), np.float32) for n in (8, 4))
    exported_step = jax.export.deserialize(bytearray(rtrl.export_step(learner, state, xs[0], ys[0])))
    arrays, deviation = rtrl.state_arrays(state), 0.0
    step = jax.jit(exported_step.call).lower(arrays, xs[0], ys[0]).compile()
    for x, y in zip(xs[:20], ys[:20], strict=True):
        state, output = learner.step(state, x, y)
        arrays, loss, _ = step(arrays, x, y)
        deviation = max(deviation, abs(float(loss / output.loss) - 1))
    report: Any = step.memory_analysis()
    passes = [_seconds_of_each(step, arrays, zip(xs, ys, strict=True)) for _ in range(9)]
    return deviation, report.temp_size_in_bytes / 1000, 1e6 * np.min(passes, axis=0)


def _seconds_of_each(step: Callable, arrays: Any, stream: Iterable[tuple[np.ndarray, np.ndarray]]) -> list[float]:
    seconds = []
    for x, y in stream:
        began = perf_counter()
        arrays, *_ = jax.block_until_ready(step(arrays, x, y))
        seconds.append(perf_counter() - began)
    return seconds
