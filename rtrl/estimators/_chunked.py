"""Backpropagation through the steps between two updates, and through a whole sequence."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, PRNGKeyArray

from rtrl._trained import join, split
from rtrl._types import Input, Params, State
from rtrl.cells import AbstractCell
from rtrl.estimators._base import AbstractEstimator

Begins = Bool[Array, ""]
"""Whether the stream is still at its beginning, so that its state is the initial one."""


class ChunkedBPTT(AbstractEstimator):
    r"""Truncated backpropagation as frameworks do it: through the k steps between two updates, the state carried on.

    $$g = \sum_{s=1}^{k} \sum_{r=1}^{s} \frac{\partial\ell_s}{\partial h_s} D_s \cdots D_{r+1} I_r$$

    with k the learner's `update_every`. The first loss of a chunk sees one step of the past, the last one k:
    half the credit of `TBPTT(k)` at a k-th of its cost, in time O(n (n + m)) a step and memory O(k (n + m)) for n
    units and m inputs. At `update_every=1` it is the immediate gradient.

    [Williams & Peng (1990)][williams1990], "An efficient gradient-based algorithm for on-line training of recurrent
    network trajectories", Neural Computation 2(4), with h = h'.

    **Example:**

    ```python
    learner = rtrl.Learner(loss, rtrl.ChunkedBPTT(), optax.adam(1e-3), update_every=16)
    state = learner.init(model)
    ```
    """

    def init(self, cell: AbstractCell, state: State, *, key: PRNGKeyArray | None = None) -> Begins:
        return jnp.ones((), bool)

    def forward(
        self, cell: AbstractCell, state: State, xs: Input, memory: Begins, reset: Bool[Array, " time"] | None = None
    ) -> tuple[State, Any]:
        state, memory, later = self.begin(cell, state, memory, reset)
        if reset is not None and not jax.tree.leaves(xs):  # then `reset` says how many steps there are
            later = reset.at[0].set(False)
        params, static = split(cell)
        floats, rest = eqx.partition(xs, eqx.is_inexact_array)

        def states(params: Params, floats: Input) -> State:
            moving = join(params, static)
            start = jax.tree.map(lambda h0, h: jnp.where(memory, h0, h), moving.initial_state(), state)
            return moving.trajectory(start, eqx.combine(floats, rest), later)

        return jax.vjp(states, params, floats)

    def backward(self, cell: AbstractCell, residual: Any, vs: State) -> tuple[Params, Input, Begins]:
        return *residual(vs), jnp.zeros((), bool)


class BPTT(AbstractEstimator):
    """Backpropagation through the whole sequence: exact, offline, memory O(T n) for T steps; one chunk of T steps.

    Use it with `rtrl.sequence_gradient`; a `Learner` refuses it with `ValueError`.

    [Werbos (1990)][werbos1990], "Backpropagation through time: what it does and how to do it", Proc. IEEE 78(10).

    **Example:**

    ```python
    value, gradient = rtrl.sequence_gradient(rtrl.BPTT(), model, loss, jnp.ones((5, 3)), jnp.ones((5, 1)))
    ```
    """

    def init(self, cell: AbstractCell, state: State, *, key: PRNGKeyArray | None = None) -> Begins:
        return ChunkedBPTT().init(cell, state)

    def forward(
        self, cell: AbstractCell, state: State, xs: Input, memory: Begins, reset: Bool[Array, " time"] | None = None
    ) -> tuple[State, Any]:
        return ChunkedBPTT().forward(cell, state, xs, memory, reset)

    def backward(self, cell: AbstractCell, residual: Any, vs: State) -> tuple[Params, Input, Begins]:
        return ChunkedBPTT().backward(cell, residual, vs)
