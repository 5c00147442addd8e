"""What estimators that draw random signs have in common."""

from typing import TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree, UInt32

from rtrl.estimators._base import AbstractEstimator

Seed: TypeAlias = UInt32[Array, "2"]
"""A key as plain numbers, so that a memory that holds one can be saved like any array."""


def first_seed(estimator: AbstractEstimator, key: PRNGKeyArray | None) -> Seed:
    """A seed from a user's key; raises `ValueError` if there is none."""
    if key is None:
        raise ValueError(f"key: expected a key for {type(estimator).__name__}(), which draws random signs; got none")
    return jax.random.bits(key, (2,), jnp.uint32)


def key_of(seed: Seed) -> PRNGKeyArray:
    return jax.random.wrap_key_data(seed, impl="threefry2x32")


def keys_of_step(seed: Seed, count: int) -> tuple[Seed, list[PRNGKeyArray]]:
    """The seed of the next step, and so many keys for this one."""
    following, *keys = jax.random.split(key_of(seed), 1 + count)
    return jax.random.key_data(following), keys


def signs(key: PRNGKeyArray, *shape: int, like: Array) -> Float[Array, "..."]:
    """+1 or -1, each with probability one half."""
    return jax.random.rademacher(key, shape, like.dtype)


def balance(first: PyTree[Array], second: PyTree[Array]) -> Float[Array, ""]:
    r"""$\sqrt{\|first\| / \|second\|}$, or 1 where one of them vanishes: the scaling with the least variance."""
    one, other = norm(first), norm(second)
    vanishes = (one == 0) | (other == 0)
    return jnp.where(vanishes, 1, jnp.sqrt(one / jnp.where(vanishes, 1, other)))


def norm(tree: PyTree[Array]) -> Float[Array, ""]:
    """The Euclidean norm of all entries."""
    return jnp.sqrt(sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(tree)))
