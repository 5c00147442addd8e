"""Chunks of backpropagation through an LRU, its states by an associative scan: the rival on parallel devices."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Complex, Float

import rtrl


def parallel_states(
    cell: rtrl.LRUCell, h: Complex[Array, " n"], xs: Float[Array, "time m"]
) -> Complex[Array, "time n"]:
    """The states h_t = λ h_{t-1} + γ B x_t after each step, in O(log time) sweeps."""
    eigenvalue = jnp.exp(-jnp.exp(cell.nu_log) + 1j * jnp.exp(cell.theta_log))
    drive = jnp.exp(cell.gamma_log)[None] * jax.lax.complex(xs @ cell.weight_ih[0].T, xs @ cell.weight_ih[1].T)
    drive = drive.at[0].add(eigenvalue * h)

    def later(first: tuple[Array, Array], second: tuple[Array, Array]) -> tuple[Array, Array]:
        return first[0] * second[0], second[0] * first[1] + second[1]

    return jax.lax.associative_scan(later, (jnp.broadcast_to(eigenvalue, drive.shape), drive))[1]


def chunked_bptt(
    loss: Callable[[Array, Array], Array], optimizer: optax.GradientTransformation
) -> Callable[[Any, Any, Array, Array, Array], tuple[Any, Any, Array, Array]]:
    """One update of a model from a chunk of a batch of streams: (model, optimizer's state, h, xs, ys), as it is called;
    returns the first three anew, and the losses.
    """

    def of_stream(model: Any, h: Array, xs: Array, ys: Array) -> tuple[Array, tuple[Array, Array]]:
        states = parallel_states(model.cell, h, xs)
        losses = jax.vmap(loss)(jax.vmap(model.predict)((states.real, states.imag), xs), ys)
        return losses.mean(), (states[-1], losses)

    @eqx.filter_value_and_grad(has_aux=True)
    def of_batch(model: rtrl.Model, h: Array, xs: Array, ys: Array) -> tuple[Array, tuple[Array, Array]]:
        sums, aux = jax.vmap(of_stream, in_axes=(None, 0, 0, 0))(model, h, xs, ys)
        return sums.mean(), aux

    def update(model: Any, optimizing: Any, h: Array, xs: Array, ys: Array) -> tuple[Any, Any, Array, Array]:
        (_, (h, losses)), gradient = of_batch(model, h, xs, ys)
        changes, optimizing = optimizer.update(gradient, optimizing)
        return eqx.apply_updates(model, changes), optimizing, h, losses

    return update
