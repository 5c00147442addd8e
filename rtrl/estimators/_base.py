"""The protocol that every online gradient estimator follows."""

import abc
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray, PyTree

from rtrl._trained import trained
from rtrl._types import Cotangents, Input, Memory, Params, Pullback, State
from rtrl.cells import AbstractCell, AbstractGatedCell


class Shared(eqx.Module):
    """What all streams of a batch have in common in their memories: counts of steps, past parameters."""

    value: PyTree


class AbstractEstimator(eqx.Module):
    r"""An online estimator of $v \, dh_t/d\theta$, the derivative of the whole past.

    `init` makes the memory that `step` carries from one time step to the next; `step` advances the cell and
    hands back a pullback, which maps the loss's cotangent $v = \partial \ell_t / \partial h_t$ to the
    gradient with respect to the cell's trained parameters (`None` for those that the state does not depend on).
    `needs_windows` says that `window` gives more credit than its steps one by one.
    """

    needs_windows: ClassVar[bool] = False

    @abc.abstractmethod
    def init(self, cell: AbstractCell, state: State, *, key: PRNGKeyArray | None = None) -> Memory:
        """The memory before the first step, for a stream that starts in `state`."""

    @abc.abstractmethod
    def step(self, cell: AbstractCell, state: State, x: Input, memory: Memory) -> tuple[State, Pullback, Memory]:
        """One time step: the next state, the pullback at that state, the next memory."""

    def window(
        self,
        cell: AbstractCell,
        state: State,
        xs: Input,
        memory: Memory,
        cotangents: Cotangents,
    ) -> tuple[State, Params, PyTree, Memory]:
        """Several steps at the same parameters: the last state, the summed gradient, `aux`, the next memory.

        `cotangents` maps the states of all steps (leading time axis) to (∂ℓ/∂h of each, aux).
        """
        vs, aux = cotangents(cell.trajectory(state, xs))

        def step(carry, at):
            state, memory, total = carry
            x, v = at
            state, pullback, memory = self.step(cell, state, x, memory)
            return (state, memory, add(total, pullback(v))), None

        start = state, memory, jax.tree.map(jnp.zeros_like, trained(cell))
        (state, memory, total), _ = jax.lax.scan(step, start, (xs, vs))
        return state, total, aux, memory

    def window_and_below(
        self,
        cell: AbstractCell,
        state: State,
        xs: Input,
        memory: Memory,
        cotangents: Cotangents,
    ) -> tuple[State, Params, PyTree, Memory, Input]:
        """What `window` gives, and the cotangents of the inputs, for what made them."""
        states, below = jax.vjp(lambda xs: cell.trajectory(state, xs), xs)
        vs, aux = cotangents(states)
        last, gradient, _, memory = self.window(cell, state, xs, memory, lambda _: (vs, None))
        return last, gradient, aux, memory, below(vs)[0]


def add(gradient: Params, other: Params) -> Params:
    """The sum of two gradients; `None` in the second stands for zero."""
    return eqx.apply_updates(gradient, other)


def check_gated(estimator: AbstractEstimator, cell: AbstractCell) -> AbstractGatedCell:
    """The cell; raises `TypeError` unless it is a gated one."""
    if not isinstance(cell, AbstractGatedCell):
        raise TypeError(_refusal(estimator, cell, "a gated cell (rtrl.AbstractGatedCell)"))
    return cell


def check_dense(estimator: AbstractEstimator, cell: AbstractCell) -> AbstractGatedCell:
    """The cell; raises `TypeError` unless it is a gated one whose units act on each other."""
    gated = check_gated(estimator, cell)
    if gated.coupling != "dense":
        raise TypeError(_refusal(estimator, gated, "a gated cell with recurrent weights (weight_hh)"))
    return gated


def _refusal(estimator: AbstractEstimator, cell: AbstractCell, needed: str) -> str:
    return (
        f"cell: expected {needed} for {type(estimator).__name__}, got {type(cell).__name__}, whose coupling is "
        f"{cell.coupling}; RTRL(), UORO() and TBPTT(horizon) serve it"
    )
