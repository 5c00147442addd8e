"""A linear recurrence within units, all steps at once: for devices that do many things at a time."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def many_at_once() -> bool:
    """Whether JAX's default backend is one on which a loop of many small steps is slow."""
    return jax.default_backend() != "cpu"


def linear_recurrence(
    alpha: Float[Array, "time parts parts n"],
    drive: Float[Array, "time rows parts n"],
    begins: Bool[Array, " time"],
    *,
    reverse: bool = False,
) -> Float[Array, "time rows parts n"]:
    r"""All $h_t = h_{t-1} \alpha_t + u_t$ of each unit in O(log time) sweeps; $h_t = u_t$ at the first and at `begins`.

    With `reverse` from the last step to the first. A selection leaves out what was before a beginning: it may be NaN.
    """

    def both(first: tuple, second: tuple) -> tuple:
        (begun, alpha, h), (begins, then, u) = first, second
        at = begins[:, None, None, None]
        alpha, h = jnp.where(at, then, through(alpha, then)), jnp.where(at, u, through(h, then) + u)
        return begun | begins, alpha, h

    return jax.lax.associative_scan(both, (begins, alpha, drive), reverse=reverse)[2]


def through(h: Float[Array, "*time rows parts n"], alpha: Float[Array, "*#time parts parts n"]) -> Array:
    """The product h α of each unit."""
    return jnp.einsum("...rki,...kli->...rli", h, alpha, precision="highest")
