"""Learning in continuous time: state, forward sensitivity and parameters as one Diffrax system."""

from collections.abc import Callable
from typing import Any, Literal

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import optimistix
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from rtrl._sizes import check_positive
from rtrl._trained import join, split, trained
from rtrl._types import Influence, Params
from rtrl.cells._solve import stochastic_terms
from rtrl.estimators._arbitrary import advance_influence
from rtrl.estimators._real import no_influence


class SensitivityTerm(diffrax.AbstractTerm):
    r"""A Diffrax term of h, made into one of (h, J) with $J = dh/d\theta$: differentiate, then discretise.

    $$dh = f_\theta(t, h)\, dx, \qquad dJ = (\partial_h f\, J + \partial_\theta f)\, dx$$

    `term_of(model)` gives the term: an `ODETerm` (dx = dt), a `ControlTerm` (dx = dW) or a `MultiTerm` of both; state
    and sensitivity see the same path. θ are the trained arrays of `model`; h is an array (n,), J has the shape of θ
    behind an axis n and starts as `no_sensitivity(model, h)`. An ODE takes any explicit solver, also in
    `diffeqsolve`; where there is noise, step with Euler's method (Itô). Raises `TypeError` for noise with a solver
    that asks for the vector field itself.
    """

    model: PyTree
    term_of: Callable[[PyTree], diffrax.AbstractTerm]

    @property
    def term(self) -> diffrax.AbstractTerm:
        return self.term_of(self.model)

    def vf(self, t: Any, y: tuple[Array, Influence], args: PyTree) -> PyTree:
        if not isinstance(self.term, diffrax.ODETerm):
            raise TypeError(
                f"solver: expected Euler(), which needs only products with the increments, for the sensitivity of a "
                f"{type(self.term).__name__}"
            )
        return self._moved(y, lambda term, h: term.vf(t, h, args))

    def contr(self, t0: Any, t1: Any, **options: Any) -> PyTree:
        return self.term.contr(t0, t1, **options)

    def prod(self, vf: PyTree, control: Any) -> PyTree:
        return jax.tree.map(lambda f: f * control, vf)

    def vf_prod(self, t: Any, y: tuple[Array, Influence], args: PyTree, control: Any) -> PyTree:
        return self._moved(y, lambda term, h: term.vf_prod(t, h, args, control))

    def _moved(self, y: tuple[Array, Influence], of: Callable) -> tuple[Array, Influence]:
        params, static = split(self.model)
        return _lifted(lambda params, h: of(self.term_of(join(params, static)), h), params, *y)


def no_sensitivity(model: PyTree, h: Float[Array, " n"]) -> Influence:
    """The sensitivity of a state that no parameter has touched."""
    return no_influence(trained(model), h)


def _lifted(f: Callable, params: Params, h: Float[Array, " n"], influence: Influence) -> tuple[Array, Influence]:
    r"""$f(\theta, h)$ and its total derivative $\partial_h f\, J + \partial_\theta f$."""
    value, total, _ = advance_influence(lambda params, h: (f(params, h), None), params, h, influence)
    return value, total


def _pulled_back(v: Float[Array, " n"], influence: Influence) -> Params:
    """The gradient v J."""
    return jax.tree.map(lambda j: jnp.tensordot(v, j, 1), influence)


class DescentTerm(diffrax.AbstractTerm):
    r"""Gradient descent while the state moves: parameters, state and sensitivity as one Diffrax term.

    $$d\theta = -\alpha_t\, \nabla_h \ell(t, h)\, J\, dt, \qquad dh = f_\theta(t, h)\, dx, \qquad
      dJ = (\partial_h f\, J + \partial_\theta f)\, dx$$

    `model` and `term_of` as in `SensitivityTerm`; `loss(t, h, args)` is a scalar, `rate` is $\alpha_t$. State: the
    triple that `start(h)` gives. An ODE takes any explicit solver, also in `diffeqsolve`; noise takes Euler's.

    Sirignano & Spiliopoulos (2017), "Stochastic gradient descent in continuous time", SIAM J. Financial Mathematics
    8(1), for the descent; the sensitivity makes it RTRL. Raises `TypeError` for noise with another solver.
    """

    model: PyTree
    term_of: Callable[[PyTree], diffrax.AbstractTerm]
    loss: Callable
    rate: Callable

    def start(self, h: Float[Array, " n"]) -> tuple[Params, Array, Influence]:
        """The parameters of `model`, a state, and its sensitivity before anything moved."""
        return trained(self.model), h, no_sensitivity(self.model, h)

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
        return jax.tree.map(lambda g: -self.rate(t) * g, _pulled_back(v, y[2]))


