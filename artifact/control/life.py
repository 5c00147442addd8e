"""Agents and their worlds, inside one compiled loop."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree

import rtrl


class Decision(eqx.Module):
    """An action, and the prediction (the logits of all actions, and the value) behind it."""

    action: Int[Array, ""]
    prediction: Float[Array, " outputs"]


class Moment(eqx.Module):
    """Of a step: what was seen, the action, its reward, whether it ended the episode, and logits and value."""

    observation: Float[Array, " inputs"]
    action: Int[Array, ""]
    reward: Float[Array, ""]
    ended: Bool[Array, ""]
    prediction: Float[Array, " outputs"]


class Life(eqx.Module):
    """An agent in its world: the world's state, what is seen of it, and what came of the last action."""

    agent: Any
    world: PyTree
    seen: Float[Array, " inputs"]
    reward: Float[Array, ""]
    begins: Bool[Array, ""]


def begin(world: Any, agent: Any, key: PRNGKeyArray) -> Life:
    """An agent at the first step of its first episode.

    Raises `ValueError` if a step of the world changes what is seen in shape or dtype.
    """
    check_world(world)
    state, seen = world.reset(key)
    return Life(agent, state, seen, jnp.zeros(()), jnp.ones((), bool))


def live(world: Any, step: Any, life: Life, key: PRNGKeyArray, steps: int) -> tuple[Life, Moment]:
    """So many steps of a life, episode after episode; `step` is that of an `ActorCritic`, or another policy's."""
    arrays, static = eqx.partition(life, eqx.is_array)

    def one(arrays: PyTree, key: PRNGKeyArray) -> tuple[PyTree, Moment]:
        after, moment = _moment(world, step, eqx.combine(arrays, static), key)
        return eqx.filter(after, eqx.is_array), moment

    arrays, moments = jax.lax.scan(one, arrays, jax.random.split(key, steps))
    return eqx.combine(arrays, static), moments


def _moment(world: Any, step: Any, life: Life, key: PRNGKeyArray) -> tuple[Life, Moment]:
    act_key, world_key, reset_key = jax.random.split(key, 3)
    agent, decision = step(life.agent, life.seen, life.reward, life.begins, act_key)
    state, seen, reward, ended = world.step(world_key, life.world, decision.action)
    fresh = world.reset(reset_key)
    state, seen = jax.tree.map(lambda new, old: jnp.where(ended, new, old), fresh, (state, seen))
    moment = Moment(life.seen, decision.action, reward, ended, decision.prediction)
    return Life(agent, state, seen, reward, ended), moment


def check_world(world: Any) -> None:
    """Raises `ValueError` if a step of the world changes what is seen in shape or dtype."""
    key, action = jax.random.key(0), jnp.zeros((), int)
    state, first = jax.eval_shape(world.reset, key)
    _, later, *_ = jax.eval_shape(world.step, key, state, action)
    if (first.shape, first.dtype) != (later.shape, later.dtype):
        raise ValueError(
            f"world: expected {type(world).__name__} to show the same shape and dtype at every step, got "
            f"{first.dtype}{list(first.shape)} and then {later.dtype}{list(later.shape)}"
        )


def network(world: Any, cell_of: Any, key: PRNGKeyArray) -> rtrl.Model:
    """A cell (from a number of inputs and a key) with a linear readout of the logits of all actions and the value."""
    cell_key, readout_key = jax.random.split(key)
    cell = cell_of(world.inputs, key=cell_key)
    width = jax.eval_shape(lambda: cell.output(cell.initial_state(), cell.example_input())).size
    return rtrl.Model(cell, eqx.nn.Linear(width, world.actions + 1, key=readout_key))
