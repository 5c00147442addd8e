"""Copy: repeat a word of random bits after it has ended."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PRNGKeyArray


def copy_stream(
    key: PRNGKeyArray, steps: int, length: ArrayLike
) -> tuple[Float[Array, "time 3"], Float[Array, "time 2"]]:
    r"""Words of `length` random bits, one bit a step, each followed by as many steps in which to repeat it.

    $$x_t = (b_t, 1 - b_t, 0) \text{ while a word is shown}, \quad x_t = (0, 0, 1) \text{ while it is wanted},
      \qquad y_t = (b_{t-L}, 1 - b_{t-L})$$

    and y = (0, 0), which costs nothing in a cross-entropy, while a word is shown. One word follows another without a
    pause; half of the steps ask for a bit, which costs ln 2 nats if it is not known. `length` L may be traced, so that
    networks mapped by `vmap` can have words of their own length. Words that grow as a network learns make the copy task
    of [Menick et al. (2021)][menick2020], arXiv 2006.07232.

    **Raises:** `ValueError` if `length` is below 1.
    """
    if not isinstance(length, Tracer) and np.any(np.less(length, 1)):
        raise ValueError(f"length: expected an integer of at least 1, got {length}")
    t = jnp.arange(steps)
    shown = t % (2 * length) < length
    bits = jax.random.bernoulli(key, 0.5, (steps,)).astype(float)
    symbols = jnp.stack([bits, 1 - bits], axis=1)
    xs = jnp.where(shown[:, None], jnp.pad(symbols, ((0, 0), (0, 1))), jnp.array([[0.0, 0.0, 1.0]]))
    return xs, jnp.where(shown[:, None], 0.0, symbols[jnp.maximum(t - length, 0)])
