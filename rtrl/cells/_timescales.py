"""Initial time constants: for how many steps a unit remembers before it has learned anything."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

Timescales = tuple[float, float]


def log_timescales(
    key: PRNGKeyArray, hidden_size: int, timescales: Timescales, dtype: Any = None
) -> Float[Array, " n"]:
    """Log τ for time constants τ in steps, log-uniform from shortest to longest: a unit forgets as $e^{-t/τ}$.

    **Raises:** `ValueError` unless 0 < shortest < longest, both finite.
    """
    try:
        shortest, longest = (float(t) for t in timescales)
    except (TypeError, ValueError):
        raise ValueError(f"timescales: expected a pair (shortest, longest), in steps, got {timescales!r}") from None
    if not 0 < shortest < longest < math.inf:
        raise ValueError(f"timescales: expected 0 < shortest < longest, in steps, got {shortest:g} and {longest:g}")
    low, high = jnp.log(jnp.asarray([shortest, longest], dtype or float))
    return jax.random.uniform(key, (hidden_size,), dtype or float, low, high)


def check_has_bias(timescales: Timescales | None, use_bias: bool) -> None:
    """Raises `ValueError` if there is no bias that could set the timescales."""
    if timescales is not None and not use_bias:
        raise ValueError("use_bias: expected True with timescales, which set the biases of the gates; got False")


def forget_bias(log_tau: Float[Array, " n"]) -> Float[Array, " n"]:
    r"""The bias of a sigmoid that makes $\sigma(b) = e^{-1/\tau}$, which for large τ is log τ.

    [Tallec & Ollivier (2018)][tallec2018], "Can recurrent neural networks warp time?" (arXiv 1804.11188), section 3:
    "chrono initialisation", there with τ uniform up to the longest dependency.
    """
    return -jnp.log(jnp.expm1(jnp.exp(-log_tau)))


def chrono(
    key: PRNGKeyArray,
    bias_hh: Float[Array, "gates n"],
    bias_ih: Float[Array, "gates n"],
    timescales: Timescales,
    *,
    forget: int,
    write: int | None = None,
) -> tuple[Float[Array, "gates n"], Float[Array, "gates n"]]:
    """Biases of a gated cell whose forget gate starts with these time constants; what is kept is not overwritten."""
    bias = forget_bias(log_timescales(jax.random.fold_in(key, 1), bias_ih.shape[1], timescales, bias_ih.dtype))
    for gate, value in ((forget, bias), (write, -bias)):
        if gate is not None:
            bias_hh, bias_ih = bias_hh.at[gate].set(0), bias_ih.at[gate].set(value)
    return bias_hh, bias_ih
