"""The protocol that every online gradient estimator follows."""

import abc
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, PRNGKeyArray, PyTree

from rtrl._trained import join, split, trained
from rtrl._types import Input, Memory, Params, Pullback, State
from rtrl.cells import AbstractCell, AbstractDenseCell, AbstractGatedCell, check_gate


class Shared(eqx.Module):
    """What all streams of a batch have in common in their memories: counts of steps, past parameters."""

    value: PyTree


class OneStep(NamedTuple):
    """What a step leaves for the way back: its pullback, the memory after it, and where it started."""

    pullback: Pullback
    memory: Memory
    state: State
    xs: Input


class Steps(NamedTuple):
    """What several steps leave for the way back: where they started, and what came in."""

    state: State
    xs: Input
    memory: Memory
    reset: Bool[Array, " time"] | None


class AbstractEstimator(eqx.Module):
    r"""An online estimator of $\sum_s v_s \, dh_s/d\theta$, the derivative of the whole past.

    `init` makes the memory that is carried along a stream. `forward` advances the cell by k ≥ 1 steps at the same
    parameters; `backward` maps the cotangents $v_s = \partial \ell / \partial h_s$ of these steps' states to the
    gradient with respect to the cell's trained parameters (`None` for those that the state does not depend on), what
    reaches the inputs, and the next memory. An algorithm that is defined by single steps gives `step`, from which
    the two follow.
    """

    @abc.abstractmethod
    def init(self, cell: AbstractCell, state: State, *, key: PRNGKeyArray | None = None) -> Memory:
        """The memory before the first step, for a stream that starts in the cell's initial `state`.

        **Raises:** `TypeError` or `ValueError`, in one line, for a cell that the estimator cannot serve.
        """

    def step(self, cell: AbstractCell, state: State, x: Input, memory: Memory) -> tuple[State, Pullback, Memory]:
        """One time step: the next state, the pullback at that state, the next memory."""
        if type(self).forward is AbstractEstimator.forward:
            raise NotImplementedError(f"{type(self).__name__}: expected it to define step, or forward and backward")
        states, residual = self.forward(cell, state, jax.tree.map(lambda a: a[None], x), memory)

        def back(v: State) -> tuple[Params, Input, Memory]:
            return self.backward(cell, residual, jax.tree.map(lambda a: a[None], v))

        after = jax.tree.map(lambda a: a[0], states)  # the next memory does not depend on v
        return after, lambda v: back(v)[0], back(jax.tree.map(jnp.zeros_like, after))[2]

    def restart(self, cell: AbstractCell, memory: Memory) -> Memory:
        """The memory of a stream that begins anew; it may take over random seeds."""
        return self.init(cell, cell.initial_state())

    def forward(
        self, cell: AbstractCell, state: State, xs: Input, memory: Memory, reset: Bool[Array, " time"] | None = None
    ) -> tuple[State, Any]:
        """The states after each of k steps, and a residual for `backward`.

        Inputs, states and `reset` have a leading time axis; where `reset` is true the stream begins anew: the step
        starts from the initial state, and nothing of the past is remembered.
        """
        if count(xs, reset) > 1:
            return cell.trajectory(state, xs, reset), Steps(state, xs, memory, reset)
        state, memory, _ = self.begin(cell, state, memory, reset)
        after, pullback, memory = self.step(cell, state, jax.tree.map(lambda a: a[0], xs), memory)
        return jax.tree.map(lambda a: a[None], after), OneStep(pullback, memory, state, xs)

    def backward(self, cell: AbstractCell, residual: Any, vs: State) -> tuple[Params, Input, Memory]:
        """The summed gradient, the cotangents of the inputs (`None` for integers), and the memory after the steps."""
        if isinstance(residual, OneStep):
            gradient = residual.pullback(jax.tree.map(lambda a: a[0], vs))
            return gradient, to_inputs(cell, residual.state, residual.xs, None, vs), residual.memory

        def one(carry: tuple[State, Memory, Params], at: tuple) -> tuple[tuple[State, Memory, Params], None]:
            state, memory, total = carry
            x, v, reset = jax.tree.map(lambda a: a[None], at)
            states, step = self.forward(cell, state, x, memory, reset)
            gradient, _, memory = self.backward(cell, step, v)
            return (jax.tree.map(lambda a: a[0], states), memory, add(total, gradient)), None

        state, xs, memory, reset = residual
        start = state, memory, jax.tree.map(jnp.zeros_like, trained(cell))
        (_, memory, gradient), _ = jax.lax.scan(one, start, (xs, vs, reset))
        return gradient, to_inputs(cell, state, xs, reset, vs), memory

    def from_outputs(
        self, cell: AbstractCell, residual: Any, states: State, xs: Input, v_outputs: PyTree
    ) -> tuple[Params, Memory]:
        """The gradient from the cotangents of the cell's outputs: its direct part and `backward`'s; and the memory."""
        direct, vs = through_outputs(cell, states, xs, v_outputs)
        gradient, _, memory = self.backward(cell, residual, vs)
        return add(direct, gradient), memory

    def begin(
        self, cell: AbstractCell, state: State, memory: Memory, reset: Bool[Array, " time"] | None
    ) -> tuple[State, Memory, Bool[Array, " time"] | None]:
        """Where steps start from if the first of them may begin the stream anew, and the resets of the others."""
        if reset is None:
            return state, memory, None
        fresh = cell.initial_state(), self.restart(cell, memory)
        state, memory = where_begun(reset[0], fresh, (state, memory))
        return state, memory, reset.at[0].set(False) if len(reset) > 1 else None


