"""A drift that is a network, fitted to the expectations of soft bins by pairs of copies of the process."""

from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PRNGKeyArray

import rtrl
from artifact.equations.double_well import GRID, SPACING, density

CENTRES, WIDTH_OF_BIN, NOISE = np.linspace(-1.8, 1.8, 9), 0.3, 1.2
PAIRS, STRETCH = 64, 500
"""How many pairs learn together, and for how many steps noise is drawn at a time."""

TRUE_DENSITY = density(GRID - GRID**3, NOISE)


def bins() -> Float[Array, " bins"]:
    """The given expectations."""
    in_bins = np.exp(-((GRID - CENTRES[:, None]) ** 2) / 2 / WIDTH_OF_BIN**2)
    return jnp.asarray([(share * TRUE_DENSITY).sum() * SPACING for share in in_bins], jnp.float32)


class NetworkDrift(eqx.Module):
    """A network less the state."""

    mlp: eqx.nn.MLP

    def __call__(self, t: Any, y: Float[Array, " n"], args: Any) -> Float[Array, " n"]:
        return jax.vmap(self.mlp)(y[:, None])[:, 0] - y


def pair(key: PRNGKeyArray) -> Any:
    """Two copies of the process in one state."""
    drift = NetworkDrift(eqx.nn.MLP(1, 1, 16, 1, jnp.tanh, key=key))
    cell = rtrl.SDECell(
        drift, lambda t, y, args: NOISE * jnp.ones_like(y), jnp.zeros(2), time_step=0.02, solver=diffrax.Euler()
    )
    return rtrl.Model(cell, eqx.nn.Identity())


def product_of_misses(h: Float[Array, "2"], _: Array) -> Float[Array, ""]:
    """What one copy misses times what the other does, summed over bins."""
    missed = jnp.exp(-((h[:, None] - jnp.asarray(CENTRES, h.dtype)) ** 2) / 2 / WIDTH_OF_BIN**2) - bins()
    return jnp.sum(missed[0] * missed[1])


def fitted_drift(estimator: rtrl.AbstractEstimator, steps: int, key: PRNGKeyArray) -> NetworkDrift:
    """The drift after the descent."""
    adam = optax.adam(optax.cosine_decay_schedule(1e-3, steps))
    learner = rtrl.Learner(product_of_misses, estimator, optax.chain(optax.clip_by_global_norm(1.0), adam))
    cell = pair(key).cell
    arrays, static = eqx.partition(learner.init(pair(key), batch_size=PAIRS), eqx.is_array)

    def block(arrays: Any, key: PRNGKeyArray) -> tuple:
        noise = jax.vmap(lambda k: cell.increments(k, STRETCH), out_axes=1)(jax.random.split(key, PAIRS))
        state, _ = learner.run(eqx.combine(arrays, static), (noise, None), jnp.zeros((STRETCH, PAIRS)))
        return eqx.filter(state, eqx.is_array), None

    arrays, _ = jax.lax.scan(block, arrays, jax.random.split(key, steps // STRETCH))
    return eqx.combine(arrays, static).model.cell.drift
