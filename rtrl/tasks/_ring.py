"""A Markov chain whose speed of forgetting is known."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray


def ring_walk(
    key: PRNGKeyArray, steps: int, *, points: int = 8, stay: float = 0.5, start: int | None = None
) -> Float[Array, "time 2"]:
    r"""A lazy random walk on a ring, seen as the point's place on the unit circle.

    It stays with probability `stay`, else it moves to one of both neighbours:

    $$x_t = (\cos \tfrac{2\pi k_t}{m}, \sin \tfrac{2\pi k_t}{m}), \qquad
      \mathrm{E}[x_{t+1} \mid x_t] = \lambda x_t, \quad \lambda = s + (1 - s) \cos \tfrac{2\pi}{m}$$

    It sets out from the point `start`, or from anywhere with the same probability, its stationary distribution.

    **Raises:** `ValueError` if `stay` is no probability or there are fewer than three points.
    """
    if not 0 <= stay <= 1 or points < 3:
        raise ValueError(f"stay, points: expected a probability and at least 3, got {stay} and {points}")
    start_key, stay_key, side_key = jax.random.split(key, 3)
    moves = jnp.where(jax.random.bernoulli(stay_key, stay, (steps,)), 0, 1)
    sides = 2 * jax.random.bernoulli(side_key, 0.5, (steps,)) - 1
    first = jax.random.randint(start_key, (), 0, points) if start is None else start
    angle = 2 * jnp.pi / points * (first + jnp.cumsum(moves * sides))
    return jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=1)