class StationaryTerm(diffrax.AbstractTerm):
    r"""Gradient descent in continuous time on the stationary law of an SDE, one Diffrax term for all that moves.

    For $L(\theta) = \sum_k (E_{\pi_\theta} f_k(h) - \beta_k)^2$, with two copies h, h̄ of N particles on independent
    paths, J the sensitivity of h and a bar for the mean over particles,

    $$d\theta = -2 \alpha_t \sum_k \big(\overline{f_k(\bar h)} - \beta_k\big)\, \overline{\nabla f_k(h)\, J}\, dt,
      \qquad dh = \mu_\theta dt + \sigma_\theta dW, \quad d\bar h = \mu_\theta dt + \sigma_\theta d\bar W$$

    One copy, h̄ = h, saves half of the particles, but its gradient is biased by $2 \mathrm{Cov}(f, \nabla f\, J)/N$.
    State: what `start(initial)` gives, `initial` (N, n). `args`: the increments of a step, as `increments(key,
    steps, dt, initial)` draws them. `rate` is $\alpha_t$, `statistics` f from (n,) to (k,), `targets` β. Itô's
    integral, with Euler's method.

    Wang & Sirignano, "Continuous-time stochastic gradient descent for optimizing over the stationary distribution of
    stochastic differential equations" (arXiv 2202.06637).
    """

    drift: Callable
    diffusion: Callable
    statistics: Callable
    targets: Float[Array, " k"]
    rate: Callable
    copies: Literal[1, 2] = eqx.field(static=True, default=2)

    def start(self, initial: Float[Array, "particles n"]) -> "Particles":
        """The state at time 0, the second copies where the first ones are."""
        model = self.drift, self.diffusion
        influence = jax.vmap(lambda h: no_sensitivity(model, h))(initial)
        return Particles(trained(model), initial, influence, initial)

    def increments(self, key: PRNGKeyArray, steps: int, dt: float, initial: Float[Array, "particles n"]) -> PyTree:
        """Brownian increments for as many steps: (steps, copies, particles, m)."""
        noise = jax.eval_shape(self.diffusion, 0.0, initial[0], None)
        shape = (steps, self.copies, len(initial), noise.shape[-1])
        return dt**0.5 * jax.random.normal(key, shape, initial.dtype)

    def vf(self, t: Any, y: "Particles", args: PyTree) -> PyTree:
        raise TypeError("solver: expected Euler(), which needs only products with the increments")  # the first it asks

    def contr(self, t0: Any, t1: Any, **options: Any) -> Any:
        return t1 - t0

    def prod(self, vf: PyTree, control: Any) -> PyTree:
        return self.vf(None, vf, control)

    def vf_prod(self, t: Any, y: "Particles", args: PyTree, control: Any) -> "Particles":
        static = split((self.drift, self.diffusion))[1]

        def moved(params: Params, h: Array, increment: Array) -> Array:
            drift, diffusion = join(params, static)
            return stochastic_terms(drift, diffusion, None).vf_prod(t, h, None, (control, increment))

        def first(h: Array, influence: Influence, increment: Array) -> tuple[Array, Influence]:
            return _lifted(lambda params, h: moved(params, h, increment), y.params, h, influence)

        h, influence = jax.vmap(first)(y.h, y.influence, args[0])
        other = jax.vmap(lambda h, w: moved(y.params, h, w))(y.other, args[1]) if self.copies == 2 else h
        step = jax.tree.map(lambda g: -self.rate(t) * control * g, self.gradient(y))
        return Particles(step, h, influence, other)

    def gradient(self, y: "Particles") -> Params:
        """The estimate of ∇L that these particles give."""
        residual = jax.vmap(self.statistics)(y.other).mean(axis=0) - self.targets

        def of_one(h: Array, influence: Influence) -> Params:
            (v,) = jax.vjp(self.statistics, h)[1](2 * residual)
            return _pulled_back(v, influence)

        return jax.tree.map(lambda g: g.mean(axis=0), jax.vmap(of_one)(y.h, y.influence))


class Particles(eqx.Module):
    """Parameters, particles with their sensitivities, and the independent copies of the particles."""

    params: Params
    h: Float[Array, "particles n"]
    influence: Influence
    other: Float[Array, "particles n"]


def robbins_monro(scale: float, offset: float = 1.0, power: float = 1.0) -> Callable[[ArrayLike], Any]:
    r"""The learning rate $\alpha_t = a / (b + t)^p$, whose integral diverges while that of its square is finite.

    Raises `ValueError` unless scale and offset are positive and ½ < power <= 1.
    """
    check_positive(scale=scale, offset=offset)
    if not 0.5 < power <= 1:
        raise ValueError(f"power: expected 1/2 < power <= 1, got {power}")
    return lambda t: scale / (offset + t) ** power


def hitting_time(
    vector_field: Callable, initial: Float[Array, " n"], condition: Callable, until: float, args: PyTree = None
) -> Float[Array, ""]:
    r"""The first time at which `condition(t, y, args)`, a real number, is zero: forward through a Diffrax `Event`.

    Its derivatives, by `jax.jvp` or `jax.jacfwd`, are exact:
    $d\tau/d\theta = -\nabla c \cdot J / (\partial_t c + \nabla c \cdot f)$. NaN if there is no zero before `until`.
    """
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(vector_field),
        diffrax.Tsit5(),
        t0=0.0,
        t1=until,
        dt0=None,
        y0=initial,
        args=args,
        stepsize_controller=diffrax.PIDController(rtol=1e-9, atol=1e-9),
        event=diffrax.Event(lambda t, y, args, **_: condition(t, y, args), optimistix.Newton(1e-9, 1e-9)),
        adjoint=diffrax.ForwardMode(),
    )
    found = solution.result == diffrax.RESULTS.event_occurred
    return jnp.where(found, jnp.asarray(solution.ts)[-1], jnp.nan)
