"""The simple recurrent network."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PRNGKeyArray

from rtrl._sizes import check_sizes
from rtrl.cells._gated import AbstractDenseCell, biased, sparse, uniform_weights
from rtrl.cells._mask import Mask


class ElmanCell(AbstractDenseCell):
    r"""The simple recurrent network of [Elman (1990)][elman1990].

    $$h_t = \phi(W_{hh} h_{t-1} + W_{ih} x_t + b)$$

    State: (n,). Parameters: `weight_hh` (1, n, n), `weight_ih` (1, n, m), `bias` (n,).

    **Arguments:**

    - `input_size`, `hidden_size`: m and n.
    - `key`: a JAX random key, for the initial values.
    - `activation`: φ, elementwise; tanh unless given.
    - `mask`: which recurrent weights exist, (n, n); all unless given.
    - `use_bias`: whether there is a bias.
    - `dtype`: that of all parameters; JAX's default unless given.

    **Raises:** `ValueError` if a size is below 1.

    **Example:**

    ```python
    cell = rtrl.ElmanCell(input_size=3, hidden_size=32, key=key)
    state = cell(cell.initial_state(), jnp.ones(3))
    ```
    """

    weight_hh: Float[Array, "1 n n"]
    weight_ih: Float[Array, "1 n m"]
    bias: Float[Array, " n"] | None
    activation: Callable = eqx.field(static=True)
    mask: Mask | None = eqx.field(static=True)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        key: PRNGKeyArray,
        activation: Callable = jnp.tanh,
        mask: ArrayLike | None = None,
        use_bias: bool = True,
        dtype: Any = None,
    ):
        check_sizes(input_size=input_size, hidden_size=hidden_size)
        n, m = hidden_size, input_size
        self.weight_hh, self.weight_ih, self.bias = uniform_weights(key, n, (1, n, n), (1, n, m), (n,), dtype=dtype)
        self.bias = self.bias if use_bias else None
        self.weight_hh, self.mask = sparse(self.weight_hh, mask)
        self.activation = activation

    def gate(
        self, h: Float[Array, " n"], recurrent: Float[Array, "1 n"], inputs: Float[Array, "1 n"]
    ) -> Float[Array, " n"]:
        return self.activation(biased(recurrent[0] + inputs[0], self.bias))
