"""The online gradient at frozen parameters, averaged along a stream, and the true one."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Key, PyTree

import rtrl
from artifact.convergence.ring import squared_error

PIECE = 100
"""Steps between two running means."""


def _no_total(params: PyTree) -> PyTree:
    return jax.tree.map(jnp.zeros_like, params)


def _added(updates: PyTree, state: PyTree, params: PyTree | None = None) -> tuple[PyTree, PyTree]:
    return jax.tree.map(jnp.zeros_like, updates), jax.tree.map(jnp.add, state, updates)


SUMMING = optax.GradientTransformation(_no_total, _added)
"""An optimizer that moves nothing and adds up the gradients."""


class LinearUnit(rtrl.AbstractCell):
    r"""One linear unit, $h_t = w h_{t-1} + u x_t$."""

    w: jax.Array
    u: jax.Array

    def __call__(self, h, x):
        return self.w * h + self.u * x

    def initial_state(self):
        return jnp.zeros(1)

    def example_input(self):
        return jnp.zeros(1)


def linear_model(w: float | Array, u: float | Array) -> rtrl.Model:
    return rtrl.Model(LinearUnit(jnp.asarray(w), jnp.asarray(u)), eqx.nn.Identity())


def averaged(
    model: rtrl.Model, stream: Callable, estimator: rtrl.AbstractEstimator, keys: Key[Array, " runs"], steps: int
) -> Float[Array, "runs times parameters"]:
    """Running means of the online gradient over one stream for each key, after every `PIECE` steps."""
    learner = rtrl.Learner(squared_error, estimator, SUMMING)
    arrays, static = eqx.partition(learner.init(model), eqx.is_array)

    def one(key):
        def go_on(arrays, stretch):
            state, _ = learner.run(eqx.combine(arrays, static), *stretch)
            total = jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(state.optimizer)])
            return eqx.filter(state, eqx.is_array), total

        stretches = jax.tree.map(lambda a: a.reshape(-1, PIECE, *a.shape[1:]), stream(key, steps))
        totals = jax.lax.scan(go_on, arrays, stretches)[1]
        return totals / (PIECE * jnp.arange(1, len(totals) + 1)[:, None])

    return jax.jit(jax.vmap(one))(keys)


def backpropagated(
    model: rtrl.Model, stream: Callable, keys: Key[Array, " streams"], steps: int
) -> Float[Array, " parameters"]:
    """The mean gradient along fresh streams, by backpropagation through all of each."""

    def one(key):
        gradient = rtrl.sequence_gradient(rtrl.BPTT(), model, squared_error, *stream(key, steps))[1]
        return jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(gradient)]) / steps

    return jax.jit(lambda keys: jax.vmap(one)(keys).mean(axis=0))(keys)
