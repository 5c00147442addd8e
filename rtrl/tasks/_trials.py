"""Trials of their own lengths, one after another along a stream."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Int


class Trials(NamedTuple):
    """Of each step: the number of its trial, its place in it from 0 on, and whether that trial is complete."""

    number: Int[Array, " time"]
    position: Int[Array, " time"]
    inside: Bool[Array, " time"]


def one_after_another(lengths: Int[Array, " trials"], steps: int) -> Trials:
    """As many trials as fit into so many steps; the steps after the last one belong to none."""
    ends, t = jnp.cumsum(lengths), jnp.arange(steps)
    number = jnp.minimum(jnp.searchsorted(ends, t, side="right"), len(lengths) - 1)
    inside = (t < ends[number]) & (ends[number] <= steps)
    return Trials(number, t - (ends - lengths)[number], inside)


def check_fits(name: str, longest: int, steps: int) -> None:
    """Raises `ValueError` if not even one trial fits into the stream."""
    if steps < longest:
        raise ValueError(f"{name}: expected trials of at most {steps} steps, the stream's length, got {longest} steps")
