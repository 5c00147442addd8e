"""The LSTM with element-wise recurrence."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax.nn import sigmoid
from jaxtyping import Array, Float, PRNGKeyArray

from rtrl._sizes import check_sizes
from rtrl._types import Input
from rtrl.cells._gated import AbstractDiagonalCell, biased, uniform_weights
from rtrl.cells._timescales import Timescales, check_has_bias, forget_bias, log_timescales


class ELSTMCell(AbstractDiagonalCell):
    r"""The LSTM with element-wise recurrence: each unit's gates see that unit's own memory only.

    $$f = \sigma(F x_t + w_f \odot c_{t-1}), \quad z = \tanh(Z x_t + w_z \odot c_{t-1}), \quad
      c_t = f \odot c_{t-1} + (1 - f) \odot z$$

    $$h_t = \sigma(O x_t + W_o c_t) \odot c_t$$

    State: c (n,), the memory; the readout sees h (n,). Parameters: `weight_ih` (2, n, m), that is F and Z,
    `weight_cell` (2, n), that is w_f and w_z, `bias` (2, n), `output_ih` (n, m), that is O, `output_cell` (n, n), that
    is W_o, and `output_bias` (n,).

    [Irie et al. (2024)][irie2024], "Exploring the promise and limits of real-time recurrent learning", section 3.1 (the
    biases are ours).

    **Arguments:**

    - `input_size`, `hidden_size`: m and n.
    - `key`: a JAX random key, for the initial values.
    - `timescales`: (shortest, longest) in steps: the forget gates start so that units remember that long.
    - `use_bias`: whether there are biases.
    - `dtype`: that of all parameters; JAX's default unless given.

    **Raises:** `ValueError` if a size is below 1 or the timescales are not 0 < shortest < longest.

    **Example:**

    ```python
    cell = rtrl.ELSTMCell(input_size=3, hidden_size=32, key=key, timescales=(1.0, 1000.0))
    output = cell.output(cell(cell.initial_state(), jnp.ones(3)), jnp.ones(3))  # (32,)
    ```
    """

    output_fields: ClassVar[tuple[str, ...]] = ("output_ih", "output_cell", "output_bias")

    weight_ih: Float[Array, "2 n m"]
    weight_cell: Float[Array, "2 n"]
    bias: Float[Array, "2 n"] | None
    output_ih: Float[Array, "n m"]
    output_cell: Float[Array, "n n"]
    output_bias: Float[Array, " n"] | None

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        key: PRNGKeyArray,
        timescales: Timescales | None = None,
        use_bias: bool = True,
        dtype: Any = None,
    ):
        check_sizes(input_size=input_size, hidden_size=hidden_size)
        check_has_bias(timescales, use_bias)
        n, m = hidden_size, input_size
        shapes = (2, n, m), (2, n), (2, n), (n, m), (n, n), (n,)
        self.weight_ih, self.weight_cell, self.bias, self.output_ih, self.output_cell, self.output_bias = (
            uniform_weights(key, n, *shapes, dtype=dtype)
        )
        if timescales is not None:
            log_tau = log_timescales(jax.random.fold_in(key, 1), n, timescales, self.bias.dtype)
            self.bias = self.bias.at[0].set(forget_bias(log_tau))
        if not use_bias:
            self.bias = self.output_bias = None

    def gate(self, h: Float[Array, " n"], inputs: Float[Array, "2 n"]) -> Float[Array, " n"]:
        forget, candidate = biased(inputs + self.weight_cell * h[None], self.bias)
        f = sigmoid(forget)
        return f * h + (1 - f) * jnp.tanh(candidate)

    def output(self, state: Float[Array, " n"], x: Input) -> Float[Array, " n"]:
        return sigmoid(biased(self.output_ih @ x + self.output_cell @ state, self.output_bias)) * state
