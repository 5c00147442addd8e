"""The gradient of the loss along a long run of online learning with steps that fall: does it vanish?"""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Key

import rtrl
from artifact.comparison import Loss, ModelOf, States, begin, in_whole_windows


def falling_steps(first: float, decay: float, every: int = 1) -> optax.GradientTransformation:
    r"""Gradient descent by the sum of `every` gradients, with the same step size for a datum in each method.

    $$\alpha_t = \alpha_0 (1 + t / 1000)^{-a}, \qquad \tfrac12 < a \le 1$$

    t counts steps of the stream; Robbins & Monro (1951), "A stochastic approximation method", Annals of Mathematical
    Statistics 22(3). The learner averages gradients over its `every` steps, hence the factor.
    """
    return optax.sgd(lambda updates: first * every * (1 + every * updates / 1000) ** -decay)


def models_along(
    learner: rtrl.Learner,
    model_of: ModelOf,
    keys: Key[Array, " networks"],
    data: tuple[Float[Array, "networks time inputs"], Float[Array, "networks time outputs"]],
    times: Sequence[int],
    piece: int,
) -> rtrl.Model:
    """The models of fresh networks after so many steps of their streams: arrays gain axes (networks, times).

    `times` are multiples of `piece`, at which alone the compiled run can be looked into.
    """
    states = in_whole_windows(begin(learner, model_of, keys))
    every = _learned(learner, states, data, piece)
    return jax.tree.map(lambda a: a[:, np.array(times) // piece - 1] if eqx.is_array(a) else a, every)


@eqx.filter_jit
def _learned(learner: rtrl.Learner, states: States, data: tuple, piece: int) -> rtrl.Model:
    def one(state: States, data: tuple) -> rtrl.Model:
        arrays, static = eqx.partition(state, eqx.is_array)

        def go_on(arrays, part):
            state, _ = learner.run(eqx.combine(arrays, static), *part)
            return eqx.filter(state, eqx.is_array), eqx.filter(state.model, eqx.is_array)

        parts = jax.tree.map(lambda a: a.reshape(-1, piece, *a.shape[1:]), data)
        return eqx.combine(jax.lax.scan(go_on, arrays, parts)[1], static.model)

    return eqx.filter_vmap(one)(states, data)


@eqx.filter_jit
def gradients_along(
    loss: Loss, models: rtrl.Model, xs: Float[Array, "streams time inputs"], ys: Array, burn_in: int
) -> Float[Array, "networks times streams parameters"]:
    """The gradient of the mean loss after `burn_in` steps of each stream, by backpropagation through all of it."""

    def mean_loss(model: rtrl.Model, xs: Array, ys: Array) -> Array:
        return jax.vmap(loss)(model.predictions(xs)[burn_in:], ys[burn_in:]).mean()

    def of_model(arrays):
        gradient = jax.vmap(eqx.filter_grad(mean_loss), (None, 0, 0))(eqx.combine(arrays, static), xs, ys)
        return jnp.concatenate([leaf.reshape(len(xs), -1) for leaf in jax.tree.leaves(gradient)], axis=1)

    arrays, static = eqx.partition(models, eqx.is_array)
    return jax.lax.map(lambda run: jax.lax.map(of_model, run), arrays)


def norm_and_error(
    gradients: Float[Array, "... streams parameters"],
) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """The norm of the mean gradient over streams, and the root mean square of that mean's sampling error."""
    of_mean = gradients.var(axis=-2, ddof=1).sum(axis=-1) / gradients.shape[-2]
    return jnp.linalg.norm(gradients.mean(axis=-2), axis=-1), jnp.sqrt(of_mean)
