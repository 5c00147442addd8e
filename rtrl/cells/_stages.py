"""The stages of a Runge-Kutta method, explicit or diagonally implicit."""

from collections.abc import Callable
from typing import Any, ClassVar

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, PyTree

from rtrl._types import State

NEWTON_STEPS = 20

BACKWARD_EULER = diffrax.ButcherTableau(
    c=np.array([1.0]),
    b_sol=np.array([0.0, 1.0]),
    b_error=np.array([-0.5, 0.5]),
    a_lower=(np.array([0.0]),),
    a_diagonal=np.array([0.0, 1.0]),
    a_predictor=(np.array([1.0]),),
)
"""`ImplicitEuler`, which has no tableau in Diffrax; its error is the difference to the trapezoidal rule."""


def tableau_of(solver: diffrax.AbstractSolver) -> diffrax.ButcherTableau | None:
    """The coefficients of a Runge-Kutta method for a single vector field; `None` for any other solver."""
    tableau = BACKWARD_EULER if isinstance(solver, diffrax.ImplicitEuler) else getattr(solver, "tableau", None)
    return tableau if isinstance(tableau, diffrax.ButcherTableau) else None


def stages_of(
    tableau: diffrax.ButcherTableau, terms: Any, begin: Any, end: Any, state: State, args: PyTree
) -> tuple[list[State], Bool[Array, ""] | bool]:
    """All $k_i$, and whether those that are roots were found."""
    control, stages, solved = terms.contr(begin, end), [], True
    diagonal = np.zeros(tableau.num_stages) if tableau.a_diagonal is None else tableau.a_diagonal
    predictors = [[], *(tableau.a_predictor or tableau.a_lower)]
    rows = zip([[], *tableau.a_lower], [tableau.c1, *tableau.c], diagonal, predictors, strict=True)
    for row, node, own, predictor in rows:
        at = begin + float(node) * (end - begin)
        base = moved(state, row, stages)
        if own == 0:
            stages.append(terms.vf_prod(at, base, args, control))
            continue
        guess = moved(jax.tree.map(jnp.zeros_like, state), predictor, stages)
        slope = lambda y, at=at: terms.vf_prod(at, y, args, control)  # noqa: E731
        stage, found = implicit_stage(slope, base, float(own), guess)
        stages, solved = [*stages, stage], found & solved
    return stages, solved


def moved(state: State, weights: Any, stages: list[State]) -> State:
    """The state and a weighted sum of stages, without those of weight zero."""
    used = [(float(weight), stage) for weight, stage in zip(weights, stages, strict=True) if weight != 0]
    for weight, stage in used:
        state = jax.tree.map(lambda y, k, weight=weight: y + jnp.asarray(weight, y.dtype) * k, state, stage)
    return state


def implicit_stage(
    slope: Callable[[State], State], base: State, own: float, guess: State
) -> tuple[State, Bool[Array, ""]]:
    r"""The root of $k = f(y + a k)$ by Newton's method, and whether it was found; its derivative at the root.

    Newton's steps go on until one is shorter than $\epsilon^{3/4}$ of the state, and one more, so that the root is as
    good as rounding allows and the implicit function theorem gives the derivative of the discrete solution.
    """
    base_vector, unravel = ravel_pytree(base)
    start = ravel_pytree(guess)[0]

    def residual(k: Array) -> Array:
        return k - ravel_pytree(slope(unravel(base_vector + own * k)))[0].astype(k.dtype)

    def solve_linear(linear: Callable[[Array], Array], right: Array) -> Array:
        return jnp.linalg.solve(jax.jacfwd(linear)(jnp.zeros_like(right)), right)

    root, found = jax.lax.custom_root(
        residual, start, lambda f, k: _newton(f, k, jnp.abs(base_vector).max()), solve_linear, has_aux=True
    )
    return unravel(root), found > 0


def _newton(residual: Callable[[Array], Array], start: Array, size: Array) -> tuple[Array, Float[Array, ""]]:
    """A root near `start` and 1, or `start` itself, where a derivative is still finite, and 0 (JAX wants a number that
    has a derivative); `size` is that of what k is added to.
    """
    tolerance = float(jnp.finfo(start.dtype).eps) ** 0.75

    def improved(k: Array) -> Array:
        return k - jnp.linalg.solve(jax.jacfwd(residual)(k), residual(k))

    def longer(k: Array, moved: Array) -> Bool[Array, ""]:
        return moved > tolerance * (size + jnp.abs(k).max())

    def step(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        k, _, count = carry
        new = improved(k)
        return new, jnp.abs(new - k).max(), count + 1

    k, moved, _ = jax.lax.while_loop(
        lambda carry: longer(*carry[:2]) & (carry[2] < NEWTON_STEPS),
        step,
        (start, jnp.full_like(size, jnp.inf), jnp.array(0)),
    )
    found = jnp.isfinite(moved) & ~longer(k, moved)
    return jnp.where(found, improved(k), start), found.astype(k.dtype)


class Diagonal(diffrax.AbstractAdaptiveSolver):
    """A diagonally implicit Runge-Kutta method for `diffeqsolve`, its stages solved by `implicit_stage`.

    Diffrax's own stops its search for a root at the controller's tolerances, cannot be differentiated in both
    directions, and its derivative raises an error when a state is NaN.
    """

    solver: diffrax.AbstractSolver
    term_structure: ClassVar = diffrax.AbstractTerm
    interpolation_cls: ClassVar = diffrax.LocalLinearInterpolation

    def order(self, terms: Any) -> Any:
        return self.solver.order(terms)

    def error_order(self, terms: Any) -> Any:
        return self.solver.error_order(terms)

    def init(self, terms: Any, t0: Any, t1: Any, y0: State, args: PyTree) -> None:
        return None

    def func(self, terms: Any, t0: Any, y0: State, args: PyTree) -> PyTree:
        return terms.vf(t0, y0, args)

    def step(
        self, terms: Any, t0: Any, t1: Any, y0: State, args: PyTree, solver_state: None, made_jump: Any
    ) -> tuple[State, State, dict, None, diffrax.RESULTS]:
        tableau = tableau_of(self.solver)
        assert tableau is not None
        stages, solved = stages_of(tableau, terms, t0, t1, y0, args)
        y1 = moved(y0, tableau.b_sol, stages)
        error = moved(jax.tree.map(jnp.zeros_like, y0), tableau.b_error, stages)
        error = jax.tree.map(lambda e: jnp.where(solved, e, jnp.inf), error)  # the controller takes a smaller step
        results: Any = diffrax.RESULTS
        result = results.where(solved, results.successful, results.nonlinear_divergence)
        return y1, error, {"y0": y0, "y1": y1}, None, result
