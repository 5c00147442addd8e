"""Time per step of every form of exact RTRL; targets are reported in the table, never asserted."""

import time

import equinox as eqx
import jax
import numpy as np
import pytest
from cases import APPROXIMATE, Case, compiled_run, floor

DISPATCHED = 2**20
"""Bytes below which a read costs less than calling it; such a J has no floor in the table."""

ELMAN = [
    Case("ElmanCell", form, n, batch)
    for batch, sizes in ((1, (64, 128, 256, 512)), (16, (64, 128, 256)))
    for n in sizes
    for form in ("textbook", "block", "update_every")
    if (n, form) != (512, "textbook")
]
GATED = [
    Case(cell, form, n)
    for cell in ("GRUCell", "LSTMCell", "CTRNNCell")
    for n in (64, 128)
    for form in ("textbook", "block")
]
DIAGONAL = [
    Case(cell, form, n)
    for cell, largest in (("LRUCell", 4096), ("RTUCell", 4096), ("ELSTMCell", 1024))
    for n in (64, 256, 1024, 4096)
    if n <= largest
    for form in ("diagonal", "immediate")
] + [Case("LRUCell", form, n, batch) for n, batch in ((128, 1), (256, 16)) for form in ("diagonal", "immediate")]
STACKS = [
    Case("LRUCell", "layer_local", 128, layers=1),
    Case("LRUCell", "layer_local", 128, layers=4),
    Case("LRUCell", "layered", 32, layers=2),
    Case("LRUCell", "layered", 32, layers=4),
]
OTHERS = [Case("CTRNNCell", form, n) for form in APPROXIMATE for n in (32, 64, 128, 256)]


@pytest.mark.parametrize("case", [*ELMAN, *GATED, *DIAGONAL, *STACKS, *OTHERS], ids=str)
def test_time_per_step(benchmark, case):
    learner, steps = case.learner, case.steps
    run, compile_seconds, temporary = compiled_run(learner, state := case.start(learner), *case.stream(steps))
    begin = time.perf_counter()
    state, _ = jax.block_until_ready(run(state))
    rounds = 5 if time.perf_counter() - begin < 1 else 3
    _, outputs = benchmark.pedantic(lambda: jax.block_until_ready(run(state)), rounds=rounds)
    assert outputs.finite.all()
    rows, columns = case.influence or (0, 0)
    benchmark.extra_info |= {
        "case": str(case),
        "cell": case.cell,
        "form": case.form,
        "n": case.n,
        "batch": case.batch,
        "layers": case.layers or 1,
        "update_every": case.update_every,
        "parameters": case.parameters,
        "trained": case.trained,
        "carried": sum(leaf.size for leaf in jax.tree.leaves(state.stream.memory)),
        "steps": steps,
        "floor_us": floor(rows, columns) if 4 * rows * columns > DISPATCHED else None,
        "compile_s": compile_seconds,
        "temporary_over_J": temporary / (4 * rows * columns) if rows and temporary is not None else None,
    }


@pytest.mark.parametrize("n", [64, 128, 256, 512])
def test_latency_of_single_steps(benchmark, n):
    """The slowest position in a block, the one that folds, beside the mean over the block."""
    case = Case("ElmanCell", "block", n)
    learner = case.learner
    step = eqx.filter_jit(lambda xy, state: learner.step(state, *xy), donate="all-except-first")
    xs, ys = case.stream(case.period)
    state, latencies = case.start(learner), []

    def one_block():
        nonlocal state
        seconds = []
        for x, y in zip(xs, ys, strict=True):
            begin = time.perf_counter()
            state, _ = jax.block_until_ready(step((x, y), state))
            seconds.append(time.perf_counter() - begin)
        latencies.append(seconds)

    benchmark.pedantic(one_block, rounds=5 if n < 512 else 3, warmup_rounds=1)
    positions = 1e6 * np.median(latencies[1:], axis=0)
    benchmark.extra_info |= {
        "case": f"ElmanCell-block-{n}-single-steps",
        "cell": "ElmanCell",
        "form": "block, step by step",
        "n": n,
        "batch": 1,
        "layers": 1,
        "update_every": 1,
        "parameters": case.parameters,
        "steps": case.period,
        "floor_us": floor(*(case.influence or (1, 1))),
        "mean_us": positions.mean(),
        "worst_us": positions.max(),
    }
