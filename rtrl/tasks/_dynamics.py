"""Dynamical systems with known parameters, as vector fields for ODE and SDE cells to recover."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PRNGKeyArray, PyTree


def parameter(value: float) -> Any:
    """A trained scalar with a default."""
    return eqx.field(default=value, converter=lambda given: jnp.asarray(given, float))


class InLogs(eqx.Module):
    """A vector field with positive parameters, trained through their logarithms: steps of learning are relative."""

    logs: Any

    def __init__(self, vector_field: Any):
        self.logs = jax.tree.map(jnp.log, vector_field)

    @property
    def vector_field(self) -> Any:
        """The vector field itself."""
        return jax.tree.map(jnp.exp, self.logs)

    def scattered(self, key: PRNGKeyArray, spread: float) -> "InLogs":
        r"""The same with wrong parameters, each by a factor of its own between $e^{-s}$ and $e^{s}$ for spread s."""
        flat, rebuild = ravel_pytree(self)
        return rebuild(flat + spread * jax.random.uniform(key, flat.shape, flat.dtype, -1, 1))

    def relative_error(self, truth: "InLogs") -> Float[Array, " parameters"]:
        """How far each parameter is from the true one, in its logarithm: |log(θ / θ*)|."""
        return jnp.abs(ravel_pytree(self)[0] - ravel_pytree(truth)[0])

    def __call__(self, t: Any, y: PyTree, args: Any) -> PyTree:
        return self.vector_field(t, y, args)


class FitzHughNagumo(eqx.Module):
    r"""A neuron's voltage v and recovery w under an input current I.

    $$\dot v = v - v^3/3 - w + I, \qquad \dot w = \epsilon\,(v + a - b w)$$

    State (v, w), `args` the current, a scalar; all dimensionless. [FitzHugh (1961)][fitzhugh1961], "Impulses and
    physiological states in theoretical models of nerve membrane", Biophysical Journal 1(6).
    """

    a: Float[Array, ""] = parameter(0.7)
    b: Float[Array, ""] = parameter(0.8)
    epsilon: Float[Array, ""] = parameter(0.08)

    def __call__(self, t: Any, y: Float[Array, "2"], args: Float[Array, ""]) -> Float[Array, "2"]:
        v, w = y
        return jnp.stack([v - v**3 / 3 - w + args, self.epsilon * (v + self.a - self.b * w)])


class LotkaVolterra(eqx.Module):
    r"""Prey x and predators y, in logarithms, so that neither can become negative.

    $$\dot x = x\,(\alpha - y), \qquad \dot y = y\,(\delta x - \gamma)$$

    State (log x, log y); predators are counted in units in which one of them eats the share 1 of the prey per unit of
    time. `args` is not used. [Lotka (1925)][lotka1925], [Volterra (1926)][volterra1926].
    """

    alpha: Float[Array, ""] = parameter(1.0)
    delta: Float[Array, ""] = parameter(0.5)
    gamma: Float[Array, ""] = parameter(0.7)

    def __call__(self, t: Any, y: Float[Array, "2"], args: Any) -> Float[Array, "2"]:
        return jnp.stack([self.alpha - jnp.exp(y[1]), self.delta * jnp.exp(y[0]) - self.gamma])


class Pendulum(eqx.Module):
    r"""A damped pendulum under a push u.

    $$\ddot\varphi = -g \sin\varphi - c\,\dot\varphi + u$$

    State (φ, dφ/dt) in radians and seconds, g gravity over length in s⁻², c in s⁻¹, `args` the push in s⁻², a scalar.
    """

    gravity: Float[Array, ""] = parameter(1.0)
    damping: Float[Array, ""] = parameter(0.2)

    def __call__(self, t: Any, y: Float[Array, "2"], args: Float[Array, ""]) -> Float[Array, "2"]:
        angle, velocity = y
        return jnp.stack([velocity, -self.gravity * jnp.sin(angle) - self.damping * velocity + args])


class Lorenz(eqx.Module):
    r"""The chaotic system of [Lorenz (1963)][lorenz1963], "Deterministic nonperiodic flow", J. Atmospheric Sciences 20.

    $$\dot x = \sigma (y - x), \qquad \dot y = x (\rho - z) - y, \qquad \dot z = x y - \beta z$$

    State (x, y, z); at the default parameters its largest Lyapunov exponent is 0.906 ([Sprott (2003)][sprott2003],
    "Chaos and time-series analysis"). `args` is not used.
    """

    sigma: Float[Array, ""] = parameter(10.0)
    rho: Float[Array, ""] = parameter(28.0)
    beta: Float[Array, ""] = parameter(8 / 3)

    def __call__(self, t: Any, y: Float[Array, "3"], args: Any) -> Float[Array, "3"]:
        first, second, third = y
        return jnp.stack(
            [self.sigma * (second - first), first * (self.rho - third) - second, first * second - self.beta * third]
        )


class DoubleWell(eqx.Module):
    r"""The drift of a particle between two wells, $\mu(x) = \theta_1 x - \theta_3 x^3$.

    With noise of constant strength σ the stationary density is proportional to
    $\exp\big((\theta_1 x^2 - \theta_3 x^4/2)/\sigma^2\big)$. State (n,), each entry for itself; `args` is not used.
    """

    linear: Float[Array, ""] = parameter(1.0)
    cubic: Float[Array, ""] = parameter(1.0)

    def __call__(self, t: Any, y: Float[Array, " n"], args: Any) -> Float[Array, " n"]:
        return self.linear * y - self.cubic * y**3
