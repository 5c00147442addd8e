"""Actor-critic(λ) along one stream: at every step one gradient, one action, one update, nothing stored."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, PRNGKeyArray, PyTree

import rtrl
from artifact.control.life import Decision, Life, Moment, live

Number = float | Float[Array, ""]
EPS = 1e-2
"""Adam's, not 1e-8: who errs no more has small moments, and one large error then undoes what was learned."""


class Settings(eqx.Module):
    """Of an actor-critic: Adam's step size, λ, discount γ, weights of entropy and value; `gain` multiplies inputs."""

    rate: Number = 0.001
    decay: Number = 0.98
    discount: Number = 0.99
    entropy: Number = 0.01
    critic: Number = 0.5
    gain: Number = 1.0


class Agent(eqx.Module):
    """An agent in the middle of its life, with everything that it carries from step to step."""

    model: rtrl.Model
    optimizer: PyTree
    stream: PyTree
    before: Float[Array, ""]
    """What it expected of the action that it took last: V minus the entropy bonus of that action."""


class ActorCritic(eqx.Module):
    r"""Streaming actor-critic(λ): parameters move along δe, with e the trace of $\nabla(\log\pi(a_t) + c\,V_t)$.

    $$e_t = \gamma\lambda e_{t-1} + \nabla\log\pi(a_t) + c\nabla V_t, \qquad
      \delta_t = r_t - \eta\log\pi(a_t) + \gamma V_{t+1} - V_t, \qquad \Delta\theta \propto \delta_t e_t$$

    A prediction is the logits of all actions, and V. The bonus $-\eta\log\pi(a)$ has in the mean the entropy's
    gradient. Where an episode has ended V is 0, at a time limit, too; state and influence begin anew with the next
    one, and with `forgets` at every step: the same network as a policy without memory. A reward that is NaN teaches
    nothing. An episode that never ends is a long one: nothing grows with it.

    Sutton & Barto (2018), "Reinforcement learning", section 13.5, with the gradient of a recurrent network as in Lemmel
    & Grosu (2025), "Real-time recurrent reinforcement learning", algorithm 1.
    """

    estimator: rtrl.AbstractEstimator
    settings: Settings = Settings()
    forgets: bool = False

    def init(self, model: rtrl.Model) -> Agent:
        optimizer = self._optimizer().init(eqx.filter(model, _trained(model)))
        return Agent(model, optimizer, rtrl.start(self.estimator, model), jnp.zeros(()))

    def step(
        self, agent: Agent, observation: Float[Array, " inputs"], reward: Number, begins: Bool[Array, ""] | bool,
        key: PRNGKeyArray,
    ) -> tuple[Agent, Decision]:  # fmt: skip
        """Learns from the last action's reward and what is seen now, and acts; `begins`: a new episode does."""
        s, logits_of = self.settings, lambda prediction: prediction[:-1]
        noise = jax.random.gumbel(key, (agent.model.readout.out_features - 1,))
        stream, now = rtrl.step_gradient(
            self.estimator, agent.model, self._score, agent.stream, s.gain * observation, noise,
            reset=jnp.asarray(begins) | self.forgets,
        )  # fmt: skip
        value, action = now.prediction[-1], jnp.argmax(logits_of(now.prediction) + noise)
        error = reward + s.discount * jnp.where(begins, 0, value) - agent.before
        params, static = eqx.partition(agent.model, _trained(agent.model))
        updates, optimizer = self._optimizer().update(now.gradient, agent.optimizer, params, error=error, begins=begins)
        model: Any = eqx.combine(optax.apply_updates(params, updates), static)
        expected = value + s.entropy * jax.nn.log_softmax(logits_of(now.prediction))[action]
        return Agent(model, optimizer, stream, expected), Decision(action, now.prediction)

    def live(self, world: Any, life: Life, key: PRNGKeyArray, steps: int) -> tuple[Life, Moment]:
        """So many steps of a life."""
        return live(world, self.step, life, key, steps)

    def _optimizer(self) -> optax.GradientTransformationExtraArgs:
        s = self.settings
        return optax.chain(rtrl.eligibility_traces(s.discount * s.decay), optax.adam(s.rate, eps=EPS))

    def _score(self, prediction: Float[Array, " outputs"], noise: Float[Array, " actions"]) -> Float[Array, ""]:
        """The sum log π(a) + c V for the action that this noise draws (Gumbel's way to draw from a softmax)."""
        logits, value = prediction[:-1], prediction[-1]
        action = jnp.argmax(logits + noise)
        return self.settings.critic * value + jax.nn.log_softmax(logits)[action]


def _trained(model: rtrl.Model) -> PyTree:
    """Which leaves are trained: floating-point arrays that are not frozen."""
    kept = lambda node: isinstance(node, rtrl.Frozen)  # noqa: E731
    return jax.tree.map(lambda node: not kept(node) and eqx.is_inexact_array(node), model, is_leaf=kept)
