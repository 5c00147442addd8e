"""A linear recurrence within units, all steps at once: for devices that do many things at a time."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def many_at_once() -> bool:
    """Whether the device is one on which a loop of many small steps is slow; results are the same to rounding."""
    return jax.default_backend() != "cpu"


def linear_recurrence(
    alpha: Float[Array, "time parts parts n"], drive: Float[Array, "time rows parts n"], *, reverse: bool = False
) -> Float[Array, "time rows parts n"]:
    r"""All $h_t = h_{t-1} \alpha_t + u_t$ of each unit, the first with $h_0 = 0$, in O(log time) sweeps.

    With `reverse` from the last step to the first.
    """

    def both(first: tuple[Array, Array], second: tuple[Array, Array]) -> tuple[Array, Array]:
        return through(first[0], second[0]), through(first[1], second[0]) + second[1]

    return jax.lax.associative_scan(both, (alpha, drive), reverse=reverse)[1]


def through(h: Float[Array, "*time rows parts n"], alpha: Float[Array, "*#time parts parts n"]) -> Array:
    """The product h α of each unit."""
    return jnp.einsum("...rki,...kli->...rli", h, alpha)
