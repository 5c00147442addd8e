"""The long short-term memory."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jax.nn import sigmoid
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PRNGKeyArray

from rtrl._sizes import check_sizes
from rtrl._types import Input
from rtrl.cells._gated import AbstractDenseCell, biased, sparse, uniform_weights
from rtrl.cells._mask import Mask
from rtrl.cells._timescales import Timescales, check_has_bias, chrono


class LSTMCell(AbstractDenseCell):
    r"""The long short-term memory of [Hochreiter & Schmidhuber (1997)][hochreiter1997].

    $$i, f, o = \sigma(W_i x + b_i + W_h h + b_h), \quad g = \tanh(W_{ig} x + b_{ig} + W_{hg} h + b_{hg})$$

    $$c_t = f \odot c_{t-1} + i \odot g, \qquad h_t = o \odot \tanh(c_t)$$

    f are the forget gates of [Gers et al. (2000)][gers2000].

    State: (h, c), each (n,); the readout sees h. Parameters, gates in PyTorch's order i, f, g, o: `weight_hh` (4, n,
    n), `weight_ih` (4, n, m), `bias_hh` (4, n), `bias_ih` (4, n); reshape PyTorch's (4n, …) arrays to load them.

    **Arguments:**

    - `input_size`, `hidden_size`: m and n.
    - `key`: a JAX random key, for the initial values.
    - `mask`: which recurrent weights exist, (n, n); all unless given.
    - `timescales`: (shortest, longest) in steps: forget and input gates start so that units keep their state
        that long (chrono initialisation).
    - `use_bias`: whether there are biases.
    - `dtype`: that of all parameters; JAX's default unless given.

    **Raises:** `ValueError` if a size is below 1 or the timescales are not 0 < shortest < longest.

    **Example:**

    ```python
    cell = rtrl.LSTMCell(input_size=3, hidden_size=32, key=key)
    h, c = cell(cell.initial_state(), jnp.ones(3))
    ```
    """

    weight_hh: Float[Array, "4 n n"]
    weight_ih: Float[Array, "4 n m"]
    bias_hh: Float[Array, "4 n"] | None
    bias_ih: Float[Array, "4 n"] | None
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
            key, n, (4, n, n), (4, n, m), (4, n), (4, n), dtype=dtype
        )
        self.weight_hh, self.mask = sparse(self.weight_hh, mask)
        if timescales is not None:
            self.bias_hh, self.bias_ih = chrono(key, self.bias_hh, self.bias_ih, timescales, forget=1, write=0)
        if not use_bias:
            self.bias_hh = self.bias_ih = None

    def gate(
        self,
        h: tuple[Float[Array, " n"], Float[Array, " n"]],
        recurrent: Float[Array, "4 n"],
        inputs: Float[Array, "4 n"],
    ) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
        i, f, g, o = biased(biased(recurrent, self.bias_hh) + inputs, self.bias_ih)
        c = sigmoid(f) * h[1] + sigmoid(i) * jnp.tanh(g)
        return sigmoid(o) * jnp.tanh(c), c

    def initial_state(self) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
        zeros = super().initial_state()
        return zeros, zeros

    def output(self, state: tuple[Float[Array, " n"], Float[Array, " n"]], x: Input) -> Float[Array, " n"]:
        return state[0]
