"""Learners on eight virtual devices beside themselves on one: numbers, places and what the devices send.

Run as a program by test_sharding.py, with eight devices; prints what it found as JSON.
"""

import functools
import json
import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

import rtrl
from artifact.cost.messages import messages
from rtrl.learner import _run

N, M, STEPS = 16, 8, 10
KEY = jax.random.key(0)


class Damped(rtrl.AbstractCell):
    """A user's own cell without a gate."""

    weights: jax.Array
    drive: jax.Array

    def __call__(self, h, x):
        return 0.5 * h + jnp.sin(self.weights @ h + self.drive @ x)

    def initial_state(self):
        return jnp.zeros(N)

    def example_input(self):
        return jnp.zeros(M)


def stack():
    return rtrl.StackedCell([rtrl.GRUCell(M, N, key=KEY), rtrl.ELSTMCell(N, N, key=KEY)])


def sparse():
    return rtrl.GRUCell(M, N, key=KEY, mask=np.random.default_rng(0).random((N, N)) < 0.3)


def damped():
    return Damped(*(jax.random.normal(KEY, shape) / 4 for shape in ((N, N), (N, M))))


COLUMNS, BOTH = ((8,), ("columns",)), ((2, 4), ("streams", "columns"))
CASES = {  # cell, estimator, update_every, batch_size, mesh
    "textbook": (functools.partial(rtrl.ElmanCell, M, N, key=KEY), rtrl.RTRL(None), 1, None, COLUMNS),
    "block": (functools.partial(rtrl.GRUCell, M, N, key=KEY), rtrl.RTRL(4), 1, None, COLUMNS),
    "block of a batch": (functools.partial(rtrl.ElmanCell, M, N, key=KEY), rtrl.RTRL(4), 3, 4, BOTH),
    "diagonal": (functools.partial(rtrl.LRUCell, M, N, key=KEY), rtrl.RTRL(), 1, None, COLUMNS),
    "layered": (stack, rtrl.RTRL(4), 1, None, COLUMNS),
    "arbitrary": (damped, rtrl.RTRL(), 1, None, COLUMNS),
    "SnAp-1": (functools.partial(rtrl.GRUCell, M, N, key=KEY), rtrl.SnAp(1), 1, None, COLUMNS),
    "SnAp-2": (sparse, rtrl.SnAp(2), 1, None, COLUMNS),
    "UORO": (functools.partial(rtrl.GRUCell, M, N, key=KEY), rtrl.UORO(), 1, None, COLUMNS),
}


def loss(prediction, target):
    return jnp.sum((prediction - target) ** 2)


def case(cell, estimator, every, batch, mesh):
    """How far the numbers are from those on one device, what moved, and the largest message beside J."""
    learner = rtrl.Learner(loss, estimator, optax.adam(1e-2), update_every=every)

    def start():
        made = cell()
        width = jax.eval_shape(lambda: made.output(made.initial_state(), made.example_input())).size
        return learner.init(rtrl.Model(made, eqx.nn.Linear(width, 2, key=KEY)), key=KEY, batch_size=batch)

    numbers, streams = np.random.default_rng(0), () if batch is None else (batch,)
    xs, ys = (numbers.normal(size=(STEPS, *streams, width)) for width in (M, 2))
    state = rtrl.shard(start, jax.make_mesh(*mesh))
    fixed = learner, (xs, ys, None, None), 0
    compiled = _run.lower(fixed, state).compile()
    (after, outputs), (expected, alone) = compiled(fixed, state), learner.run(eqx.filter_jit(start)(), xs, ys)
    assert after.layout == state.layout
    carried = jax.tree.leaves(after.stream.memory)
    divided = sum(a.size for a in carried if not a.is_fully_replicated)
    return {
        "error": far((expected.model, expected.stream, alone.loss), (after.model, after.stream, outputs.loss)),
        "moved": moved(state, after),
        "divided": divided / sum(a.size for a in carried),
        "largest": max((numbers for numbers, _ in messages(compiled.compiled.as_text())), default=0),
        "J": max(a.size for a in carried),
        "P": sum(a.size for a in jax.tree.leaves(state.model) if eqx.is_array(a)),
    }


