"""Another machine's rounding, imitated: every random number is one unit in the last place larger."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

DRAWS = ("normal", "uniform", "truncated_normal", "orthogonal", "exponential", "laplace", "beta", "gamma")
"""The functions of `jax.random` that give floating-point numbers: initial weights and streams are made of them."""


def nudge() -> None:
    """From now on, what these functions draw is the next larger floating-point number."""
    for name in DRAWS:
        setattr(jax.random, name, _next_larger(getattr(jax.random, name)))


def _next_larger(draw: Callable) -> Callable:
    @functools.wraps(draw)
    def nudged(*arguments, **options):
        drawn = draw(*arguments, **options)
        return jax.lax.stop_gradient(jnp.nextafter(drawn, jnp.full_like(drawn, jnp.inf)))

    return nudged
