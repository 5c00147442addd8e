"""Mimic: learn to answer as a network with fixed weights does."""

import jax
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from rtrl.model import Model


def mimic(key: PRNGKeyArray, steps: int, teacher: Model) -> tuple[Float[Array, "time m"], PyTree]:
    r"""White noise, and what a teacher says to it.

    $$x_t \sim \mathcal N(0, I), \qquad y_t = \mathrm{teacher}(x_1, \dots, x_t)$$

    A student of the teacher's architecture can reach a loss of zero. The inputs have the shape of the teacher
    cell's `example_input`. The "mimic task" of [Marschall, Cho & Savin (2020)][marschall2020], JMLR 21.
    """
    example = teacher.cell.example_input()
    xs = jax.random.normal(key, (steps, *example.shape), example.dtype)
    return xs, teacher.predictions(xs)
