"""The T-maze: a sign at the start says where to turn at the end of a corridor."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from rtrl._sizes import check_sizes


class Place(eqx.Module):
    """Where an episode in the maze stands: steps along the corridor, steps taken, and the side to turn to."""

    position: Int[Array, ""]
    time: Int[Array, ""]
    side: Int[Array, ""]


class TMaze(eqx.Module):
    r"""A corridor of so many steps; the sign at its start must be remembered until the junction at its end.

    Observations, one-hot (4,): the sign left, the sign right, the corridor, the junction. Actions: 0 goes forward, 1
    and 2 turn left and right. At the junction a turn ends the episode with reward `right` or `wrong`; forward in
    the corridor brings `moving`, every other step `standing`. After `limit` steps, twice the corridor unless given, an
    episode ends, too. The optimal return is corridor × moving + right. With `noise` the corridor shows both signs, each
    with a strength drawn uniformly from 0 to `noise` at every step, which mean nothing.

    [Bakker (2002)][bakker2002], "Reinforcement learning with long short-term memory", has rewards 4 and -0.1 for turns
    and -0.1 for standing still only, `TMaze(n, moving=0.0, wrong=-0.1)`, and a variant with `noise=1`. The defaults,
    with which only the junction tells forward from standing still, are a harder variant in use since.

    **Raises:** `ValueError` if corridor or limit are not integers of at least 1.
    """

    corridor: int
    limit: int
    moving: float
    standing: float
    right: float
    wrong: float
    noise: float

    inputs = 4
    actions = 3

    def __init__(
        self,
        corridor: int,
        limit: int | None = None,
        *,
        moving: float = -0.1,
        standing: float = -0.1,
        right: float = 4.0,
        wrong: float = -0.4,
        noise: float = 0.0,
    ):
        self.corridor, self.limit = corridor, 2 * corridor if limit is None else limit
        check_sizes(corridor=self.corridor, limit=self.limit)
        self.moving, self.standing, self.right, self.wrong, self.noise = moving, standing, right, wrong, noise

    def reset(self, key: PRNGKeyArray) -> tuple[Place, Float[Array, "4"]]:
        """A new episode, and what is seen first."""
        place = Place(jnp.zeros((), int), jnp.zeros((), int), jax.random.bernoulli(key).astype(int))
        return place, self._seen(place, key)

    def step(
        self, key: PRNGKeyArray, place: Place, action: Int[Array, ""]
    ) -> tuple[Place, Float[Array, "4"], Float[Array, ""], Bool[Array, ""]]:
        """The next place, what is seen there, the reward of the action, and whether the episode has ended."""
        at_end, forward = place.position >= self.corridor, action == 0
        turned, moved = at_end & ~forward, ~at_end & forward
        rewards = jnp.where(action == 1 + place.side, self.right, self.wrong)
        reward = jnp.where(turned, rewards, jnp.where(moved, self.moving, self.standing))
        after = Place(place.position + moved, place.time + 1, place.side)
        return after, self._seen(after, key), reward, turned | (after.time >= self.limit)

    def succeeded(self, last: Float[Array, "..."]) -> Bool[Array, "..."]:
        """Whether an episode with this last reward ended with the right turn."""
        return last > self.wrong + (self.right - self.wrong) / 2

    def _seen(self, place: Place, key: PRNGKeyArray) -> Float[Array, "4"]:
        inside = (place.position > 0) & (place.position < self.corridor)
        which = jnp.where(place.position == 0, place.side, jnp.where(inside, 2, 3))
        false_signs = jnp.append(self.noise * jax.random.uniform(key, (2,)), jnp.zeros(2))
        return jax.nn.one_hot(which, 4) + inside * false_signs
