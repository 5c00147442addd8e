"""Truncated backpropagation through time."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray

from rtrl._sizes import check_sizes
from rtrl._trained import join, split
from rtrl._types import Input, Params, Pullback, State
from rtrl.cells import AbstractCell
from rtrl.estimators._base import AbstractEstimator, Shared


class Window(eqx.Module):
    """The last `horizon` steps, oldest first: the state each one started from, and its input."""

    states: State
    inputs: Input
    filled: Shared


class TBPTT(AbstractEstimator):
    r"""Backpropagation through the last `horizon` steps, at every step.

    $$g_t = \sum_{k=0}^{h-1} \frac{\partial \ell_t}{\partial h_t} D_t D_{t-1} \cdots D_{t-k+1} I_{t-k}$$

    Every step of the window is linearised at the state that the stream really visited, with the parameters of
    now. Biased as soon as the past before the window matters; `TBPTT(1)` is the immediate gradient, and with a
    horizon as long as the stream it is BPTT. Time $O(h n (n + m))$ and memory
    $O(h (n + m))$ per step for n units and m inputs.

    Williams & Peng (1990), "An efficient gradient-based algorithm for on-line training of recurrent network
    trajectories", Neural Computation 2(4). Raises `ValueError` if the horizon is below 1.
    """

    horizon: int = eqx.field(static=True)

    def __check_init__(self):
        check_sizes(horizon=self.horizon)

    def init(self, cell: AbstractCell, state: State, *, key: PRNGKeyArray | None = None) -> Window:
        empty = jax.tree.map(lambda a: jnp.zeros((self.horizon, *a.shape), a.dtype), (state, cell.example_input()))
        return Window(*empty, filled=Shared(jnp.zeros((), int)))

    def step(self, cell: AbstractCell, state: State, x: Input, memory: Window) -> tuple[State, Pullback, Window]:
        _check_input(cell, x, memory.inputs)
        states, inputs = jax.tree.map(_append, (memory.states, memory.inputs), (state, x))
        window = Window(states, inputs, Shared(jnp.minimum(memory.filled.value + 1, self.horizon)))
        return cell(state, x), lambda v: _pull_back(cell, window, v), window


def _check_input(cell: AbstractCell, x: Input, window: Input) -> None:
    expected, got = jax.tree.structure(window), jax.tree.structure(x)
    if expected != got:
        raise ValueError(
            f"x: expected an input with the structure of {type(cell).__name__}.example_input(), {expected}, got {got}"
        )


def _append(window: Array, newest: Array) -> Array:
    return jnp.concatenate([window[1:], jnp.asarray(newest, window.dtype)[None]])


def _fill(visited: Array, window: Array) -> Array:
    """The newest entry in place of those before the stream began, where a cell might not be differentiable."""
    return jnp.where(visited.reshape(-1, *[1] * (window.ndim - 1)), window, window[-1:])


def _pull_back(cell: AbstractCell, window: Window, v: State) -> Params:
    """Two passes: sweep v back through the states, then one batched product for the parameters."""
    horizon = jax.tree.leaves(window.states)[0].shape[0]
    visited = jnp.arange(horizon) >= horizon - window.filled.value
    states, inputs = jax.tree.map(lambda a: _fill(visited, a), (window.states, window.inputs))

    def earlier(v, step_back):
        state, x, before_was_visited = step_back
        _, vjp = jax.vjp(lambda s: cell(s, x), state)
        (v_before,) = vjp(v)
        return jax.tree.map(lambda a: jnp.where(before_was_visited, a, 0), v_before), v

    before = jnp.concatenate([jnp.zeros(1, bool), visited[:-1]])
    _, vs = jax.lax.scan(earlier, v, (states, inputs, before), reverse=True)

    params, static = split(cell)

    def next_states(params):
        return jax.vmap(join(params, static))(states, inputs)

    _, vjp = jax.vjp(next_states, params)
    return vjp(vs)[0]
