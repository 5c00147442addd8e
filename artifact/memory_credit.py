"""Where the gradient of selective recall comes from, and what the influence matrix holds meanwhile."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
from jaxtyping import Array, Float, Int, Key

import rtrl
from artifact.long_memory import GAIN, NETWORKS, Method, Task, around, elstm, recall, untrained
from rtrl.tasks import selective_recall

WATCHED = 10
"""Trials at whose end the credit is looked at."""


def credit(model: rtrl.Model, state: Any, xs: Float[Array, "time inputs"], y: Int[Array, ""]) -> Float[Array, " time"]:
    """The share of the last answer's gradient that comes from each step, the last one first.

    With copies θ_s of the cell's parameters, one a step, and g_s = dℓ/dθ_s, the gradient is g = Σ g_s; a step's share
    is g_s·g / g·g.
    """
    params, static = eqx.partition(model.cell, eqx.is_inexact_array)
    copies = jax.tree.map(lambda p: jnp.broadcast_to(p, (len(xs), *p.shape)), params)

    def loss(copies: Any) -> Array:
        def step(h: Any, now: tuple) -> tuple[Any, None]:
            return eqx.combine(now[0], static)(h, now[1]), None

        h, _ = jax.lax.scan(step, state, (copies, xs))
        return optax.softmax_cross_entropy_with_integer_labels(model.predict(h, xs[-1]), y)

    rows = jnp.concatenate([g.reshape(len(xs), -1) for g in jax.tree.leaves(jax.grad(loss)(copies))], axis=1)
    total = rows.sum(axis=0)
    return (rows @ total / (total @ total))[::-1]


def while_learning(delay: int, units: int, looks: Sequence[int], key: Key[Array, ""]) -> tuple[Any, pd.DataFrame]:
    """Trains networks on recall by RTRL; their states, and after so many trials the share of the gradient that comes
    from the last s steps, a median over the networks, for s up to two trials.
    """
    task, keys = recall(delay), jax.random.split(key, NETWORKS)
    learner = Method(rtrl.RTRL()).learner(task)
    states = untrained(learner, task, elstm(units, around(delay)), np.full(NETWORKS, 0.01), keys)
    rows = []
    for before, now in zip([0, *looks], looks, strict=False):
        of_this = jax.vmap(jax.random.fold_in, (0, None))(keys, now)
        states, share = _go_on(learner, task, delay, states, of_this, now - before)
        reached = np.median(np.cumsum(share, axis=1), axis=0)[: 2 * task.trial]
        rows += [{"trials": now, "steps": s, "share": x} for s, x in enumerate(reached, start=1)]
    return states, pd.DataFrame(rows)


@eqx.filter_jit
def _go_on(
    learner: rtrl.Learner, task: Task, delay: int, states: Any, keys: Key[Array, " networks"], count: int
) -> Any:
    """Some trials more; then the credit of the last question of trials that are only watched."""

    def one(state: Any, key: Key[Array, ""]) -> tuple[Any, Array]:
        now, then = jax.random.split(key)
        if count:
            xs, ys, _, weight = selective_recall(now, count * task.trial, delay)
            state, _ = learner.run(state, GAIN * xs, ys, weight=weight)
        xs, ys, *_ = selective_recall(then, WATCHED * task.trial, delay)
        return state, credit(state.model, state.stream.cell, GAIN * xs, ys[-1])

    return eqx.filter_vmap(one)(states, keys)


@eqx.filter_jit
def influence_norms(state: Any, xs: Float[Array, "time inputs"]) -> Float[Array, "time units"]:
    """The norm of each unit's influence after each step, the model staying as it is."""

    def step(stream: Any, x: Array) -> tuple[Any, Array]:
        stream, _ = rtrl.step_gradient(rtrl.RTRL(), state.model, lambda p, _: p[0], stream, x, None)
        rows = [(j**2).sum(axis=[a for a in range(j.ndim) if a != 1]) for j in jax.tree.leaves(stream.memory)]
        return stream, jnp.sqrt(sum(rows))

    return jax.lax.scan(step, state.stream, GAIN * xs)[1]
