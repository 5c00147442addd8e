"""Learning in continuous time: state, forward sensitivity and parameters as one Diffrax system."""

from collections.abc import Callable
from typing import Any

import diffrax
import jax.numpy as jnp
import optimistix
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PyTree

from rtrl._sensitivity import DescentTerm as DescentTerm
from rtrl._sensitivity import SensitivityTerm as SensitivityTerm
from rtrl._sensitivity import no_sensitivity as no_sensitivity
from rtrl._sizes import check_positive
from rtrl._stationary import Particles as Particles
from rtrl._stationary import StationaryTerm as StationaryTerm
from rtrl._stationary import descend as descend


def robbins_monro(scale: float, offset: float = 1.0, power: float = 1.0) -> Callable[[ArrayLike], Any]:
    r"""The learning rate $\alpha_t = a / (b + t)^p$, whose integral diverges while that of its square is finite.

    **Raises:** `ValueError` unless scale and offset are positive and ½ < power <= 1.
    """
    check_positive(scale=scale, offset=offset)
    if not 0.5 < power <= 1:
        raise ValueError(f"power: expected 1/2 < power <= 1, got {power}")
    return lambda t: scale / (offset + t) ** power


def hitting_time(
    vector_field: Callable, initial: Float[Array, " n"], condition: Callable, until: float, args: PyTree = None
) -> Float[Array, ""]:
    r"""The first time at which `condition(t, y, args)` changes its sign: forward through a Diffrax `Event`.

    Its derivatives, by `jax.jvp` or `jax.jacfwd`, are exact:
    $d\tau/d\theta = -(\nabla c \cdot J + \partial_\theta c) / (\partial_t c + \nabla c \cdot f)$. Looked for at the
    ends of the solver's steps, so that a sign that changes twice within one is missed. NaN if there is none before
    `until`, or in 100,000 steps.
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
        max_steps=100_000,
        throw=False,
    )
    found = solution.result == diffrax.RESULTS.event_occurred
    return jnp.where(found, jnp.asarray(solution.ts)[-1], jnp.nan)
