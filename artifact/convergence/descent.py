"""A linear unit that learns online, and the true gradient along its way, which is known in closed form."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Key, PRNGKeyArray

import rtrl
from artifact.convergence.online_gradient import PIECE, linear_model
from artifact.convergence.ring import squared_error
from rtrl.tasks import LinearFilter


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def descended(
    linear: LinearFilter,
    estimator: rtrl.AbstractEstimator,
    length: int,
    key: PRNGKeyArray,
    first: tuple[float, float],
    rate: Array,
    decay: Array,
) -> Float[Array, "times 2"]:
    """(w, u) after every `PIECE` steps of one run, from `first` on, with step sizes that fall like t to the -decay."""
    optimizer = optax.sgd(lambda t: rate * (1 + t / 1000) ** -decay)
    learner = rtrl.Learner(squared_error, estimator, optimizer)
    arrays, static = eqx.partition(learner.init(linear_model(*first)), eqx.is_array)

    def go_on(arrays, stretch):
        state, _ = learner.run(eqx.combine(arrays, static), *stretch)
        return eqx.filter(state, eqx.is_array), jnp.stack([state.model.cell.w, state.model.cell.u])

    stretches = jax.tree.map(lambda a: a.reshape(-1, PIECE, 1), linear.stream(key, length))
    return jax.lax.scan(go_on, arrays, stretches)[1]


def many_descents(
    linear: LinearFilter,
    estimator: rtrl.AbstractEstimator,
    length: int,
    keys: Key[Array, " seeds"],
    first: tuple[float, float],
    rate: float | Float[np.ndarray, " settings"],
    decay: float | list[float],
) -> Float[np.ndarray, "seeds settings times 2"]:
    """`descended` for every seed and each of several rates and decays."""
    rates, decays = np.broadcast_arrays(np.atleast_1d(rate), np.atleast_1d(decay))
    one = functools.partial(descended, linear, estimator, length)
    over = jax.vmap(jax.vmap(lambda key, r, d: one(key, first, r, d), (None, 0, 0)), (0, None, None))
    return np.asarray(over(keys, jnp.asarray(rates, float), jnp.asarray(decays, float)))


def true_norm(linear: LinearFilter, parameters: Float[np.ndarray, "... 2"]) -> Float[np.ndarray, "..."]:
    """The norm of the true gradient at each (w, u), infinite where the unit is unstable."""
    flat = parameters.reshape(-1, 2)
    norms = [np.linalg.norm(linear.gradient(*p)) if abs(p[0]) < 1 else np.inf for p in flat]
    return np.array(norms).reshape(parameters.shape[:-1])
