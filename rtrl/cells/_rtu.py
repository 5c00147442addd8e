"""Recurrent trace units."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from rtrl._sizes import check_sizes
from rtrl._types import Input
from rtrl.cells._gated import AbstractDiagonalCell, uniform_weights
from rtrl.cells._lru import Core, ring, rotate
from rtrl.cells._timescales import Timescales


class RTUCell(AbstractDiagonalCell):
    r"""Recurrent trace units: real rotations with decay, one 2×2 block a unit.

    $$c_t = r R(\vartheta)\, c_{t-1} + \sqrt{1-r^2}\, W x_t, \quad r = e^{-e^{\nu}},
      \; \vartheta = e^{\vartheta_{\log}}, \qquad y_t = [\phi(c^1_t); \phi(c^2_t)]$$

    With `nonlinear=True` the activation φ (tanh unless given) is applied inside the recurrence instead of to its
    output. State: (c¹, c²), each (n,); the output y has 2n entries. Parameters: `weight_ih` (2, n, m),
    `nu_log`, `theta_log` (n,). r and ϑ start as the LRU's eigenvalues do.

    [Elelimy et al. (2024)][elelimy2024], "Real-time recurrent learning using trace units in reinforcement learning",
    section 3.

    **Arguments:**

    - `input_size`, `hidden_size`: m and n.
    - `key`: a JAX random key, for the initial values.
    - `nonlinear`: whether φ is applied inside the recurrence.
    - `activation`: φ, elementwise; tanh unless given.
    - `r_min`, `r_max`, `max_phase`, `timescales`: as in `LRUCell`.
    - `dtype`: that of all parameters; JAX's default unless given.

    **Raises:** `ValueError` if a size is below 1 or not 0 <= r_min < r_max <= 1.

    **Example:**

    ```python
    cell = rtrl.RTUCell(input_size=3, hidden_size=32, key=key, timescales=(1.0, 100.0))
    output = cell.output(cell(cell.initial_state(), jnp.ones(3)), jnp.ones(3))  # (64,)
    ```
    """

    weight_ih: Float[Array, "2 n m"]
    nu_log: Float[Array, " n"]
    theta_log: Float[Array, " n"]
    nonlinear: bool = eqx.field(static=True)
    activation: Callable = eqx.field(static=True)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        key: PRNGKeyArray,
        nonlinear: bool = False,
        activation: Callable = jnp.tanh,
        r_min: float = 0.0,
        r_max: float = 1.0,
        max_phase: float = 2 * jnp.pi,
        timescales: Timescales | None = None,
        dtype: Any = None,
    ):
        check_sizes(input_size=input_size, hidden_size=hidden_size)
        weight_key, ring_key = jax.random.split(key)
        (self.weight_ih,) = uniform_weights(weight_key, input_size, (2, hidden_size, input_size), dtype=dtype)
        self.nu_log, self.theta_log = ring(ring_key, hidden_size, r_min, r_max, max_phase, timescales, dtype)
        self.nonlinear, self.activation = nonlinear, activation

    @property
    def is_linear(self) -> bool:
        return not self.nonlinear and type(self).gate is RTUCell.gate  # a subclass may bend it

    def gate(self, h: Core, inputs: Float[Array, "2 n"]) -> Core:
        decay = jnp.exp(self.nu_log)
        gamma = jnp.sqrt(-jnp.expm1(-2 * decay))
        first, second = rotate(jnp.exp(-decay), jnp.exp(self.theta_log), h)
        core = first + gamma * inputs[0], second + gamma * inputs[1]
        return jax.tree.map(self.activation, core) if self.nonlinear else core

    def initial_state(self) -> Core:
        zeros = super().initial_state()
        return zeros, zeros

    def output(self, state: Core, x: Input) -> Float[Array, " outputs"]:
        both = jnp.concatenate(state)
        return both if self.nonlinear else self.activation(both)
