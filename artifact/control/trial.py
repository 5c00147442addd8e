"""Many agents side by side on one world, and how often they succeed."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Array, Float, Key, PRNGKeyArray

from artifact.control.agent import ActorCritic, Settings
from artifact.control.chunks import ChunkedActorCritic
from artifact.control.life import Life, begin, network

RATES = 0.0006, 0.001, 0.003
PIECE = 10_000
LAST = 400
"""Episodes over which success is counted, as in the comparison that was published."""

Learns = Callable[[Settings], ActorCritic | ChunkedActorCritic]
"""Of settings, the agent that learns with them."""


def lives(
    world: Any,
    learns: Learns,
    cell_of: Callable,
    rates: Float[np.ndarray, " agents"],
    keys: Key[Array, " agents"],
    steps: int,
) -> tuple[Life, dict[str, np.ndarray]]:
    """Agents with fresh networks, each at its own rate, after so many steps: their lives, and of each step the reward
    and whether an episode ended.

    In pieces of `PIECE` steps; worlds of one kind share a program.
    """  # fmt: skip
    world = jax.tree.map(jnp.asarray, world)  # numbers that are not compiled in
    born, outcome = _born(world, learns, cell_of, jnp.asarray(rates, float), keys), []
    for done in range(0, steps, PIECE):
        born, piece = _live(world, learns, born, jax.vmap(jax.random.fold_in, (0, None))(keys, done))
        outcome.append(piece)
    rewards, ended = (np.concatenate(pieces, axis=1) for pieces in zip(*outcome, strict=True))
    return born[1], {"reward": rewards[:, :steps], "ended": ended[:, :steps]}


@eqx.filter_jit
def _born(world: Any, learns: Learns, cell_of: Callable, rates: Array, keys: Array) -> tuple[Settings, Life]:
    def one(rate: Array, key: PRNGKeyArray) -> tuple[Settings, Life]:
        settings = Settings(rate)
        model_key, begin_key = jax.random.split(key)
        return settings, begin(world, learns(settings).init(network(world, cell_of, model_key)), begin_key)

    return eqx.filter_vmap(one)(rates, keys)


@eqx.filter_jit(donate="all-except-first")
def _live(world: Any, learns: Learns, born: tuple[Settings, Life], keys: Array) -> tuple[Any, tuple[Array, Array]]:
    def one(settings: Settings, life: Life, key: PRNGKeyArray) -> tuple[Any, tuple[Array, Array]]:
        life, moments = learns(settings).live(world, life, key, PIECE)
        return (settings, life), (moments.reward, moments.ended)

    return eqx.filter_vmap(one)(*born, keys)


def episodes(world: Any, outcome: dict[str, np.ndarray]) -> pd.DataFrame:
    """One row for each episode that has ended: its agent, its last step, its return, and whether it succeeded."""
    rows = []
    for agent, (reward, ended) in enumerate(zip(outcome["reward"], outcome["ended"], strict=True)):
        last = np.flatnonzero(ended)
        total = np.diff(np.cumsum(reward)[last], prepend=0.0)
        right = np.asarray(world.succeeded(reward[last]))
        rows.append(pd.DataFrame({"agent": agent, "step": last, "return": total, "success": right}))
    return pd.concat(rows, ignore_index=True)


def scores(seen: pd.DataFrame, agents: int) -> Float[np.ndarray, " agents"]:
    """Of each agent, the share of its last `episodes` that succeeded; 0 without a finite reward or an episode."""
    last = seen.groupby("agent")["success"].apply(lambda s: s.iloc[-LAST:].mean())
    return last.reindex(range(agents), fill_value=0.0).to_numpy(float)


def best_rate(world: Any, learns: Learns, cell_of: Callable, key: PRNGKeyArray, steps: int, each: int) -> float:
    """The one of three rates whose worst agent succeeds most often, then the mean one; none of them is scored."""
    keys, rates = jax.random.split(key, each), np.repeat(RATES, each)
    _, outcome = lives(world, learns, cell_of, rates, jnp.tile(keys, len(RATES)), steps)
    found = scores(episodes(world, outcome), len(rates)).reshape(len(RATES), each)
    return max(zip(found.min(axis=1), found.mean(axis=1), RATES, strict=True))[-1]
