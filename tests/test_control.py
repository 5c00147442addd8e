"""Worlds that ask for memory, and the actor-critics that live in them."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rtrl
from artifact.control.agent import ActorCritic, Settings
from artifact.control.chunks import ChunkedActorCritic
from artifact.control.life import Moment, begin, live, network
from rtrl.tasks import MemoryChain, TMaze

KEY = jax.random.key(0)
CELL = functools.partial(rtrl.RTUCell, hidden_size=3)


def played(world, actions, key=KEY):
    """What is seen before each action, its reward, and whether it ended the episode."""
    state, seen = world.reset(key)
    rows = []
    for action in actions:
        shown = np.asarray(seen)
        state, seen, reward, ended = world.step(key, state, jnp.asarray(action))
        rows.append((shown, float(reward), bool(ended)))
    return state, rows


@pytest.mark.parametrize("seed", range(4))
def test_a_turn_to_the_side_of_the_sign_is_worth_four(seed):
    world = TMaze(3)
    side = int(world.reset(jax.random.key(seed))[0].side)
    for turn, reward in ((1 + side, 4.0), (2 - side, -0.4)):
        _, rows = played(world, [0, 0, 0, turn], jax.random.key(seed))
        shown = [int(row[0].argmax()) for row in rows]
        assert shown == [side, 2, 2, 3]
        np.testing.assert_allclose([row[1] for row in rows], [-0.1, -0.1, -0.1, reward])
        assert [row[2] for row in rows] == [False, False, False, True]
        assert bool(world.succeeded(jnp.asarray(reward))) == (turn == 1 + side)


def test_who_stands_still_meets_the_time_limit():
    state, rows = played(TMaze(2, moving=0.0), [1, 2, 0, 1])
    np.testing.assert_allclose([row[1] for row in rows], [-0.1, -0.1, 0.0, -0.1])
    assert [row[2] for row in rows] == [False, False, False, True]
    assert int(state.position) == 1


def test_false_signs_are_in_the_corridor_only():
    _, rows = played(TMaze(3, noise=1.0), [0, 0, 0, 1])
    shown = np.array([row[0] for row in rows])
    assert (shown[1:3, :2] > 0).all()
    assert (shown[1:3, :2] < 1).all()
    np.testing.assert_array_equal(np.sort(shown[[0, 3]]), [[0, 0, 0, 1]] * 2)
    np.testing.assert_array_equal(shown[1:3, 2:], [[1, 0]] * 2)


def test_the_memory_chain_is_the_one_of_gymnax():
    """Written down from `gymnax` 1.0.1, MemoryChain-bsuite with memory_length=3, one bit, which is 1."""
    key = next(k for k in jax.random.split(KEY, 20) if int(MemoryChain(3).reset(k)[0].bit) == 1)
    for last, reward in ((1, 1.0), (0, -1.0)):
        _, rows = played(MemoryChain(3), [0, 1, 0, last], key)
        expected = [[1, 0, 1], [1, 0, 1], [2 / 3, 0, 0], [1 / 3, 0, 0]]
        np.testing.assert_allclose([row[0] for row in rows], expected, rtol=1e-6)
        assert [row[1] for row in rows] == [0, 0, 0, reward]
        assert [row[2] for row in rows] == [False, False, False, True]


def test_the_memory_chain_steps_as_gymnax_does():
    chain = pytest.importorskip("gymnax.environments.bsuite.memory_chain")
    theirs = chain.MemoryChain(num_bits=1)
    params = theirs.default_params.replace(memory_length=5)
    for seed in range(6):
        seen, state = theirs.reset_env(jax.random.key(seed), params)
        ours = next(
            k for k in jax.random.split(KEY, 20) if int(MemoryChain(5).reset(k)[0].bit) == int(state.context[0])
        )
        actions = np.random.default_rng(seed).integers(2, size=6)
        for action, (shown, reward, ended) in zip(actions, played(MemoryChain(5), actions, ours)[1], strict=True):
            np.testing.assert_allclose(shown, seen, atol=1e-6)
            seen, state, paid, _, _ = theirs.step_env(KEY, state, int(action), params)
            assert (float(paid), bool(theirs.is_terminated(state, params))) == (reward, ended)


def test_what_an_agent_is_credited_with_is_the_trace_of_all_that_it_did():
    """With a rate of 0: Σ (γλ)^(T-t) ∇(log π(a_t) + c V_t), differentiated through the whole past."""
    settings, steps = Settings(rate=0.0), 7
    world, agent = TMaze(20), ActorCritic(rtrl.RTRL(), Settings(rate=0.0))
    model = network(world, CELL, KEY)
    life, moments = live(world, agent.step, begin(world, agent.init(model), KEY), KEY, steps)
    params, static = eqx.partition(model, eqx.is_inexact_array)

    def credited(params):
        whole, total = eqx.combine(params, static), 0.0
        h = whole.cell.initial_state()
        for t, (x, action) in enumerate(zip(moments.observation, moments.action, strict=True)):
            h = whole.cell(h, x)
            out = whole.readout(whole.cell.output(h, x))
            now = jax.nn.log_softmax(out[:-1])[action] + settings.critic * out[-1]
            total += (settings.discount * settings.decay) ** (steps - 1 - t) * now
        return total

    expected, trace = jax.grad(credited)(params), life.agent.optimizer[0]
    for one, other in zip(jax.tree.leaves(trace), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-8, atol=1e-12)


def test_the_advantages_of_a_chunk_are_lambda_returns_minus_values():
    rng, settings = np.random.default_rng(1), Settings(entropy=0.02)
    predictions, rewards = rng.normal(size=(5, 3)), rng.normal(size=5)
    ended, actions = np.array([False, True, False, False, False]), np.array([0, 1, 1, 0, 1])
    moments = Moment(*map(jnp.asarray, (np.zeros((5, 2)), actions, rewards, ended, predictions)))
    found = ChunkedActorCritic(rtrl.RTRL(), settings)._advantages(moments, jnp.asarray(0.7))
    logits, values = predictions[:, :-1], np.append(predictions[:, -1], 0.7)
    log_pi = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    paid = rewards - settings.entropy * log_pi[np.arange(5), actions]
    target = values[5]
    for t in reversed(range(5)):
        ahead = 0.0 if ended[t] else (1 - settings.decay) * values[t + 1] + settings.decay * target
        target = paid[t] + settings.discount * ahead
        np.testing.assert_allclose(found[t], target - values[t], rtol=1e-10)


def test_who_forgets_decides_by_what_it_sees():
    world, agent = TMaze(4), ActorCritic(rtrl.TBPTT(1), Settings(rate=0.0), forgets=True)
    life = begin(world, agent.init(network(world, CELL, KEY)), KEY)
    _, moments = live(world, agent.step, life, KEY, 30)
    for which in range(4):
        alike = np.asarray(moments.prediction)[np.asarray(moments.observation)[:, which] == 1]
        np.testing.assert_allclose(alike, np.broadcast_to(alike[:1], alike.shape), rtol=1e-12)


def test_a_reward_that_is_nan_teaches_nothing():
    class Broken(TMaze):
        def step(self, key, place, action):
            place, seen, reward, ended = super().step(key, place, action)
            return place, seen, reward * jnp.nan, ended

    world, agent = Broken(3), ActorCritic(rtrl.RTRL(), Settings(rate=0.1))
    model = network(world, CELL, KEY)
    life, _ = live(world, agent.step, begin(world, agent.init(model), KEY), KEY, 20)
    for now, before in zip(*(jax.tree.leaves(eqx.filter(m, eqx.is_array)) for m in (life.agent.model, model)),
                           strict=True):  # fmt: skip
        np.testing.assert_array_equal(now, before)


def test_a_world_whose_observations_change_shape_is_refused():
    class Growing(TMaze):
        def step(self, key, place, action):
            place, seen, reward, ended = super().step(key, place, action)
            return place, jnp.append(seen, 0.0), reward, ended

    with pytest.raises(ValueError, match=r"^world: expected Growing to show .* float64\[4\] and then float64\[5\]$"):
        begin(Growing(3), None, KEY)


@pytest.mark.parametrize("agent", [ActorCritic(rtrl.RTRL()), ChunkedActorCritic(rtrl.ChunkedBPTT(), chunk=4)])
def test_both_kinds_of_agent_learn_to_go_forward(agent):
    """A corridor of one step without a sign worth reading: turning at once is all there is to learn."""
    world = TMaze(1, limit=8, wrong=4.0)
    agent = eqx.tree_at(lambda a: a.settings.rate, agent, 0.01)
    life = begin(world, agent.init(network(world, CELL, KEY)), KEY)
    _, moments = jax.jit(lambda key: agent.live(world, life, key, 2000))(KEY)
    ended = np.asarray(moments.ended)
    assert ended[:100].mean() < 0.32  # a random policy needs 4.5 steps, the best one two
    assert ended[-200:].mean() > 0.4
