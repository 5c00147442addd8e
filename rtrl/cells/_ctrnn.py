"""The continuous-time recurrent network, stepped so that it cannot run away."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PRNGKeyArray

from rtrl._sizes import check_positive, check_sizes
from rtrl.cells._gated import AbstractDenseCell, biased, sparse, uniform_weights
from rtrl.cells._mask import Mask
from rtrl.cells._timescales import Timescales, log_timescales


class CTRNNCell(AbstractDenseCell):
    r"""The continuous-time recurrent network of leaky units, one step of length Δt.

    $$\tau \dot h = -h + \phi(W_{hh} h + W_{ih} x + b), \qquad
      h_t = e^{-\Delta t/\tau} h_{t-1} + (1 - e^{-\Delta t/\tau})\, \phi(W_{hh} h_{t-1} + W_{ih} x_t + b)$$

    the solution for a drive φ that is held during the step (exponential Euler). Unlike Euler's step it is stable
    for every τ, and learning may well make τ smaller than Δt/2, where Euler's step diverges.

    State: (n,). Parameters: `weight_hh` (1, n, n), `weight_ih` (1, n, m), `bias` (n,), `log_tau` (n,), the
    logarithm of each unit's time constant τ, in the units of `time_step`, drawn log-uniformly from
    `timescales`, 1 to 10 steps.

    [Funahashi & Nakamura (1993)][funahashi1993], "Approximation of dynamical systems by continuous time recurrent
    neural networks", Neural Networks 6(6).

    **Arguments:**

    - `input_size`, `hidden_size`: m and n.
    - `key`: a JAX random key, for the initial values.
    - `time_step`: Δt, in the units of time of your choice.
    - `activation`: φ, elementwise; tanh unless given.
    - `mask`: which recurrent weights exist, (n, n); all unless given.
    - `timescales`: (shortest, longest): the range, in steps, from which the time constants are drawn.
    - `use_bias`: whether there is a bias.
    - `dtype`: that of all parameters; JAX's default unless given.

    **Raises:** `ValueError` if a size is below 1, `time_step` is not positive or the timescales are not 0 < shortest <
    longest.

    **Example:**

    ```python
    cell = rtrl.CTRNNCell(input_size=3, hidden_size=32, key=key, time_step=0.1, timescales=(0.1, 10.0))
    state = cell(cell.initial_state(), jnp.ones(3))
    ```
    """

    weight_hh: Float[Array, "1 n n"]
    weight_ih: Float[Array, "1 n m"]
    bias: Float[Array, " n"] | None
    log_tau: Float[Array, " n"]
    time_step: float = eqx.field(static=True)
    activation: Callable = eqx.field(static=True)
    mask: Mask | None = eqx.field(static=True)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        key: PRNGKeyArray,
        time_step: float = 1.0,
        activation: Callable = jnp.tanh,
        mask: ArrayLike | None = None,
        timescales: Timescales = (1.0, 10.0),
        use_bias: bool = True,
        dtype: Any = None,
    ):
        check_sizes(input_size=input_size, hidden_size=hidden_size)
        check_positive(time_step=time_step)
        n, m = hidden_size, input_size
        weight_key, tau_key = jax.random.split(key)
        self.weight_hh, self.weight_ih, self.bias = uniform_weights(
            weight_key, n, (1, n, n), (1, n, m), (n,), dtype=dtype
        )
        self.bias = self.bias if use_bias else None
        self.weight_hh, self.mask = sparse(self.weight_hh, mask)
        self.log_tau = jnp.log(time_step) + log_timescales(tau_key, n, timescales, dtype)
        self.time_step = time_step
        self.activation = activation

    def gate(
        self, h: Float[Array, " n"], recurrent: Float[Array, "1 n"], inputs: Float[Array, "1 n"]
    ) -> Float[Array, " n"]:
        drive = self.activation(biased(recurrent[0] + inputs[0], self.bias))
        return h - jnp.expm1(-self.time_step * jnp.exp(-self.log_tau)) * (drive - h)
