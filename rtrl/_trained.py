"""Which arrays of a module are trained."""

from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from rtrl._types import Params

Module = TypeVar("Module")


class Frozen(eqx.Module):
    """Arrays that are not trained: write `self.mask = rtrl.Frozen(mask)`, read `self.mask.value`.

    Around a callable, such as a readout, calls pass through.
    """

    value: PyTree

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.value(*args, **kwargs)


def is_frozen(node: Any) -> bool:
    return isinstance(node, Frozen)


def split(module: Module) -> tuple[Params, Module]:
    """The trained arrays of a module, and the rest."""
    return eqx.partition(module, eqx.is_inexact_array, is_leaf=is_frozen)


def join(parameters: Params, module: Module) -> Module:
    """A module, or the rest of it, with these arrays as its trained ones: the inverse of `split`."""
    return eqx.combine(parameters, module, is_leaf=is_frozen)


def trained(module: PyTree) -> Params:
    """The trained arrays of a module: floating-point or complex, and not frozen."""
    return split(module)[0]


def check_trained(module: PyTree) -> None:
    """Raises `TypeError` if an array is neither frozen nor one that can be trained."""
    for path, leaf in jax.tree.leaves_with_path(module, is_leaf=is_frozen):
        is_integer = eqx.is_array(leaf) and jnp.issubdtype(leaf.dtype, jnp.integer)
        if is_integer or isinstance(leaf, np.ndarray):
            kind = "a NumPy array" if isinstance(leaf, np.ndarray) else "a JAX array"
            raise TypeError(
                f"model: expected every trained array to be a floating-point or complex JAX array, got {kind} of "
                f"dtype {leaf.dtype} at {jax.tree_util.keystr(path)}; wrap what is not trained in rtrl.Frozen"
            )
