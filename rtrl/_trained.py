"""Which arrays of a module are trained."""

import operator
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from rtrl._types import Params

Module = TypeVar("Module")


class Frozen(eqx.Module):
    """What is not trained: `self.mask = rtrl.Frozen(mask)` in a cell of your own, read as `self.mask.value`.

    Any leaf of a finished module can be frozen, `eqx.tree_at(lambda m: m.cell.bias, model, replace_fn=rtrl.Frozen)`:
    around an array it calculates like the array, around a callable, such as a readout, calls pass through.
    """

    value: PyTree

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.value(*args, **kwargs)

    def __jax_array__(self) -> Any:
        return jnp.asarray(self.value)

    def __getattr__(self, name: str) -> Any:
        if name in ("shape", "dtype", "ndim", "size", "T", "astype", "reshape"):
            return getattr(self.value, name)
        raise AttributeError(f"Frozen has no attribute {name!r}; what it holds is its .value")

    def __getitem__(self, index: Any) -> Any:
        return self.value[index]

    def __neg__(self) -> Any:
        return -self.value


def _binary(operation: Any, flipped: bool) -> Any:
    def apply(self: Frozen, other: Any) -> Any:
        other = other.value if isinstance(other, Frozen) else other
        return operation(other, self.value) if flipped else operation(self.value, other)

    return apply


for _name in ("add", "sub", "mul", "truediv", "matmul", "pow"):
    setattr(Frozen, f"__{_name}__", _binary(getattr(operator, _name), flipped=False))
    setattr(Frozen, f"__r{_name}__", _binary(getattr(operator, _name), flipped=True))


def is_frozen(node: Any) -> bool:
    return isinstance(node, Frozen)


def thawed(node: Any) -> Any:
    """What a leaf holds, whether it is frozen or not."""
    return node.value if is_frozen(node) else node


def split(module: Module) -> tuple[Params, Module]:
    """The trained arrays of a module, and the rest."""
    kinds = jax.tree.map(lambda node: not is_frozen(node) and eqx.is_inexact_array(node), module, is_leaf=is_frozen)
    return eqx.partition(module, kinds)


def join(parameters: Params, module: Module) -> Module:
    """A module, or the rest of it, with these arrays as its trained ones: the inverse of `split`."""
    return eqx.combine(parameters, module)


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
