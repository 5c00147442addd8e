"""Memory chain: a bit is seen at the start and asked for at the end."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from rtrl._sizes import check_sizes


class Link(eqx.Module):
    """Where an episode stands: steps taken, and the bit."""

    time: Int[Array, ""]
    bit: Int[Array, ""]


class MemoryChain(eqx.Module):
    r"""bsuite's memory length with one bit, step for step as `gymnax` 1.0 has it ("MemoryChain-bsuite").

    An episode has `length` + 1 steps. Observations (3,): the share of time that is left, $1 - t/\mathrm{length}$; the
    number of the queried bit, which is 0; and the bit as ±1, seen before the first two actions, 0 after them. What an
    action answers to is the state of the step before. Actions 0 and 1; only the last one counts: reward 1 if it names
    the bit, -1 if not.

    [Osband et al. (2020)][osband2020], "Behaviour suite for reinforcement learning".

    **Raises:** `ValueError` if length is no integer of at least 1.
    """

    length: int

    inputs = 3
    actions = 2

    def __check_init__(self):
        check_sizes(length=self.length)

    def reset(self, key: PRNGKeyArray) -> tuple[Link, Float[Array, "3"]]:
        """A new episode, and what is seen first."""
        link = Link(jnp.zeros((), int), jax.random.bernoulli(key).astype(int))
        return link, self._seen(link)

    def step(
        self, key: PRNGKeyArray, link: Link, action: Int[Array, ""]
    ) -> tuple[Link, Float[Array, "3"], Float[Array, ""], Bool[Array, ""]]:
        """The next state, what is seen of the one before, the reward of the action, whether the episode has ended."""
        asked = link.time >= self.length
        reward = jnp.where(asked, jnp.where(action == link.bit, 1.0, -1.0), 0.0)
        return Link(link.time + 1, link.bit), self._seen(link), reward, asked

    def succeeded(self, last: Float[Array, "..."]) -> Bool[Array, "..."]:
        """Whether an episode with this last reward ended with the right answer."""
        return last > 0

    def _seen(self, link: Link) -> Float[Array, "3"]:
        left, bit = 1 - link.time / self.length, jnp.where(link.time == 0, 2.0 * link.bit - 1, 0.0)
        return jnp.stack([left, jnp.zeros_like(left), bit])