def count(xs: Input, reset: Bool[Array, " time"] | None) -> int:
    """The number of steps; a stream without inputs has it from `reset`, a single step without both is one."""
    leaves = jax.tree.leaves((xs, reset))
    return len(leaves[0]) if leaves else 1


def where_begun(reset: Bool[Array, ""], fresh: PyTree, old: PyTree) -> PyTree:
    """The fresh one of two trees where the stream begins anew; what streams share stays as it is.

    A selection, not a product with zero, so that nothing of an old tree with NaN survives; nothing is read or
    written while no stream begins anew.
    """

    def chosen() -> PyTree:
        return jax.tree.map(
            lambda new, kept: kept if isinstance(kept, Shared) else jnp.where(reset, new, kept),
            fresh,
            old,
            is_leaf=lambda node: isinstance(node, Shared),
        )

    return jax.lax.cond(largest(reset.astype(int)) > 0, chosen, lambda: jax.tree.map(jnp.asarray, old))


@jax.custom_batching.custom_vmap
def largest(filled: Int[Array, ""]) -> Int[Array, ""]:
    """A count that stays one number when networks are mapped by `vmap`, as a condition or an index must.

    The counts are equal unless someone put networks of different age together. Then those with fewer steps
    stand still between their last step and the next, and are folded early, which changes nothing.
    """
    return filled


@largest.def_vmap
def _largest_of_all(axis_size: int, in_batched: list[bool], filled: Int[Array, " networks"]) -> tuple[Array, bool]:
    return largest(filled.max(axis=0)), False


def over_steps(function: Callable, *trees: PyTree) -> Any:
    """A function of one step over the leading time axis; a single step is not mapped, which runs faster."""
    if len(jax.tree.leaves(trees)[0]) > 1:
        return jax.vmap(function)(*trees)
    return jax.tree.map(lambda a: jnp.asarray(a)[None], function(*jax.tree.map(lambda a: a[0], trees)))


def outputs_of(cell: AbstractCell, states: State, xs: Input) -> tuple[PyTree, PyTree]:
    """What the cell puts out at each of several steps: what can be differentiated, and the rest."""
    return eqx.partition(over_steps(cell.output, states, xs), eqx.is_inexact_array)


def through_outputs(cell: AbstractCell, states: State, xs: Input, v_outputs: PyTree) -> tuple[Params, State]:
    """Back through what the cell puts out: to its parameters and to its states."""
    params, static = split(cell)
    return jax.vjp(lambda p, s: outputs_of(join(p, static), s, xs)[0], params, states)[1](v_outputs)


def to_inputs(cell: AbstractCell, state: State, xs: Input, reset: Bool[Array, " time"] | None, vs: State) -> Input:
    """What reaches the inputs of several steps from their states, `None` for inputs that are not floating-point."""
    floats, rest = eqx.partition(xs, eqx.is_inexact_array)
    if not jax.tree.leaves(floats):
        return floats
    _, vjp = jax.vjp(lambda floats: cell.trajectory(state, eqx.combine(floats, rest), reset), floats)
    return vjp(vs)[0]


def add(gradient: Params, other: Params) -> Params:
    """The sum of two gradients; `None` in the second stands for zero."""
    return eqx.apply_updates(gradient, other)


def check_gated(estimator: AbstractEstimator, cell: AbstractCell) -> AbstractGatedCell:
    """The cell; raises `TypeError` unless it is a gated one, and its gate elementwise."""
    if not isinstance(cell, AbstractGatedCell):
        raise TypeError(_refusal(estimator, cell, "a gated cell (rtrl.AbstractGatedCell)"))
    check_gate(cell)
    return cell


def check_dense(estimator: AbstractEstimator, cell: AbstractCell) -> AbstractDenseCell:
    """The cell; raises `TypeError` unless it is a gated one whose units act on each other."""
    gated = check_gated(estimator, cell)
    if not isinstance(gated, AbstractDenseCell):
        raise TypeError(_refusal(estimator, cell, "a gated cell with recurrent weights (rtrl.AbstractDenseCell)"))
    return gated


def _refusal(estimator: AbstractEstimator, cell: AbstractCell, needed: str) -> str:
    return (
        f"cell: expected {needed} for {type(estimator).__name__}, got {type(cell).__name__}; "
        f"RTRL(), UORO() and TBPTT(horizon) serve it"
    )
