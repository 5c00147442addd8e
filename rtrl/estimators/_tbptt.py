"""Truncated backpropagation through time."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PRNGKeyArray

from rtrl._checks import check_like
from rtrl._sizes import check_sizes
from rtrl._trained import join, split
from rtrl._types import Input, Params, Pullback, State
from rtrl.cells import AbstractCell
from rtrl.estimators._base import AbstractEstimator, add


class Window(eqx.Module):
    """The last `horizon` steps, oldest first: the state each one started from, and its input.

    `age` counts the steps since the stream began, up to one more than the horizon.
    """

    states: State
    inputs: Input
    age: Int[Array, ""]


class TBPTT(AbstractEstimator):
    r"""Backpropagation through the last `horizon` steps, at every step.

    $$g_t = \sum_{k=0}^{h-1} \frac{\partial \ell_t}{\partial h_t} D_t D_{t-1} \cdots D_{t-k+1} I_{t-k}$$

    Every step of the window is linearised at the state that the stream really visited, with the parameters of
    now. Biased as soon as the past before the window matters; `TBPTT(1)` is the immediate gradient, and with a
    horizon as long as the stream it is BPTT: a window that reaches back to the beginning includes the initial state's
    parameters. Time $O(h n (n + m))$ and memory $O(h (n + m))$ per step for n units and m inputs.

    [Williams & Peng (1990)][williams1990], "An efficient gradient-based algorithm for on-line training of recurrent
    network trajectories", Neural Computation 2(4).

    **Arguments:**

    - `horizon`: how many steps the window has, this one included, at least 1.

    **Raises:** `ValueError` if the horizon is not an integer of at least 1.

    **Example:**

    ```python
    learner = rtrl.Learner(loss, rtrl.TBPTT(10), optax.adam(1e-3))
    state = learner.init(model)
    ```
    """

    horizon: int = eqx.field(static=True)

    def __check_init__(self):
        check_sizes(horizon=self.horizon)

    def init(self, cell: AbstractCell, state: State, *, key: PRNGKeyArray | None = None) -> Window:
        like = jax.tree.map(jnp.asarray, (state, cell.example_input()))
        empty = jax.tree.map(lambda a: jnp.zeros((self.horizon, *a.shape), a.dtype), like)
        return Window(*empty, age=jnp.zeros((), int))

    def step(self, cell: AbstractCell, state: State, x: Input, memory: Window) -> tuple[State, Pullback, Window]:
        check_like(cell.example_input(), x, type(cell).__name__)
        states, inputs = jax.tree.map(_append, (memory.states, memory.inputs), (state, x))
        window = Window(states, inputs, jnp.minimum(memory.age + 1, self.horizon + 1))
        return cell(state, x), lambda v: _pull_back(cell, window, v), window


def _append(window: Array, newest: Array) -> Array:
    return jnp.concatenate([window[1:], jnp.asarray(newest, window.dtype)[None]])


def _fill(visited: Array, window: Array) -> Array:
    """The newest entry in place of those before the stream began, where a cell might not be differentiable."""
    return jnp.where(visited.reshape(-1, *[1] * (window.ndim - 1)), window, window[-1:])


def _pull_back(cell: AbstractCell, window: Window, v: State) -> Params:
    """Two passes: sweep v back through the states, then one batched product for the parameters."""
    horizon = jax.tree.leaves(window.states)[0].shape[0]
    first = horizon - jnp.minimum(window.age, horizon)
    visited = jnp.arange(horizon) >= first
    states, inputs = jax.tree.map(lambda a: _fill(visited, a), (window.states, window.inputs))

    def earlier(v, step_back):
        state, x, before_was_visited = step_back
        _, vjp = jax.vjp(lambda s: cell(s, x), state)
        (v_before,) = vjp(v)
        return jax.tree.map(lambda a: jnp.where(before_was_visited, a, 0), v_before), (v, v_before)

    _, (vs, befores) = jax.lax.scan(earlier, v, (states, inputs, jnp.arange(horizon) > first), reverse=True)

    params, static = split(cell)
    _, vjp = jax.vjp(lambda p: jax.vmap(join(p, static))(states, inputs), params)
    _, vjp_initial = jax.vjp(lambda p: join(p, static).initial_state(), params)
    reached = window.age <= horizon
    v_initial = jax.tree.map(lambda b: jnp.where(reached, b[first], 0), befores)
    return add(vjp(vs)[0], vjp_initial(v_initial)[0])
