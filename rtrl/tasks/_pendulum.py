"""A damped pendulum that is pushed at random."""

import functools

import diffrax
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from rtrl._sizes import check_positive
from rtrl.tasks._dynamics import Pendulum

SUBSTEPS = 20


def pushed_pendulum(
    key: PRNGKeyArray, steps: int, interval: float = 0.5
) -> tuple[Float[Array, "time 1"], Float[Array, "time 1"]]:
    r"""Random pushes u held for `interval` seconds each, and the pendulum's angle at the end of each.

    $$\ddot\varphi = -\sin\varphi - 0.2\,\dot\varphi + u_t, \qquad u_t \sim \mathcal N(0, \tfrac14)$$

    in units in which gravity over length is 1 s⁻²; at rest at first. Input u (time, 1), target sin φ (time, 1), a
    single number that hides the velocity. Solved by Diffrax's Tsit5 with 20 steps an interval.

    **Raises:** `ValueError` unless `interval` is positive.
    """
    check_positive(interval=interval)
    pushes = 0.5 * jax.random.normal(key, (steps,))
    solve = functools.partial(
        diffrax.diffeqsolve,
        diffrax.ODETerm(Pendulum()),
        diffrax.Tsit5(),
        t0=0.0,
        t1=interval,
        dt0=None,
        stepsize_controller=diffrax.StepTo(jnp.linspace(0.0, interval, SUBSTEPS + 1)),
    )

    def held(state, push):
        state = jnp.asarray(solve(y0=state, args=push).ys)[-1]
        return state, jnp.sin(state[0])

    _, angles = jax.lax.scan(held, jnp.zeros(2), pushes)
    return pushes[:, None], angles[:, None]
