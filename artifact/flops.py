"""Floating-point operations of a function, counted in its program."""

import math
from collections.abc import Callable
from typing import Any

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr

MOVES = set(
    "broadcast_in_dim concatenate convert_element_type copy copy_p dynamic_slice dynamic_update_slice gather iota pad "
    "reshape rev select_n slice squeeze stop_gradient transpose".split()
)
"""Primitives that only move numbers."""


def flops(function: Callable, *args: Any) -> int:
    """Additions, multiplications and elementary functions (one each) of a call, loops with every pass.

    XLA's own cost analysis counts the body of a loop once. Raises `ValueError` at a loop of unknown length.
    """
    return _program(jax.make_jaxpr(function)(*args).jaxpr)


def _program(program: Jaxpr) -> int:
    return sum(map(_operation, program.eqns))


def _operation(equation: Any) -> int:
    name, parameters = equation.primitive.name, equation.params
    if name == "while":
        raise ValueError("function: expected loops of known length, got a while loop")
    inner = [_program(p) for p in _programs(parameters)]
    if name == "scan":
        return parameters["length"] * sum(inner)
    if name == "cond":
        return max(inner)
    if inner or name in MOVES:
        return sum(inner)
    size = sum(math.prod(out.aval.shape) for out in equation.outvars)
    if name == "dot_general":
        (contracted, _), _ = parameters["dimension_numbers"]
        return 2 * size * math.prod(equation.invars[0].aval.shape[axis] for axis in contracted)
    if name.startswith("reduce"):
        return math.prod(equation.invars[0].aval.shape)
    return size


def _programs(parameters: dict) -> list[Jaxpr]:
    """The programs among an operation's parameters: bodies, branches, called functions."""
    values = [v for value in parameters.values() for v in (value if isinstance(value, tuple) else (value,))]
    return [v.jaxpr if isinstance(v, ClosedJaxpr) else v for v in values if isinstance(v, ClosedJaxpr | Jaxpr)]
