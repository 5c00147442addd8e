"""Eligibility traces of a gradient, as an optax transformation."""

from typing import Any, cast

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, PyTree


def eligibility_traces(decay: ArrayLike) -> optax.GradientTransformationExtraArgs:
    r"""Credits the error that a step makes known to the gradients of all steps before it, TD(λ)'s backward view.

    $$u_t = -\delta_t\, e_{t-1}, \qquad e_t = \gamma\lambda\, e_{t-1} + g_t$$

    Takes the gradient $g_t$ of a value, of a log-policy, or of a sum of them (`rtrl.step_gradient` with that as its
    loss), and gives u, which an optimizer that goes downhill turns into a step along $\delta e$; `decay` is γλ. Beside
    the gradient `update` wants `error`, $\delta_t = r_t + \gamma V_t - V_{t-1}$ of the transition that has led
    here, and takes `begins`: this step is the first of an episode, so that $V_t$ is not in its error, and the trace
    starts from $g_t$ alone. An error that is not finite (a NaN reward) counts as 0.

        optimizer = optax.chain(rtrl.eligibility_traces(discount * decay), optax.adam(1e-3))
        updates, state = optimizer.update(now.gradient, state, params, error=error, begins=begins)

    [Sutton (1988)][sutton1988], "Learning to predict by the methods of temporal differences", equation 4; with
    nonlinear values [Sutton & Barto (2018)][sutton2018], "Reinforcement learning", section 12.2, of policies section
    13.5.

    **Raises:** `ValueError` if the decay is a number that is not in [0, 1].
    """
    if isinstance(decay, int | float) and not 0 <= decay <= 1:
        raise ValueError(f"decay: expected discount times lambda, in [0, 1], got {decay}")

    def update(
        updates: PyTree, state: PyTree, params: PyTree = None, *, error: Array, begins: ArrayLike = False, **_: object
    ) -> tuple[PyTree, PyTree]:
        gradient, traces = updates, state
        known, kept = jnp.where(jnp.isfinite(error), error, 0), jnp.where(begins, 0, decay)
        moves = jax.tree.map(lambda e: (-known * e).astype(e.dtype), traces)
        return moves, jax.tree.map(lambda e, g: (kept * e).astype(e.dtype) + g, traces, gradient)

    return optax.GradientTransformationExtraArgs(lambda params: jax.tree.map(jnp.zeros_like, params), cast(Any, update))
