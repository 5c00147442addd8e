"""What cells in continuous time refuse, each in one line."""

from collections.abc import Callable
from typing import Any, get_origin

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from rtrl._types import State
from rtrl.cells._stages import tableau_of

EXACT = diffrax.RecursiveCheckpointAdjoint, diffrax.DirectAdjoint
"""The adjoints that differentiate the discrete solution itself, backward."""


def floating(initial: PyTree) -> State:
    """An initial state of floating-point (or complex) JAX arrays. Raises `TypeError` unless it consists of numbers."""
    leaves = jax.tree.leaves(initial)
    numbers = isinstance(initial, list | tuple) and any(isinstance(a, int | float | complex) for a in initial)
    if not leaves or numbers or not all(map(eqx.is_array_like, leaves)):
        got = "no array" if not leaves else f"{type(initial).__name__} of {type(leaves[0]).__name__}"
        raise TypeError(f"initial: expected an array or a pytree of arrays, such as jnp.array([0.0, 1.0]), got {got}")
    return jax.tree.map(_floating, initial)


def _floating(value: Any) -> Array:
    dtype = jnp.result_type(value)
    return jnp.asarray(value, dtype if jnp.issubdtype(dtype, jnp.inexact) else jnp.result_type(float))


def check_solver(solver: diffrax.AbstractSolver, initial: State) -> None:
    """Raises `TypeError` for a solver that is not one for a single vector field, step by step, at every order."""
    name, structure = type(solver).__name__, solver.term_structure
    structure = get_origin(structure) or structure
    single = isinstance(structure, type) and issubclass(structure, diffrax.AbstractTerm)
    if not single or structure is diffrax.MultiTerm or isinstance(solver, diffrax.LeapfrogMidpoint):
        raise TypeError(f"solver: expected a one-step Diffrax solver for a single vector field, got {name}")
    if isinstance(solver, diffrax.AbstractImplicitSolver):
        _check_implicit(solver, initial)


def _check_implicit(solver: Any, initial: State) -> None:
    name = type(solver).__name__
    if tableau_of(solver) is None:
        raise TypeError(f"solver: expected an implicit solver with one tableau, such as Kvaerno5(), got {name}")
    default = type(solver)()
    if (solver.root_finder, solver.root_find_max_steps) != (default.root_finder, default.root_find_max_steps):
        raise TypeError(f"solver: expected {name}(), whose stages are solved by Newton's method, got a root finder")
    if any(jnp.iscomplexobj(a) for a in jax.tree.leaves(initial)):
        raise TypeError(f"solver: expected an explicit solver for a complex state, got {name}")


def check_controller(controller: diffrax.AbstractStepSizeController | None, solver: diffrax.AbstractSolver) -> None:
    """Raises `TypeError` for a controller that does not adapt, or a solver that cannot follow it (or needs one)."""
    name = type(solver).__name__
    if controller is None:
        if isinstance(solver, diffrax.AbstractWrappedSolver):
            raise TypeError(f"solver: expected one that is not wrapped if there is no controller, got {name}")
    elif not isinstance(controller, diffrax.AbstractAdaptiveStepSizeController):
        got = type(controller).__name__
        raise TypeError(f"controller: expected one that adapts, such as PIDController, or None, got {got}")
    elif not isinstance(solver, diffrax.AbstractAdaptiveSolver):
        raise TypeError(f"solver: expected one with an error estimate, for the controller, such as Tsit5(), got {name}")


def check_adjoint(adjoint: diffrax.AbstractAdjoint) -> None:
    """Raises `TypeError` for an adjoint that does not give the derivative of the discrete solution, backward."""
    if not isinstance(adjoint, EXACT):
        raise TypeError(
            f"adjoint: expected RecursiveCheckpointAdjoint() or DirectAdjoint(), which differentiate the discrete "
            f"solution backward, got {type(adjoint).__name__}"
        )


def check_field(field: Callable, s: Any, state: State, args: Any) -> None:
    """Raises `ValueError` unless dy/ds has the structure and shapes of y, and is real if y is."""
    slope = eqx.filter_eval_shape(lambda *inputs: jax.tree.map(jnp.asarray, field(*inputs)), s, state, args)
    expected, got = (jax.tree.map(lambda a: tuple(a.shape), tree) for tree in (state, slope))
    if jax.tree.structure(slope) != jax.tree.structure(state) or expected != got:
        raise ValueError(f"vector_field: expected {one_line(expected)}, like the state, got {one_line(got)}")
    if any(jnp.iscomplexobj(f) and not jnp.iscomplexobj(y) for f, y in _pairs(slope, state)):
        raise ValueError("vector_field: expected real values for a real state, got complex ones")


def one_line(value: Any) -> str:
    return " ".join(eqx.tree_pformat(value).split())


def _pairs(one: PyTree, other: PyTree) -> Any:
    return zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
