"""Actor-critic(λ) that acts for a chunk of steps, looks back over it once, and makes one update."""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

import rtrl
from artifact.control.agent import Settings
from artifact.control.life import Decision, Life, Moment, live


class ChunkedActorCritic(eqx.Module):
    r"""`ActorCritic` by the forward view: one update for every `chunk` steps, with the λ-returns of the chunk.

    $$A_t = \delta_t + \gamma\lambda A_{t+1}, \qquad g = \frac{1}{k}\sum_t A_t \nabla(\log\pi(a_t) + c\,V_t)$$

    with A = 0 behind the chunk's end and behind an episode's, and δ as there. With `ChunkedBPTT()` it is the usual
    advantage actor-critic of recurrent policies, whose credit ends with the chunk; with `RTRL()` the gradient does not.

    Schulman et al. (2016), "High-dimensional continuous control using generalized advantage estimation", equation 16.
    """

    estimator: rtrl.AbstractEstimator
    settings: Settings = Settings()
    chunk: int = eqx.field(static=True, default=16)

    def init(self, model: rtrl.Model) -> PyTree:
        state = rtrl.set_hyperparameters(self._learner().init(model), learning_rate=jnp.asarray(self.settings.rate))
        return dataclasses.replace(state, window=None)  # it is only ever cut between two updates

    def live(self, world: Any, life: Life, key: PRNGKeyArray, steps: int) -> tuple[Life, Moment]:
        """So many steps of a life, in whole chunks."""
        arrays, static = eqx.partition(life, eqx.is_array)

        def one(arrays: PyTree, key: PRNGKeyArray) -> tuple[PyTree, Moment]:
            life, moments = self._chunk(world, eqx.combine(arrays, static), key)
            return eqx.filter(life, eqx.is_array), moments

        arrays, moments = jax.lax.scan(one, arrays, jax.random.split(key, steps // self.chunk))
        return eqx.combine(arrays, static), jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), moments)

    def _chunk(self, world: Any, life: Life, key: PRNGKeyArray) -> tuple[Life, Moment]:
        state, s = life.agent, self.settings
        acting = dataclasses.replace(life, agent=(state.model, state.stream.cell))
        after, moments = live(world, self._act, acting, key, self.chunk)
        begins = jnp.append(life.begins, moments.ended[:-1])
        _, ahead = self._act(after.agent, after.seen, after.reward, after.begins, key)
        advantages = self._advantages(moments, ahead.prediction[-1])
        critic = jnp.broadcast_to(s.critic, advantages.shape)
        xs, ys = s.gain * moments.observation, (moments.action, advantages, critic)
        state, _ = self._learner().run(state, xs, ys, reset=begins)
        return dataclasses.replace(after, agent=state), moments

    def _act(
        self, agent: tuple, seen: Array, reward: Array, begins: Array, key: PRNGKeyArray
    ) -> tuple[tuple, Decision]:
        model, state = agent
        x = self.settings.gain * seen
        state = model.cell(jax.tree.map(lambda h0, h: jnp.where(begins, h0, h), model.cell.initial_state(), state), x)
        prediction = model.predict(state, x)
        return (model, state), Decision(jax.random.categorical(key, prediction[:-1]), prediction)

    def _advantages(self, moments: Moment, ahead: Array) -> Float[Array, " chunk"]:
        s, values = self.settings, moments.prediction[:, -1]
        taken = jax.vmap(lambda p, a: jax.nn.log_softmax(p[:-1])[a])(moments.prediction, moments.action)
        errors = moments.reward - s.entropy * taken - values
        errors += s.discount * jnp.where(moments.ended, 0, jnp.append(values[1:], ahead))

        def before(later: Array, now: tuple) -> tuple[Array, Array]:
            error, ended = now
            advantage = error + s.discount * s.decay * jnp.where(ended, 0, later)
            return advantage, advantage

        return jax.lax.scan(before, jnp.zeros(()), (errors, moments.ended), reverse=True)[1]

    def _learner(self) -> rtrl.Learner:
        optimizer = optax.inject_hyperparams(optax.adam)(learning_rate=0.0)
        return rtrl.Learner(_loss, self.estimator, optimizer, self.chunk)


def _loss(prediction: Float[Array, " outputs"], y: tuple) -> Float[Array, ""]:
    action, advantage, critic = y
    return -advantage * (jax.nn.log_softmax(prediction[:-1])[action] + critic * prediction[-1])
