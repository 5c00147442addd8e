"""One of several processes that follow a stream together, on a state that is divided among their devices.

Run as a program: `several.py ADDRESS PROCESSES PROCESS FOLDER RESULT [STOP]`. With STOP it waits there after so many
chunks, to be killed.
"""

import sys
import time

import equinox as eqx
import jax
import numpy as np
import optax
from jax.experimental import multihost_utils

import rtrl

CHUNKS, CHUNK = 6, 5
NUMBERS = np.random.default_rng(0)
STREAM = [(NUMBERS.normal(size=(CHUNK, 2, 4)), NUMBERS.normal(size=(CHUNK, 2, 8))) for _ in range(CHUNKS)]


def followed(folder):
    """The states after each chunk, of a batch of two streams laid over a mesh of all devices."""
    learner = rtrl.Learner(lambda p, y: ((p - y) ** 2).sum(), rtrl.RTRL(block_size=4), optax.adam(1e-2))
    mesh = jax.make_mesh((2, jax.device_count() // 2), ("streams", "columns"))

    def first():
        model = rtrl.Model(rtrl.GRUCell(4, 8, key=jax.random.key(0)), lambda h: h)
        return learner.init(model, batch_size=2)

    state = rtrl.shard(first, mesh)
    return rtrl.follow(learner, state, STREAM, chunk=CHUNK, checkpoints=folder, checkpoint_every=1, progress=False)


def numbers(state):
    """All arrays, whole, on every process."""
    arrays = jax.tree.leaves(eqx.filter(state, eqx.is_array))
    return [np.asarray(multihost_utils.process_allgather(a, tiled=True)) for a in arrays]


def main(address, processes, process, folder, result, stop=0):
    if int(processes) > 1:
        jax.distributed.initialize(
            address, int(processes), int(process), heartbeat_timeout_seconds=10, shutdown_timeout_seconds=10
        )
    for done, (state, _) in enumerate(followed(folder), 1):  # noqa: B007
        print("chunk", done, flush=True)
        if done == int(stop):
            time.sleep(600)
    influence = jax.tree.leaves(state.stream.memory.influence)[0]
    print("divided", *influence.sharding.spec, flush=True)
    if (whole := numbers(state)) and int(process) == 0:
        np.savez(result, *whole)


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_disable_most_optimizations", True)
    main(*sys.argv[1:])
