"""Gated cells: an elementwise gate applied to affine pre-activations."""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from rtrl._types import Params
from rtrl.cells._base import AbstractCell


class Linearisation(eqx.Module):
    r"""The local derivatives of one step of a gated cell, without any array of size n×P.

    Unit $i$ of the next state sees only $h_i$, its own pre-activations and its own parameters, so that

    $$D = \mathrm{diag}(\alpha) + \sum_g \mathrm{diag}(\beta_g) W_g, \qquad
      I = \sum_g \mathrm{diag}(\beta_g) \otimes z .$$

    Every parameter belongs to exactly one unit, hence $I$ has one non-zero row for each parameter and is
    kept in the shape of the parameters.
    """

    alpha: Float[Array, " n"]
    beta_hh: Float[Array, "gates n"]
    immediate: Params

    def dynamics(self, weight_hh: Float[Array, "gates n n"]) -> Float[Array, "n n"]:
        r"""The dynamics Jacobian $D = \partial h_t / \partial h_{t-1}$."""
        return jnp.diag(self.alpha) + jnp.einsum("gi,gij->ij", self.beta_hh, weight_hh)


class AbstractGatedCell(AbstractCell):
    r"""A cell whose step is an elementwise gate over affine maps of state and input.

    $$h_t = \mathrm{gate}(h_{t-1},\; W_{hh} h_{t-1},\; W_{ih} x_t;\; \varphi)$$

    $W_{hh}$ has shape (gates, n, n), $W_{ih}$ (gates, n, m). Every other trained array is per-unit: its last
    axis runs over the n units (biases, time constants). A subclass gives the gate; its derivatives come from
    automatic differentiation of the gate of one unit, and never from a hand-written chain.
    """

    weight_hh: eqx.AbstractVar[Float[Array, "gates_h n n"]]
    weight_ih: eqx.AbstractVar[Float[Array, "gates_i n m"]]

    @abc.abstractmethod
    def gate(
        self, h: Float[Array, "*n"], recurrent: Float[Array, "gates_h *n"], inputs: Float[Array, "gates_i *n"]
    ) -> Float[Array, "*n"]:
        """The next state, elementwise over units; also called with a single unit's scalars."""

    def __call__(self, state: Float[Array, " n"], x: Float[Array, " m"]) -> Float[Array, " n"]:
        return self.gate(state, *self._preactivations(state, x))

    def initial_state(self) -> Float[Array, " n"]:
        return jnp.zeros(self.weight_hh.shape[-1], self.weight_hh.dtype)

    def example_input(self) -> Float[Array, " m"]:
        return jnp.zeros(self.weight_ih.shape[-1], self.weight_ih.dtype)

    def linearise(self, state: Float[Array, " n"], x: Float[Array, " m"]) -> tuple[Float[Array, " n"], Linearisation]:
        """The next state and the local derivatives at (state, x)."""
        units, rest = eqx.partition(self._without_weights(), eqx.is_inexact_array)

        def next_state_of_one_unit(unit, h, recurrent, inputs):
            return eqx.combine(unit, rest).gate(h, recurrent, inputs)

        derivatives = jax.value_and_grad(next_state_of_one_unit, argnums=(0, 1, 2, 3))
        over_units = jax.vmap(derivatives, in_axes=-1, out_axes=(0, -1))
        next_state, (beta_unit, alpha, beta_hh, beta_ih) = over_units(units, state, *self._preactivations(state, x))
        outer = jnp.multiply.outer(beta_hh, state), jnp.multiply.outer(beta_ih, x)
        immediate = eqx.tree_at(_weights, beta_unit, outer, is_leaf=lambda leaf: leaf is None)
        return next_state, Linearisation(alpha, beta_hh, immediate)

    def _preactivations(self, state, x):
        if x.shape != self.weight_ih.shape[-1:]:
            raise ValueError(f"x: expected shape {self.weight_ih.shape[-1:]} for {type(self).__name__}, got {x.shape}")
        return self.weight_hh @ state, self.weight_ih @ x

    def _without_weights(self) -> "AbstractGatedCell":
        return eqx.tree_at(_weights, self, (None, None))


def _weights(cell: AbstractGatedCell):
    return cell.weight_hh, cell.weight_ih


def uniform_weights(key: PRNGKeyArray, hidden_size: int, *shapes: tuple[int, ...]) -> list[Array]:
    r"""Arrays drawn from $U(-1/\sqrt{n}, 1/\sqrt{n})$, PyTorch's initialisation of recurrent cells."""
    bound = hidden_size**-0.5
    keys = jax.random.split(key, len(shapes))
    return [jax.random.uniform(k, shape, minval=-bound, maxval=bound) for k, shape in zip(keys, shapes, strict=True)]


def check_sizes(input_size: int, hidden_size: int) -> None:
    """Raises `ValueError` unless both sizes are at least 1."""
    for name, size in (("input_size", input_size), ("hidden_size", hidden_size)):
        if size < 1:
            raise ValueError(f"{name}: expected an integer of at least 1, got {size}")
