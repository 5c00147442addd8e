"""Unbiased online recurrent optimization."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from rtrl._types import Input, Params, Pullback, State
from rtrl.cells import AbstractCell, recurrent_parameters
from rtrl.estimators._arbitrary import real_step
from rtrl.estimators._base import AbstractEstimator
from rtrl.estimators._random import Seed, balance, first_seed, key_of, keys_of_step, norm, signs
from rtrl.estimators._real import real, real_initial, row, unreal, vector


class RankOne(eqx.Module):
    """J ≈ s̃ θ̃, and the seed of the next step's signs."""

    state: Float[Array, " states"]
    parameters: Params
    seed: Seed


class UORO(AbstractEstimator):
    r"""The influence matrix as one random outer product that is right on average, $E[\tilde s \tilde\theta] = J$.

    $$\tilde s \leftarrow \rho_0 D \tilde s + \rho_1 \nu, \qquad
      \tilde\theta \leftarrow \tilde\theta / \rho_0 + \nu^\top I / \rho_1$$

    with random signs ν and the scalings that minimise the variance,
    $\rho_0^2 = \|\tilde\theta\| / \|D\tilde s\|$ and $\rho_1^2 = \|\nu^\top I\| / \|\nu\|$. Works on every cell,
    in time and memory of the order of a step of the cell: O(P). Unbiased at frozen parameters, noisy.

    [Tallec & Ollivier (2017)][tallec2017], "Unbiased online recurrent optimization" (arXiv 1702.05043), algorithm 1.

    **Raises:** `ValueError` if no key is given.

    **Example:**

    ```python
    learner = rtrl.Learner(loss, rtrl.UORO(), optax.adam(1e-3))
    state = learner.init(model, key=key)
    ```
    """

    def init(self, cell: AbstractCell, state: State, *, key: PRNGKeyArray | None = None) -> RankOne:
        seed = first_seed(self, key)
        following, (signs_key,) = keys_of_step(seed, 1)
        params, flat = recurrent_parameters(cell), vector(state)
        nu = signs(signs_key, flat.size, like=flat)
        (parameters,) = jax.vjp(lambda p: real_initial(cell, params, p), real(params))[1](nu)
        # With a constant initial state J₀ is zero: noise in s̃ would cost variance for nothing.
        return RankOne(jnp.where(norm(parameters) > 0, nu, 0), parameters, following)

    def restart(self, cell: AbstractCell, memory: RankOne) -> RankOne:
        return self.init(cell, cell.initial_state(), key=key_of(memory.seed))

    def step(self, cell: AbstractCell, state: State, x: Input, memory: RankOne) -> tuple[State, Pullback, RankOne]:
        params = recurrent_parameters(cell)
        advance = real_step(cell, params, state, x)
        flat = vector(state)
        _, pushed = jax.jvp(lambda s: advance(real(params), s)[0], (flat,), (memory.state,))
        flat_next, vjp, next_state = jax.vjp(lambda p: advance(p, flat), real(params), has_aux=True)
        seed, (key,) = keys_of_step(memory.seed, 1)
        nu = signs(key, flat_next.size, like=flat_next)
        (immediate,) = vjp(nu)
        rho0, rho1 = balance(memory.parameters, pushed), balance(immediate, nu)
        parameters = jax.tree.map(
            lambda old, new: (old / rho0 + new / rho1).astype(old.dtype), memory.parameters, immediate
        )
        memory = RankOne(rho0 * pushed + rho1 * nu, parameters, seed)

        def pullback(v: State) -> Params:
            weight = row(v) @ memory.state
            products = jax.tree.map(lambda p: (weight * p).astype(p.dtype), memory.parameters)
            return jax.tree.map(jnp.conj, unreal(products, params))

        return next_state, pullback, memory
