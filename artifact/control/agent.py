"""Actor-critic(λ) along one stream: at every step one gradient, one action, one update, nothing stored."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

import rtrl

Number = float | Float[Array, ""]


class Settings(eqx.Module):
    """Of an actor-critic: step size, λ, discount γ, weights of entropy and value; `gain` multiplies observations."""

    rate: Number = 0.001
    decay: Number = 0.9
    discount: Number = 0.99
    entropy: Number = 0.01
    critic: Number = 0.5
    gain: Number = 3.0

    def optimizer(self) -> optax.GradientTransformationExtraArgs:
        traces = rtrl.eligibility_traces(self.discount * self.decay)
        return optax.chain(traces, optax.adam(self.rate))


class Agent(eqx.Module):
    """An agent in the middle of its life, with everything that it carries from step to step."""

    params: PyTree
    optimizer: PyTree
    stream: rtrl.StreamState
    world: PyTree
    observation: Float[Array, " inputs"]
    begins: Array
    before: Float[Array, ""]
    reward: Float[Array, ""]


class Output(eqx.Module):
    """Of a step: the reward of its action, whether that ended the episode, the action, and what was predicted."""

    reward: Float[Array, ""]
    ended: Array
    action: Array
    prediction: Float[Array, " outputs"]
    observation: Float[Array, " inputs"]


class ActorCritic(eqx.Module):
    r"""Streaming actor-critic(λ): the trace e of $\nabla(\log\pi(a_t) + c\,V_t)$ moves parameters along δe.

    $$e_t = \gamma\lambda e_{t-1} + \nabla\log\pi(a_t) + c\nabla V_t, \qquad
      \delta_t = r_t - \eta\log\pi(a_t) + \gamma V_{t+1} - V_t, \qquad \Delta\theta \propto \delta_t e_t$$

    The model's prediction is the logits of all actions and the value V. -η log π(a) in the reward is the entropy bonus:
    its expected gradient is that of the entropy. Where an episode ends V is 0, at a time limit, too; the state and its
    influence begin anew with the next one. With `forgets` they do so at every step: a policy without memory.
    """

    world: Any
    estimator: rtrl.AbstractEstimator
    settings: Settings
    forgets: bool = False

    def init(self, model: rtrl.Model, key: PRNGKeyArray) -> Agent:
        params = eqx.filter(model, eqx.is_inexact_array)
        world, observation = self.world.reset(key)
        optimizer = self.settings.optimizer().init(params)
        zero = jnp.zeros(())
        stream = rtrl.start(self.estimator, model)
        return Agent(params, optimizer, stream, world, observation, jnp.ones((), bool), zero, zero)

    def step(self, model: rtrl.Model, agent: Agent, key: PRNGKeyArray) -> tuple[Agent, Output]:
        """One step of learning and acting; `model` gives what of it is not trained."""
        s, (act_key, world_key, reset_key) = self.settings, jax.random.split(key, 3)
        noise = jax.random.gumbel(act_key, (self.world.actions,))
        model = eqx.combine(agent.params, model)
        stream, now = rtrl.step_gradient(
            self.estimator, model, self._score, agent.stream, s.gain * agent.observation, noise,
            reset=agent.begins | self.forgets,
        )  # fmt: skip
        logits, value = now.prediction[:-1], now.prediction[-1]
        error = agent.reward + s.discount * jnp.where(agent.begins, 0, value) - agent.before
        updates, optimizer = s.optimizer().update(
            now.gradient, agent.optimizer, agent.params, error=error, begins=agent.begins
        )
        action = jnp.argmax(logits + noise)
        world, observation, reward, ended = self.world.step(world_key, agent.world, action)
        fresh = self.world.reset(reset_key)
        world, seen = jax.tree.map(lambda new, old: jnp.where(ended, new, old), fresh, (world, observation))
        bonus = -s.entropy * jax.nn.log_softmax(logits)[action]
        params = optax.apply_updates(agent.params, updates)
        output = Output(reward, ended, action, now.prediction, agent.observation)
        return Agent(params, optimizer, stream, world, seen, ended, value, reward + bonus), output

    def _score(self, prediction: Array, noise: Array) -> Array:
        logits, value = prediction[:-1], prediction[-1]
        action = jnp.argmax(jax.lax.stop_gradient(logits) + noise)
        return self.settings.critic * value + jax.nn.log_softmax(logits)[action]
