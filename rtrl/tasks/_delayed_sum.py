"""The delayed sum of two earlier inputs: three losses that say how much a network remembers."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

WEIGHTS = 0.5, -0.25


def delayed_sum(
    key: PRNGKeyArray, steps: int, delays: tuple[int, int]
) -> tuple[Float[Array, "time 2"], Float[Array, "time 2"]]:
    r"""Fair coin flips, and the probabilities that the flips of two earlier steps decide.

    $$p_t = \tfrac12 + \tfrac12 x_{t-t_1} - \tfrac14 x_{t-t_2}$$

    Returns x as one-hot vectors (x, 1 - x) and the targets (p, 1 - p); before the stream x is 0. Score with a
    cross-entropy in nats; `delayed_sum_floor` says what is the best. The "add task" of [Marschall, Cho & Savin
    (2020)][marschall2020], "A unified framework of online learning algorithms for training recurrent neural networks",
    JMLR 21.

    **Raises:** `ValueError` unless both delays are at least 1.
    """
    if min(delays) < 1:
        raise ValueError(f"delays: expected two integers of at least 1, got {delays}")
    longest = max(delays)
    flips = jax.random.bernoulli(key, 0.5, (steps,)).astype(float)
    past = jnp.concatenate([jnp.zeros(longest), flips])
    near, far = (past[longest - delay : longest - delay + steps] for delay in delays)
    p = 0.5 + WEIGHTS[0] * near + WEIGHTS[1] * far
    return jnp.stack([flips, 1 - flips], axis=1), jnp.stack([p, 1 - p], axis=1)


def delayed_sum_floor(known: int) -> float:
    """The least mean cross-entropy (nats) for who knows none, the first or both of the two earlier flips."""
    groups: dict[tuple, list[float]] = {}
    for flips in itertools.product((0, 1), repeat=2):
        groups.setdefault(flips[:known], []).append(0.5 + float(np.dot(WEIGHTS, flips)))
    means = np.clip([np.mean(group) for group in groups.values()], 1e-300, 1 - 1e-16)
    return float(np.mean(-means * np.log(means) - (1 - means) * np.log1p(-means)))
