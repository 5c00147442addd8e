"""Backpropagation through the steps between two updates."""

from typing import ClassVar

import jax
from jaxtyping import PRNGKeyArray, PyTree

from rtrl._trained import join, split
from rtrl._types import Cotangents, Input, Params, Pullback, State
from rtrl.cells import AbstractCell
from rtrl.estimators._base import AbstractEstimator


class ChunkedBPTT(AbstractEstimator):
    r"""Truncated backpropagation as frameworks do it: through the k steps between two updates, the state carried on.

    $$g = \sum_{s=1}^{k} \sum_{r=1}^{s} \frac{\partial\ell_s}{\partial h_s} D_s \cdots D_{r+1} I_r$$

    with k the learner's `update_every`. The first loss of a chunk sees one step of the past, the last one k:
    half the credit of `TBPTT(k)` at a k-th of its cost, in time O(n (n + m)) a step and memory O(k (n + m)) for n
    units and m inputs. At `update_every=1` it is the immediate gradient.

    Williams & Peng (1990), "An efficient gradient-based algorithm for on-line training of recurrent network
    trajectories", Neural Computation 2(4), with h = h'.
    """

    needs_windows: ClassVar[bool] = True

    def init(self, cell: AbstractCell, state: State, *, key: PRNGKeyArray | None = None) -> None:
        return None

    def step(self, cell: AbstractCell, state: State, x: Input, memory: None) -> tuple[State, Pullback, None]:
        params, static = split(cell)
        next_state, vjp = jax.vjp(lambda p: join(p, static)(state, x), params)
        return next_state, lambda v: vjp(v)[0], None

    def window(
        self, cell: AbstractCell, state: State, xs: Input, memory: None, cotangents: Cotangents
    ) -> tuple[State, Params, PyTree, None]:
        params, static = split(cell)
        states, vjp = jax.vjp(lambda p: join(p, static).trajectory(state, xs), params)
        vs, aux = cotangents(states)
        return jax.tree.map(lambda s: s[-1], states), vjp(vs)[0], aux, None
