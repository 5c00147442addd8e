"""The gated recurrent unit."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jax.nn import sigmoid
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PRNGKeyArray

from rtrl._sizes import check_sizes
from rtrl.cells._gated import AbstractDenseCell, biased, sparse, uniform_weights
from rtrl.cells._mask import Mask
from rtrl.cells._timescales import Timescales, check_has_bias, chrono


class GRUCell(AbstractDenseCell):
    r"""The gated recurrent unit of [Cho et al. (2014)][cho2014], in the form that PyTorch computes.

    $$r = \sigma(W_{ir} x + b_{ir} + W_{hr} h + b_{hr}), \quad z = \sigma(W_{iz} x + b_{iz} + W_{hz} h + b_{hz})$$

    $$\tilde h = \tanh(W_{in} x + b_{in} + r \odot (W_{hn} h + b_{hn})), \quad
      h_t = (1 - z) \odot \tilde h + z \odot h_{t-1}$$

    State: (n,). Parameters, gates in the order r, z, n: `weight_hh` (3, n, n), `weight_ih` (3, n, m), `bias_hh` (3, n),
    `bias_ih` (3, n); reshape PyTorch's (3n, …) arrays to load them.

    **Arguments:**

    - `input_size`, `hidden_size`: m and n.
    - `key`: a JAX random key, for the initial values.
    - `mask`: which recurrent weights exist, (n, n); all unless given.
    - `timescales`: (shortest, longest) in steps: the gate z starts so that units keep their state that long.
    - `use_bias`: whether there are biases.
    - `dtype`: that of all parameters; JAX's default unless given.

    **Raises:** `ValueError` if a size is below 1 or the timescales are not 0 < shortest < longest.

    **Example:**

    ```python
    cell = rtrl.GRUCell(input_size=3, hidden_size=32, key=key, timescales=(1.0, 100.0))
    state = cell(cell.initial_state(), jnp.ones(3))
    ```
    """

    weight_hh: Float[Array, "3 n n"]
    weight_ih: Float[Array, "3 n m"]
    bias_hh: Float[Array, "3 n"] | None
    bias_ih: Float[Array, "3 n"] | None
    mask: Mask | None = eqx.field(static=True)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        key: PRNGKeyArray,
        mask: ArrayLike | None = None,
        timescales: Timescales | None = None,
        use_bias: bool = True,
        dtype: Any = None,
    ):
        check_sizes(input_size=input_size, hidden_size=hidden_size)
        check_has_bias(timescales, use_bias)
        n, m = hidden_size, input_size
        self.weight_hh, self.weight_ih, self.bias_hh, self.bias_ih = uniform_weights(
            key, n, (3, n, n), (3, n, m), (3, n), (3, n), dtype=dtype
        )
        self.weight_hh, self.mask = sparse(self.weight_hh, mask)
        if timescales is not None:
            self.bias_hh, self.bias_ih = chrono(key, self.bias_hh, self.bias_ih, timescales, forget=1)
        if not use_bias:
            self.bias_hh = self.bias_ih = None

    def gate(
        self, h: Float[Array, " n"], recurrent: Float[Array, "3 n"], inputs: Float[Array, "3 n"]
    ) -> Float[Array, " n"]:
        recurrent, inputs = biased(recurrent, self.bias_hh), biased(inputs, self.bias_ih)
        r, z = sigmoid(recurrent[:2] + inputs[:2])
        candidate = jnp.tanh(inputs[2] + r * recurrent[2])
        return (1 - z) * candidate + z * h
