"""Forward sensitivities as Diffrax terms: differentiate, then discretise."""

from collections.abc import Callable
from typing import Any, NoReturn

import diffrax
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from rtrl._trained import join, split, trained
from rtrl._types import Influence, Params
from rtrl.estimators._arbitrary import advance_influence
from rtrl.estimators._real import no_influence


class SensitivityTerm(diffrax.AbstractTerm):
    r"""A Diffrax term of h, made into one of (h, J) with $J = dh/d\theta$: differentiate, then discretise.

    $$dh = f_\theta(t, h)\, dx, \qquad dJ = (\partial_h f\, J + \partial_\theta f)\, dx$$

    `term_of(model)` gives the term: an `ODETerm` (dx = dt), a `ControlTerm` (dx = dW) or a `MultiTerm` of both; state
    and sensitivity see the same path. θ are the trained arrays of `model`; h is an array (n,), J has the shape of θ
    behind an axis n and starts as `no_sensitivity(model, h)`. An ODE takes any explicit solver, also in `diffeqsolve`;
    where there is noise, step with a solver that needs only products with the increments: Euler's (Itô), Heun's or the
    midpoint method (Stratonovich).

    **Raises:** `TypeError` for noise with another solver.
    """

    model: PyTree
    term_of: Callable[[PyTree], diffrax.AbstractTerm]

    @property
    def term(self) -> diffrax.AbstractTerm:
        return self.term_of(self.model)

    @property
    def terms(self) -> NoReturn:
        """Solvers that treat drift and noise apart ask for this."""
        refuse(self.term)

    def vf(self, t: Any, y: tuple[Array, Influence], args: PyTree) -> PyTree:
        if not isinstance(self.term, diffrax.ODETerm):
            refuse(self.term)
        return self._moved(y, lambda term, h: term.vf(t, h, args))

    def contr(self, t0: Any, t1: Any, **options: Any) -> PyTree:
        return self.term.contr(t0, t1, **options)

    def prod(self, vf: PyTree, control: Any) -> PyTree:
        return jax.tree.map(lambda f: f * control, vf)

    def vf_prod(self, t: Any, y: tuple[Array, Influence], args: PyTree, control: Any) -> PyTree:
        return self._moved(y, lambda term, h: term.vf_prod(t, h, args, control))

    def _moved(self, y: tuple[Array, Influence], of: Callable) -> tuple[Array, Influence]:
        params, static = split(self.model)
        return lifted(lambda params, h: of(self.term_of(join(params, static)), h), params, *y)


def refuse(term: Any) -> NoReturn:
    raise TypeError(
        f"solver: expected Euler() or Heun(), which need only products with the increments, for a sensitivity with "
        f"noise; got one that asks for more of a {type(term).__name__}"
    )


def no_sensitivity(model: PyTree, h: Float[Array, " n"]) -> Influence:
    """The sensitivity of a state that no parameter has touched."""
    return no_influence(trained(model), h)


def lifted(f: Callable, params: Params, h: Float[Array, " n"], influence: Influence) -> tuple[Array, Influence]:
    r"""$f(\theta, h)$ and its total derivative $\partial_h f\, J + \partial_\theta f$."""
    value, total, _ = advance_influence(lambda params, h: (f(params, h), None), params, h, influence)
    return value, total


def pulled_back(v: Float[Array, " n"], influence: Influence) -> Params:
    """The gradient v J."""
    return jax.tree.map(lambda j: jnp.tensordot(v, j, 1), influence)


class DescentTerm(diffrax.AbstractTerm):
    r"""Gradient descent while the state moves: parameters, state and sensitivity as one Diffrax term.

    $$d\theta = -\alpha_t\, \nabla_h \ell(t, h)\, J\, dt, \qquad dh = f_\theta(t, h)\, dx, \qquad
      dJ = (\partial_h f\, J + \partial_\theta f)\, dx$$

    `model` and `term_of` as in `SensitivityTerm`; `loss(t, h, args)` is a scalar, `rate` is $\alpha_t$. State: the
    triple that `start(h)` gives. Solvers as in `SensitivityTerm`.

    [Sirignano & Spiliopoulos (2017)][sirignano2017], "Stochastic gradient descent in continuous time", SIAM J.
    Financial Mathematics 8(1), for the descent; the sensitivity makes it RTRL.

    **Raises:** `TypeError` for noise with another solver.
    """

    model: PyTree
    term_of: Callable[[PyTree], diffrax.AbstractTerm]
    loss: Callable
    rate: Callable

    def start(self, h: Float[Array, " n"]) -> tuple[Params, Array, Influence]:
        """The parameters of `model`, a state, and its sensitivity before anything moved."""
        return trained(self.model), h, no_sensitivity(self.model, h)

    @property
    def terms(self) -> NoReturn:
        """Solvers that treat drift and noise apart ask for this."""
        refuse(self.term_of(self.model))

    def _sensitivity(self, params: Params) -> SensitivityTerm:
        return SensitivityTerm(join(params, self.model), self.term_of)

    def vf(self, t: Any, y: tuple[Params, Array, Influence], args: PyTree) -> PyTree:
        return self._descent(t, y, args), *self._sensitivity(y[0]).vf(t, y[1:], args)

    def contr(self, t0: Any, t1: Any, **options: Any) -> PyTree:
        return t1 - t0, self.term_of(self.model).contr(t0, t1, **options)

    def prod(self, vf: PyTree, control: Any) -> PyTree:
        return jax.tree.map(lambda f: f * control[0], vf)

    def vf_prod(self, t: Any, y: tuple[Params, Array, Influence], args: PyTree, control: Any) -> PyTree:
        step = jax.tree.map(lambda g: g * control[0], self._descent(t, y, args))
        return step, *self._sensitivity(y[0]).vf_prod(t, y[1:], args, control[1])

    def _descent(self, t: Any, y: tuple[Params, Array, Influence], args: PyTree) -> Params:
        v = jax.grad(lambda h: self.loss(t, h, args))(y[1])
        return jax.tree.map(lambda g: -self.rate(t) * jnp.conj(g), pulled_back(v, y[2]))
