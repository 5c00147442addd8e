"""Gradient descent on the stationary distribution of a stochastic differential equation."""

from collections.abc import Callable
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from rtrl._sensitivity import lifted, no_sensitivity, pulled_back
from rtrl._sizes import check_positive, check_sizes
from rtrl._trained import join, split, trained
from rtrl._types import Influence, Params
from rtrl.cells._solve import stochastic_terms


class Particles(eqx.Module):
    """Parameters, particles with their sensitivities, and the independent copies of the particles."""

    params: Params
    h: Float[Array, "particles n"]
    influence: Influence
    other: Float[Array, "particles n"]


class StationaryTerm(diffrax.AbstractTerm):
    r"""Gradient descent in continuous time on the stationary distribution of an SDE, a Diffrax term for all that moves.

    For $L(\theta) = \sum_k (E_{\pi_\theta} f_k(h) - \beta_k)^2$, with two copies h, h̄ of N particles on independent
    paths, J the sensitivity of h and a bar for the mean over particles,

    $$d\theta = -2 \alpha_t \sum_k \big(\overline{f_k(\bar h)} - \beta_k\big)\, \overline{\nabla f_k(h)\, J}\, dt,
      \qquad dh = \mu_\theta dt + \sigma_\theta dW, \quad d\bar h = \mu_\theta dt + \sigma_\theta d\bar W$$

    One copy, h̄ = h, saves half of the particles, but its gradient is biased by $2 \mathrm{Cov}(f, \nabla f\, J)/N$.
    State: what `start(initial)` gives, `initial` (N, n). `args`: the increments of a step, as `increments(key,
    steps, dt, initial)` draws them. `rate` is $\alpha_t$, `statistics` f from (n,) to (k,), `targets` β. Itô's
    integral, with Euler's method.

    [Wang & Sirignano (2022)][wang2022], "Continuous-time stochastic gradient descent for optimizing over the stationary
    distribution of stochastic differential equations" (arXiv 2202.06637).
    """

    drift: Callable
    diffusion: Callable
    statistics: Callable
    targets: Float[Array, " k"]
    rate: Callable
    copies: int = eqx.field(static=True, default=2)

    def __check_init__(self):
        if self.copies not in (1, 2):
            raise ValueError(f"copies: expected 1 or 2, got {self.copies}")

    def start(self, initial: Float[Array, "particles n"]) -> Particles:
        """The state at time 0, the second copies where the first ones are."""
        model = self.drift, self.diffusion
        influence = jax.vmap(lambda h: no_sensitivity(model, h))(initial)
        return Particles(trained(model), initial, influence, initial)

    def increments(self, key: PRNGKeyArray, steps: int, dt: float, initial: Float[Array, "particles n"]) -> PyTree:
        """Brownian increments for as many steps: (steps, copies, particles, m)."""
        noise = jax.eval_shape(self.diffusion, 0.0, initial[0], None)
        shape = (steps, self.copies, len(initial), noise.shape[-1])
        return dt**0.5 * jax.random.normal(key, shape, initial.dtype)

    def vf(self, t: Any, y: PyTree, args: PyTree) -> PyTree:
        raise TypeError("solver: expected Euler(), which needs only products with the increments")  # the first it asks

    def contr(self, t0: Any, t1: Any, **options: Any) -> Any:
        return t1 - t0

    def prod(self, vf: PyTree, control: Any) -> PyTree:
        return self.vf(None, vf, control)

    def vf_prod(self, t: Any, y: Particles, args: PyTree, control: Any) -> Particles:
        static = split((self.drift, self.diffusion))[1]

        def moved(params: Params, h: Array, increment: Array) -> Array:
            drift, diffusion = join(params, static)
            return stochastic_terms(drift, diffusion, None).vf_prod(t, h, None, (control, increment))

        def first(h: Array, influence: Influence, increment: Array) -> tuple[Array, Influence]:
            return lifted(lambda params, h: moved(params, h, increment), y.params, h, influence)

        h, influence = jax.vmap(first)(y.h, y.influence, args[0])
        other = jax.vmap(lambda h, w: moved(y.params, h, w))(y.other, args[1]) if self.copies == 2 else h
        step = jax.tree.map(lambda g: -self.rate(t) * control * jnp.conj(g), self.gradient(y))
        return Particles(step, h, influence, other)

    def gradient(self, y: Particles) -> Params:
        """The estimate of ∇L that these particles give."""
        residual = jax.vmap(self.statistics)(y.other).mean(axis=0) - self.targets

        def of_one(h: Array, influence: Influence) -> Params:
            (v,) = jax.vjp(self.statistics, h)[1](2 * residual)
            return pulled_back(v, influence)

        return jax.tree.map(lambda g: g.mean(axis=0), jax.vmap(of_one)(y.h, y.influence))


def descend(
    term: StationaryTerm,
    key: PRNGKeyArray,
    initial: Float[Array, "particles n"],
    *,
    steps: int,
    time_step: float,
    every: int,
) -> tuple[Particles, Params]:
    """Euler steps of a `StationaryTerm`: the state at the end, and the parameters after every `every` steps.

    Increments are drawn `every` steps at a time, so that memory does not grow with `steps`, which is rounded down to
    whole stretches.

    **Raises:** `ValueError` if `every` is below 1 or above `steps`, or `time_step` is not positive.
    """
    check_sizes(steps=steps, every=every)
    check_positive(time_step=time_step)
    if steps < every:
        raise ValueError(f"steps: expected at least every = {every}, got {steps}")

    def step(y: Particles, now: PyTree) -> tuple[Particles, None]:
        count, increments = now
        change = term.vf_prod(count * time_step, y, increments, time_step)
        return jax.tree.map(jnp.add, y, change), None

    def stretch(y: Particles, now: PyTree) -> tuple[Particles, Params]:
        number, key = now
        increments = term.increments(key, every, time_step, initial)
        y, _ = jax.lax.scan(step, y, (number * every + jnp.arange(every), increments))
        return y, y.params

    stretches = steps // every
    return jax.lax.scan(stretch, term.start(initial), (jnp.arange(stretches), jax.random.split(key, stretches)))
