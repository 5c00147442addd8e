"""States and parameters as real vectors: a complex number counts as two real ones."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from rtrl._trained import join
from rtrl._types import Influence, Params, State
from rtrl.cells import AbstractCell


def real(tree: Any) -> Any:
    """Complex arrays as real ones with a leading axis of length two."""
    return jax.tree.map(lambda a: jnp.stack([a.real, a.imag]) if jnp.iscomplexobj(a) else a, tree)


def unreal(tree: Any, like: Any) -> Any:
    """The inverse of `real`, in the dtypes of `like`."""

    def convert(r: Array, template: Array) -> Array:
        return (jax.lax.complex(r[0], r[1]) if jnp.iscomplexobj(template) else r).astype(template.dtype)

    return jax.tree.map(convert, tree, like)


def vector(state: State) -> Float[Array, " states"]:
    """All numbers of a state in one real vector."""
    return ravel_pytree(real(state))[0]


def from_vector(flat: Float[Array, " states"], like: State) -> State:
    """The inverse of `vector`, in the structure and dtypes of `like`."""
    return unreal(ravel_pytree(real(like))[1](flat), like)


def first_real_influence(cell: AbstractCell, parameters: Params) -> Influence:
    """dh₀/dθ in real numbers, zero where the initial state is a constant."""
    flat, vjp = jax.vjp(lambda p: real_initial(cell, parameters, p), real(parameters))
    return jax.vmap(lambda v: vjp(v)[0])(jnp.eye(flat.size, dtype=flat.dtype))


def real_initial(cell: AbstractCell, parameters: Params, real_parameters: Params) -> Float[Array, " states"]:
    """The initial state as a function of real parameters, in the structure of `parameters`."""
    moving = join(unreal(real_parameters, parameters), cell)
    return vector(jax.tree.map(jnp.asarray, moving.initial_state()))


def no_influence(parameters: Params, state: State) -> Influence:
    """The influence matrix of a state that no parameter has touched: zeros, (states,) + shape of each parameter."""
    entries = vector(state)
    return jax.tree.map(lambda p: jnp.zeros((entries.size, *p.shape), jnp.result_type(p, entries)), parameters)


def row(v: State) -> Float[Array, " states"]:
    r"""A cotangent as a row vector; that of JAX is
    $\partial\ell/\partial\mathrm{Re} - i\,\partial\ell/\partial\mathrm{Im}$.
    """
    return vector(jax.tree.map(jnp.conj, v))