def far(one, other):
    """The largest difference of two trees, the one by the size of its numbers."""
    pairs = zip(*(jax.tree.leaves(eqx.filter(tree, eqx.is_inexact_array)) for tree in (one, other)), strict=True)
    return max(float(np.max(np.abs(np.asarray(a) - np.asarray(b)) / (1 + np.abs(a)), initial=0)) for a, b in pairs)


def moved(before, after):
    """The paths of all arrays that lie elsewhere."""
    arrays = (jax.tree.leaves_with_path(eqx.filter(state, eqx.is_array)) for state in (before, after))
    pairs = zip(*arrays, strict=True)
    return [
        jax.tree_util.keystr(path) for (path, a), (_, b) in pairs if not a.sharding.is_equivalent_to(b.sharding, a.ndim)
    ]


def sweep():
    """Seeds and learning rates side by side: over the mesh from one call, and one after the other."""
    rates, seeds = np.repeat([1e-3, 1e-2], 4), np.tile(np.arange(4), 2)
    learner = rtrl.Learner(loss, rtrl.RTRL(4), optax.inject_hyperparams(optax.adam)(learning_rate=1e-3))
    numbers = np.random.default_rng(0)
    xs, ys = numbers.normal(size=(STEPS, M)), numbers.normal(size=(STEPS, N))

    def network(seed, rate):
        model = rtrl.Model(rtrl.ElmanCell(M, N, key=jax.random.key(seed)), lambda h: h)
        return rtrl.set_hyperparameters(learner.init(model), learning_rate=rate)

    states = rtrl.shard(lambda: eqx.filter_vmap(network)(seeds, rates), jax.make_mesh((8,), ("streams",)))
    run = eqx.filter_jit(lambda states: eqx.filter_vmap(lambda state: learner.run(state, xs, ys))(states))
    after, outputs = run(states)
    alone = [learner.run(network(seed, rate), xs, ys)[1].loss for seed, rate in zip(seeds, rates, strict=True)]
    influence = jax.tree.leaves(after.stream.memory.influence)[0]
    return {"error": far(jnp.stack(alone), outputs.loss), "of a device": influence.addressable_shards[0].data.shape[0]}


def followed(folder):
    """What `follow` leaves divided, cut into chunks, resumed from its checkpoint, and `step`."""
    learner = rtrl.Learner(loss, rtrl.RTRL(None), optax.sgd(1e-2))
    model, numbers = rtrl.Model(rtrl.ElmanCell(M, N, key=KEY), lambda h: h), np.random.default_rng(0)
    xs, ys = numbers.normal(size=(STEPS, M)), numbers.normal(size=(STEPS, N))
    state = rtrl.shard(learner.init(model), jax.make_mesh(*COLUMNS))
    begun = dict(chunk=5, checkpoints=folder, checkpoint_every=1, progress=False)
    first, _ = next(rtrl.follow(learner, state, [(xs, ys)], **begun))
    *_, (second, _) = rtrl.follow(learner, state, [(xs, ys)], **begun)
    *_, (on_one, _) = rtrl.follow(learner, learner.init(model), [(xs, ys)], **begun)
    stepped, _ = learner.step(state, xs[0], ys[0])
    expected, _ = learner.run(learner.init(model), xs, ys)
    states = {"first": first, "resumed": second, "step": stepped}
    return {name: moved(state, each) for name, each in states.items()} | {
        "error": far(expected, second),
        "error on one device": far(expected, on_one),
    }


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_disable_most_optimizations", True)
    found = {name: case(*settings) for name, settings in CASES.items()}
    print(json.dumps({"cases": found, "sweep": sweep(), "follow": followed(sys.argv[1])}))
