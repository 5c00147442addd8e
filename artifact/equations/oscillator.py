"""Three ways to the derivative of a solution by a parameter, for an equation whose derivative is known."""

from collections.abc import Callable
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

import rtrl
from rtrl.continuous import SensitivityTerm, no_sensitivity

OMEGA, END = 1.3, 3.0
"""The frequency, and the time at which the derivatives are compared."""


class Oscillator(eqx.Module):
    """y'' = -ω² y, from rest at 1: y = cos ωt, so dy/dω = -t sin ωt."""

    omega: jax.Array

    def __call__(self, t: Any, y: Float[Array, "2"], args: Any) -> Float[Array, "2"]:
        return jnp.stack([y[1], -(self.omega**2) * y[0]])


@eqx.filter_jit
def by_rtrl(solver: diffrax.AbstractSolver, count: Array) -> Float[Array, "2"]:
    """RTRL through a cell that takes one step of the solver: discretise, then differentiate."""
    cell = rtrl.ODECell(Oscillator(jnp.array(OMEGA)), jnp.array([1.0, 0.0]), time_step=None, solver=solver)
    start = cell.initial_state(), rtrl.RTRL().init(cell, cell.initial_state())

    def step(_: Array, carry: tuple) -> tuple:
        return rtrl.RTRL().step(cell, carry[0], (END / count, None), carry[1])[::2]

    return jax.lax.fori_loop(0, count, step, start)[1].vector_field.omega


@eqx.filter_jit
def by_sensitivity(solver: diffrax.AbstractSolver, count: Array) -> Float[Array, "2"]:
    """The joint equation of state and sensitivity, solved: differentiate, then discretise."""
    field, y0 = Oscillator(jnp.array(OMEGA)), jnp.array([1.0, 0.0])
    term = SensitivityTerm(field, diffrax.ODETerm)
    start = y0, no_sensitivity(field, y0)
    solution = diffrax.diffeqsolve(term, solver, 0.0, END, END / count, start, adjoint=diffrax.ForwardMode())
    return _last(solution.ys)[1].omega


@eqx.filter_jit
def by_adjoint(solver: diffrax.AbstractSolver, count: Array) -> Float[Array, "2"]:
    """Reverse mode through Diffrax's checkpointed solve."""

    def final(omega: Array) -> Array:
        term = diffrax.ODETerm(Oscillator(omega))
        return _last(diffrax.diffeqsolve(term, solver, 0.0, END, END / count, jnp.array([1.0, 0.0])).ys)

    return jax.jacrev(final)(jnp.array(OMEGA))


def _last(ys: PyTree) -> PyTree:
    return jax.tree.map(lambda a: a[-1], ys)


WAYS: dict[str, Callable] = {"cell": by_rtrl, "continuous": by_sensitivity, "adjoint": by_adjoint}
