"""Kronecker-factored RTRL."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from rtrl._types import Influence, Input, Params, Pullback, State
from rtrl.cells import AbstractCell, AbstractGatedCell, masked, recurrent_weights, weights_of, with_weights
from rtrl.estimators._base import AbstractEstimator, check_dense
from rtrl.estimators._random import Seed, balance, first_seed, keys_of_step, signs
from rtrl.estimators._real import vector
from rtrl.estimators._textbook import add_to_own_unit, advance, no_influence_of_units, pull_back

Left = Float[Array, "states _gates n"]
Right = Float[Array, " _width"]


class Kronecker(eqx.Module):
    """J ≈ A ⊗ u for each weight, J itself for the per-unit parameters, and the seed of the next step's signs."""

    lefts: tuple[Left, ...]
    rights: tuple[Right, ...]
    units: Influence
    seed: Seed


class KFRTRL(AbstractEstimator):
    r"""The influence of each weight matrix as one random Kronecker product that is right on average.

    A weight's immediate Jacobian is $B \otimes z$, with one row of $B$ for every unit ($\beta$) and z what the
    weight is multiplied with. So $J = A \otimes u$, and

    $$u \leftarrow c_1 p_1 u + c_2 p_2 z, \qquad A \leftarrow c_1 D A / p_1 + c_2 B / p_2$$

    with random signs c and the scalings that minimise the variance, $p_1^2 = \|DA\|/\|u\|$ and
    $p_2^2 = \|B\|/\|z\|$. Per-unit parameters (biases) have no u; their influence is carried exactly. Time O(n³),
    memory O(n²) a gate. Unbiased at frozen parameters.

    Mujika, Meier & Steger (2018), "Approximating real-time recurrent learning with random Kronecker factors"
    (arXiv 1805.10842), algorithm 1. Serves dense gated cells. Raises `TypeError` for another cell,
    `ValueError` if no key is given.
    """

    def init(self, cell: AbstractCell, state: State, *, key: PRNGKeyArray | None = None) -> Kronecker:
        gated = check_dense(self, cell)
        states = vector(state).size
        lefts = tuple(jnp.zeros((states, *w.shape[:2]), w.dtype) for w in weights_of(gated))
        rights = tuple(jnp.zeros(w.shape[2], w.dtype) for w in weights_of(gated))
        return Kronecker(lefts, rights, no_influence_of_units(gated, state), first_seed(self, key))

    def step(
        self, cell: AbstractGatedCell, state: State, x: Input, memory: Kronecker
    ) -> tuple[State, Pullback, Kronecker]:
        next_state, linearisation = cell.linearise(state, x)
        dynamics = linearisation.dynamics(recurrent_weights(cell))
        seed, keys = keys_of_step(memory.seed, len(memory.rights))
        sums = [
            _mixed(one, jnp.tensordot(dynamics, left, 1), right, immediate_of(beta, left), z)
            for one, left, right, beta, z in zip(
                keys, memory.lefts, memory.rights, linearisation.betas, linearisation.factors, strict=True
            )
        ]
        lefts, rights = zip(*sums, strict=True)
        units = advance(dynamics, memory.units, linearisation.units)
        memory = Kronecker(lefts, rights, units, seed)
        return next_state, lambda v: masked(cell, _pull_back(memory, v)), memory


def _mixed(key: PRNGKeyArray, pushed: Left, right: Right, immediate: Left, z: Right) -> tuple[Left, Right]:
    c1, c2 = signs(key, 2, like=z)
    p1, p2 = balance(pushed, right), balance(immediate, z)
    return c1 / p1 * pushed + c2 / p2 * immediate, c1 * p1 * right + c2 * p2 * z


def immediate_of(beta: Float[Array, "parts gates n"], like: Left) -> Left:
    """B: the immediate derivative of every state by every pre-activation."""
    return add_to_own_unit(jnp.zeros_like(like), beta, 0)


def _pull_back(memory: Kronecker, v: State) -> Params:
    row = vector(v)
    weights = [
        jnp.multiply.outer(jnp.tensordot(row, left, 1), right)
        for left, right in zip(memory.lefts, memory.rights, strict=True)
    ]
    return with_weights(pull_back(v, memory.units), weights)
