"""Processes that follow a stream and are killed at random moments, again and again, until one comes to its end.

Run as a program: importing JAX takes seconds, so one process imports it and forks itself once for every kill, before
JAX has started any thread. Prints for each case how many were killed and whether the end is that of a run that was
left in peace, bit for bit.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import equinox as eqx
import jax
import numpy as np
import optax
import orbax.checkpoint  # noqa: F401  before the forks, as it takes half a second

import rtrl

jax.config.update("jax_enable_x64", True)
STEPS, CHUNK = 200, 7


def elman(key):
    return rtrl.ElmanCell(2, 3, key=key)


def diagonal(key):
    return rtrl.ELSTMCell(2, 3, key=key)


def layers(key):
    return rtrl.StackedCell([rtrl.GRUCell(2, 2, key=key), eqx.nn.LayerNorm(2), rtrl.ELSTMCell(2, 3, key=key)])


def pendulum(key):
    return rtrl.ODECell(lambda t, y, args: args[0] - y, jax.numpy.zeros(3), time_step=0.1, train_initial=True)


CASES = {
    "RTRL": (elman, rtrl.RTRL(block_size=None), 1),
    "RTRL in blocks": (elman, rtrl.RTRL(block_size=4), 1),
    "RTRL in blocks, an update in three steps": (elman, rtrl.RTRL(block_size=4), 3),
    "RTRL of a diagonal cell, an update in three steps": (diagonal, rtrl.RTRL(), 3),
    "RTRL of layers": (layers, rtrl.RTRL(), 1),
    "RTRL of an equation": (pendulum, rtrl.RTRL(), 1),
    "layer-local, an update in three steps": (layers, rtrl.LayerLocalRTRL(), 3),
    "TBPTT": (elman, rtrl.TBPTT(3), 1),
    "chunks": (elman, rtrl.ChunkedBPTT(), 3),
    "UORO": (elman, rtrl.UORO(), 1),
    "SnAp, an update in three steps": (elman, rtrl.SnAp(1), 3),
    "e-prop": (elman, rtrl.EProp(), 1),
    "RFLO": (elman, rtrl.RFLO(), 1),
    "KF-RTRL": (elman, rtrl.KFRTRL(), 1),
    "OK": (elman, rtrl.OK(2), 1),
    "sketch": (elman, rtrl.SketchedRTRL(2), 1),
}
KILLS = 50


def pieces():
    """Of all sizes, the same ones every time."""
    numbers = np.random.default_rng(0)
    xs, ys = numbers.normal(size=(STEPS, 2)), numbers.normal(size=(STEPS, 3))
    begin = 0
    while begin < STEPS:
        end = begin + int(numbers.integers(1, 20))
        yield xs[begin:end], ys[begin:end]
        begin = end


def numbers_of(state):
    leaves = jax.tree.leaves(eqx.filter(state, eqx.is_array))
    return [
        np.asarray(jax.random.key_data(a) if jax.dtypes.issubdtype(a.dtype, jax.dtypes.prng_key) else a) for a in leaves
    ]


def follow(case, checkpoints, result, chunk_done):
    cell, estimator, every = CASES[case]
    learner = rtrl.Learner(lambda p, y: ((p - y) ** 2).sum(), estimator, optax.adam(1e-2), update_every=every)

    @eqx.filter_jit
    def start():
        model = rtrl.Model(cell(jax.random.key(0)), lambda h: h)
        return learner.init(model, key=jax.random.key(1))

    state = start()
    following = rtrl.follow(
        learner, state, pieces(), chunk=CHUNK, checkpoints=checkpoints, checkpoint_every=1, progress=False
    )
    for state, _ in following:  # noqa: B007
        chunk_done()
    np.savez(result, *numbers_of(state))


def forked(case, checkpoints, result, kill=None):
    """Whether a fresh process came to the end; `kill` gives the seconds after its first chunk, or its start."""
    reads, writes = os.pipe()
    child = os.fork()
    if not child:
        os.close(reads)
        try:
            follow(case, checkpoints, result, lambda: os.write(writes, b"."))
        except BaseException as error:  # a fork must not go on with what its parent does
            print(f"{case}: {error!r}", file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    os.close(writes)
    if kill is not None:
        if kill["after a chunk"]:
            os.read(reads, 1)
        time.sleep(kill["seconds"])
        os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    os.close(reads)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        sys.exit(f"{case}: a process that nobody killed ended badly")
    return not os.WIFSIGNALED(status)


def survives(case, folder, kills, chance):
    """How many processes of a case were killed before one came to the end, and whether it is the right one."""
    checkpoints, ends = folder / case, [folder / f"{case} {which}.npz" for which in ("in peace", "killed")]
    forked(case, None, ends[0])
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 1e9)  # a kill must not cut a program short
    killed, ended = 0, False
    while killed < kills and not ended:
        after_a_chunk = chance.random() < 0.8
        seconds = chance.uniform(0, 0.12 if after_a_chunk else 0.5)
        ended = forked(case, checkpoints, ends[1], {"after a chunk": after_a_chunk, "seconds": seconds})
        killed += not ended
    if not ended:
        forked(case, checkpoints, ends[1])
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    peace, after = (list(np.load(end).values()) for end in ends)
    equal = len(peace) == len(after) and all(
        a.dtype == b.dtype and a.tobytes() == b.tobytes() for a, b in zip(peace, after, strict=True)
    )
    return {"killed": killed, "equal": equal, "kept": sorted(path.name for path in checkpoints.iterdir())}


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    jax.config.update("jax_compilation_cache_dir", str(folder / "programs"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    chance = random.Random(int(sys.argv[2]))
    shares = [KILLS // len(CASES) + (i < KILLS % len(CASES)) for i in range(len(CASES))]
    print(json.dumps({case: survives(case, folder, share, chance) for case, share in zip(CASES, shares, strict=True)}))
