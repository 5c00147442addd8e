"""The language aⁿbⁿ: as many of the second letter as there were of the first."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from rtrl._sizes import check_sizes
from rtrl.sequences import Sequences
from rtrl.tasks._trials import check_fits, one_after_another


def anbn(key: PRNGKeyArray, steps: int, longest: int) -> Sequences:
    r"""Words aⁿbⁿ, n ~ U{1 … N}, one after another; the next letter is to be predicted where it is certain.

    $$x_t = e_{c_t}, \qquad y_t = c_{t+1}$$

    From the first b on, a network that has counted knows all that follows up to the next word's first a: these steps
    have `weight` 1. Among the a's nobody can know when the b's begin: weight 0. After the last complete word there are
    a's without weight, from which those of a stream that follows cannot be told. Returns xs (time, 2), one-hot,
    ys (time,), 0 for a and 1 for b, `reset`, true where a word begins, and `weight`.

    With counting the loss is 0; `anbn_chance` is that without. [Gers & Schmidhuber (2001)][gers2001], "LSTM recurrent
    networks learn simple context-free and context-sensitive languages".

    **Raises:** `ValueError` if `longest` is below 1 or the longest word longer than the stream.
    """
    check_sizes(steps=steps, longest=longest)
    check_fits("longest", 2 * longest, steps)
    counts = jax.random.randint(key, (steps // 2,), 1, longest + 1)
    trials = one_after_another(2 * counts, steps)
    n = counts[trials.number]
    is_b = trials.inside & (trials.position >= n)
    goes_on = trials.position < 2 * n - 1
    begins = trials.inside & (trials.position == 0)
    xs = jax.nn.one_hot(is_b.astype(int), 2, dtype=float)
    return Sequences(xs, jnp.where(is_b, goes_on, 0).astype(int), begins, is_b.astype(float))


def anbn_chance(longest: int) -> float:
    """The least loss (nats) of one that sees only the current letter: a word's last b is one of (N + 1) / 2."""
    check_sizes(longest=longest)
    last = 2 / (longest + 1)
    return float(-sum(p * np.log(p) for p in (last, 1 - last) if p > 0))
