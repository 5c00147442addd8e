"""One step of a Diffrax solver, so that it can be differentiated forward, backward and cheaply."""

from collections.abc import Callable
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import lineax
from jaxtyping import Array, Bool, Float, PyTree

from rtrl._types import State
from rtrl.cells._stages import moved, stages_of, tableau_of

UNROLLED = 4


def stochastic_terms(drift: Callable, diffusion: Callable, path: Any) -> diffrax.MultiTerm:
    """Drift and diffusion as Diffrax terms; a diffusion of shape (n,) is the diagonal of a matrix."""

    def matrix(t: Any, y: Float[Array, " n"], args: PyTree) -> Any:
        noise = diffusion(t, y, args)
        return lineax.DiagonalLinearOperator(noise) if noise.ndim == 1 else noise

    return diffrax.MultiTerm(diffrax.ODETerm(drift), diffrax.ControlTerm(matrix, path))


def repeated(step: Callable[[Any, State], State], state: State, count: int) -> State:
    """`step(i, state)` for i = 0 … count - 1: few of them written out, which runs faster; many, which compile once."""
    if count > UNROLLED:
        return jax.lax.scan(lambda state, i: (step(i, state), None), state, jnp.arange(count))[0]
    for i in range(count):
        state = step(i, state)
    return state


def solver_step(solver: diffrax.AbstractSolver, terms: Any, begin: Any, end: Any, state: State, args: PyTree) -> State:
    r"""The state at `end` from the state at `begin`, in the state's own dtypes; NaN if a stage has no solution.

    Runge-Kutta methods have their stages written out from Diffrax's tableau,

    $$k_i = f\big(t + c_i \Delta t,\; y + \sum_{j \le i} a_{ij} k_j\big)\, \Delta t, \qquad y' = y + \sum_i b_i k_i$$

    because Diffrax's own loop over the stages has a derivative in one direction only, and costs twice the time. Where
    $a_{ii} \ne 0$ the stage is the root of an equation (see `implicit_stage`). A solver that carries something from
    step to step begins anew: `ReversibleHeun` is then Heun's method.
    """
    tableau = tableau_of(solver)
    if tableau is not None:
        stages, solved = stages_of(tableau, terms, begin, end, state, args)
        new = moved(state, tableau.b_sol, stages)
        new = new if isinstance(solved, bool) else nan_unless(solved, new)
    else:
        carried = solver.init(terms, begin, end, state, args)
        new = solver.step(terms, begin, end, state, args, carried, made_jump=False)[0]
    return jax.tree.map(lambda new, old: new.astype(old.dtype), new, state)


def nan_unless(good: Bool[Array, ""], state: State) -> State:
    """The state, or NaN: by a product, whose derivative is NaN too, where that of a choice would be 0."""
    return jax.tree.map(lambda y: y * jnp.where(good, 1, jnp.nan).astype(y.dtype), state)


def time_dtype(state: State) -> Any:
    """The precision of time, which is real: that of the state."""
    return jnp.finfo(jnp.result_type(*jax.tree.leaves(state))).dtype
