"""A cell that is corrected by what was observed."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from rtrl._trained import Frozen
from rtrl._types import Input
from rtrl.cells._base import AbstractCell


class ObserverCell(AbstractCell):
    r"""A cell whose state is corrected by the last observation before each step: a filter in innovations form.

    $$\tilde h_{t-1} = h_{t-1} + K\,\big(y_{t-1} - c(h_{t-1})\big), \qquad h_t = f_\theta(\tilde h_{t-1}, x_t)$$

    so that $c(h_t)$ predicts $y_t$ from the observations before it. `cell` is f, of any kind with a state (n,), an
    `ODECell` for instance; `observe` is c, from (n,) to (m,); the gain K, (n, m), is trained unless `rtrl.Frozen`. Its
    best value for a linear cell, a linear c and Gaussian noise is the stationary Kalman gain.

    Input: the pair $(y_{t-1}, x_t)$. An entry of y that is NaN was not observed and corrects nothing. Output: c(h), the
    prediction. Learning it by `RTRL()` is the recursive prediction error method of [Ljung & Söderström
    (1983)][ljung1983], "Theory and practice of recursive identification".

    **Raises:** `ValueError` if state or observation is not one array with one axis, or the gain's shape is not that of
    both.

    **Example:**

    ```python
    pendulum = rtrl.ODECell(rtrl.tasks.Pendulum(), jnp.zeros(2), time_step=0.1, example_args=jnp.zeros(()))
    cell = rtrl.ObserverCell(pendulum, lambda h: h[:1], jnp.array([[0.4], [0.2]]))
    state = cell(cell.initial_state(), (jnp.array([jnp.nan]), jnp.zeros(())))  # nothing was observed
    ```
    """

    cell: AbstractCell
    observe: Callable
    gain: Float[Array, "n m"] | Frozen

    def __init__(self, cell: AbstractCell, observe: Callable, gain: Float[ArrayLike, "n m"] | Frozen):
        self.cell, self.observe = cell, observe
        self.gain = gain if isinstance(gain, Frozen) else jnp.asarray(gain)
        shape = self._shape_of("cell", "a state", cell.initial_state())
        expected = (*shape, *self._shape_of("observe", "an observation", jax.eval_shape(observe, cell.initial_state())))
        if self._gain.shape != expected:
            raise ValueError(f"gain: expected shape {expected}, by state and observation, got {self._gain.shape}")

    @staticmethod
    def _shape_of(name: str, what: str, value: Any) -> tuple[int, ...]:
        if getattr(value, "ndim", None) != 1:
            raise ValueError(f"{name}: expected {what} of one array with one axis, got {jax.tree.structure(value)}")
        return value.shape

    @property
    def _gain(self) -> Float[Array, "n m"]:
        return self.gain.value if isinstance(self.gain, Frozen) else self.gain

    def __call__(self, state: Float[Array, " n"], x: Input) -> Float[Array, " n"]:
        observed, x = x
        missing = jnp.isnan(observed)
        innovation = jnp.where(missing, 0, jnp.where(missing, 0, observed) - self.observe(state))
        return self.cell(state + self._gain @ innovation, x)

    def initial_state(self) -> Float[Array, " n"]:
        return self.cell.initial_state()

    def output(self, state: Float[Array, " n"], x: Input) -> Float[Array, " m"]:
        return self.observe(state)

    def example_input(self) -> Input:
        return jnp.zeros_like(self.observe(self.initial_state())), self.cell.example_input()
