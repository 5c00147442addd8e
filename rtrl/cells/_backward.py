"""A mark on arrays whose tangents can be pulled back and not pushed forward: says what to do, where JAX would not."""

import contextlib
from collections.abc import Iterator
from typing import Any, NoReturn

import equinox as eqx
import jax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array, PyTree


def backward_only(tree: PyTree) -> PyTree:
    """The same values; a tangent that is pushed through them (not one that is pulled back) raises `TypeError`."""
    arrays, rest = eqx.partition(tree, eqx.is_inexact_array)
    return eqx.combine(jax.tree.map(_marked, arrays), rest)


@jax.custom_jvp
def _marked(value: Array) -> Array:
    return value


@_marked.defjvp
def _(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    return primals[0], tangent_p.bind(tangents[0])


@contextlib.contextmanager
def plainly_refused() -> Iterator[None]:
    """Where JAX sees for itself that a tangent would be pushed forward, says the same."""
    try:
        yield
    except TypeError as error:
        if "forward-mode" not in str(error):
            raise
        refuse()


def refuse(*_: Any, **__: Any) -> NoReturn:
    raise TypeError(
        "adjoint: expected DirectAdjoint() where tangents are pushed forward through a controller's steps (by UORO, "
        "SketchedRTRL or a stack, say), got RecursiveCheckpointAdjoint"
    ) from None


tangent_p = Primitive("tangent_to_pull_back")
"""The identity on tangents. Pulling back transposes it away; only pushing forward runs it."""
tangent_p.def_impl(refuse)
tangent_p.def_abstract_eval(lambda tangent: tangent)
ad.deflinear2(tangent_p, lambda cotangent, _: [cotangent])
batching.defvectorized(tangent_p)
mlir.register_lowering(tangent_p, refuse)
