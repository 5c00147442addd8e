"""One step of a Diffrax solver, so that it can be differentiated forward, backward and cheaply."""

from collections.abc import Callable
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import lineax
from jaxtyping import Array, Float, PyTree

from rtrl._types import State

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
    r"""The state at `end` from the state at `begin`.

    Explicit Runge-Kutta methods have their stages written out from Diffrax's tableau,

    $$k_i = f\big(t + c_i \Delta t,\; y + \sum_{j<i} a_{ij} k_j\big)\, \Delta t, \qquad y' = y + \sum_i b_i k_i$$

    because Diffrax's own loop over the stages has a derivative in one direction only, and costs twice the time. A
    solver that carries something from step to step begins anew.
    """
    if isinstance(solver, diffrax.AbstractERK) and isinstance(solver.tableau, diffrax.ButcherTableau):
        return _runge_kutta(solver.tableau, terms, begin, end, state, args)
    carried = solver.init(terms, begin, end, state, args)
    return solver.step(terms, begin, end, state, args, carried, made_jump=False)[0]


def _runge_kutta(
    tableau: diffrax.ButcherTableau, terms: Any, begin: Any, end: Any, state: State, args: PyTree
) -> State:
    control, stages = terms.contr(begin, end), []
    for row, node in zip([[], *tableau.a_lower], [0.0, *tableau.c], strict=True):
        at = begin + float(node) * (end - begin)
        stages.append(terms.vf_prod(at, _moved(state, row, stages), args, control))
    return _moved(state, tableau.b_sol, stages)


def _moved(state: State, weights: Any, stages: list[State]) -> State:
    """The state and a weighted sum of stages, without those of weight zero."""
    used = [(float(weight), stage) for weight, stage in zip(weights, stages, strict=True) if weight != 0]
    for weight, stage in used:
        state = jax.tree.map(lambda y, k, weight=weight: y + jnp.asarray(weight, y.dtype) * k, state, stage)
    return state
