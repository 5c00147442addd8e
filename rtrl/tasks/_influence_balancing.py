"""Influence balancing: the smallest task on which truncation points the wrong way."""

from fractions import Fraction
from math import comb

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from rtrl._types import Input
from rtrl.cells import AbstractCell


class InfluenceBalancingCell(AbstractCell):
    r"""A linear chain driven by one parameter whose near influence is positive and far influence negative.

    $$s_t = A s_{t-1} + \theta d, \qquad A = \tfrac12 I + \tfrac12 S, \qquad
      d = (\underbrace{1, \dots, 1}_{p}, \underbrace{-1, \dots, -1}_{q})$$

    with S the superdiagonal shift, so that unit i hears unit i+1. The stationary first unit is
    $s_1 = 2\theta(p - q)$; with the loss $\tfrac12 (s_1 - 1)^2$ the optimum is $\theta^* = 1/(2(p - q))$.
    State: (p + q,); one trained scalar `theta`; the input is ignored. The p units near the output push up,
    the q units behind them pull down and outweigh them, but only through a long chain.

    [Tallec & Ollivier (2017)][tallec2017], "Unbiased online recurrent optimization", arXiv 1702.05043, section 4.
    """

    theta: Float[Array, ""] = eqx.field(converter=lambda theta: jnp.asarray(theta, float))
    positive: int = eqx.field(static=True, default=10)
    negative: int = eqx.field(static=True, default=13)

    @property
    def weights(self) -> np.ndarray:
        """A, a constant."""
        n = self.positive + self.negative
        return 0.5 * np.eye(n) + 0.5 * np.eye(n, k=1)

    @property
    def drive(self) -> np.ndarray:
        """d, a constant."""
        return np.repeat([1.0, -1.0], [self.positive, self.negative])

    def __call__(self, state: Float[Array, " n"], x: Float[Array, "..."]) -> Float[Array, " n"]:
        return jnp.asarray(self.weights) @ state + self.theta * self.drive

    def initial_state(self) -> Float[Array, " n"]:
        return jnp.zeros(len(self.drive), self.theta.dtype)

    def output(self, state: Float[Array, " n"], x: Input) -> Float[Array, ""]:
        """The first unit, $s_1$."""
        return state[0]

    def example_input(self) -> Float[Array, ""]:
        return jnp.zeros((), self.theta.dtype)

    def stationary_state(self) -> Float[Array, " n"]:
        r"""The fixed point $s = (I - A)^{-1} \theta d$ at the present parameter."""
        resolvent = np.linalg.inv(np.eye(len(self.drive)) - self.weights)
        return self.theta * jnp.asarray(resolvent @ self.drive)


def truncated_derivative(horizon: int, positive: int = 10, negative: int = 13) -> float:
    r"""What truncation at a horizon makes of $ds_1/d\theta$ at the fixed point, in exact arithmetic.

    $$\sum_{k=0}^{h-1} e_1^\top A^k d, \qquad
      e_1^\top A^k d = 2^{-k} \sum_{j=0}^{k} \binom{k}{j} d_{j+1}$$

    ($d_{j+1} = 0$ past the chain's end), which tends to $2(p - q)$.
    """
    sign = [1] * positive + [-1] * negative
    terms = (Fraction(sum(comb(k, j) * s for j, s in enumerate(sign)), 2**k) for k in range(horizon))
    return float(sum(terms))
