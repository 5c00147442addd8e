"""The linear recurrent unit."""

import math
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from rtrl._sizes import check_sizes
from rtrl._types import Input
from rtrl.cells._gated import AbstractDiagonalCell
from rtrl.cells._timescales import Timescales, log_timescales

Core = tuple[Float[Array, " n"], Float[Array, " n"]]


class LRUCell(AbstractDiagonalCell):
    r"""The linear recurrent unit: a complex diagonal recurrence that is stable by construction.

    $$h_t = \lambda \odot h_{t-1} + \gamma \odot B x_t, \quad \lambda = e^{-e^{\nu} + i e^{\vartheta}}, \qquad
      y_t = \mathrm{Re}(C h_t) + D x_t$$

    State: (Re h, Im h), each (n,); the output $y_t$ is (p,). Parameters, all real: `weight_ih` (2, n, m), the real and
    imaginary parts of B, `nu_log`, `theta_log`, `gamma_log` (n,), `weight_out` (2, p, n), those of C, and `skip`
    (p, m), which is D. γ starts as $\sqrt{1-|\lambda|^2}$.

    [Orvieto et al. (2023)][orvieto2023], "Resurrecting recurrent neural networks for long sequences", equations 5 to 7.

    **Arguments:**

    - `input_size`, `hidden_size`, `output_size`: m, n and p.
    - `key`: a JAX random key, for the initial values.
    - `r_min`, `r_max`: |λ| is drawn uniformly on the ring from the one to the other.
    - `max_phase`: the phase of λ is drawn from 0 to this, in radians.
    - `timescales`: (shortest, longest) in steps: the ring from $e^{-1/shortest}$ to $e^{-1/longest}$ instead,
        log-uniform in the time constant.
    - `dtype`: that of all parameters; JAX's default unless given.

    **Raises:** `ValueError` if a size is below 1 or not 0 <= r_min < r_max <= 1.

    **Example:**

    ```python
    cell = rtrl.LRUCell(input_size=3, hidden_size=32, output_size=16, key=key)
    output = cell.output(cell(cell.initial_state(), jnp.ones(3)), jnp.ones(3))  # (16,)
    ```
    """

    output_fields: ClassVar[tuple[str, ...]] = ("weight_out", "skip")

    weight_ih: Float[Array, "2 n m"]
    nu_log: Float[Array, " n"]
    theta_log: Float[Array, " n"]
    gamma_log: Float[Array, " n"]
    weight_out: Float[Array, "2 p n"]
    skip: Float[Array, "p m"]

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        key: PRNGKeyArray,
        output_size: int | None = None,
        r_min: float = 0.0,
        r_max: float = 1.0,
        max_phase: float = 2 * jnp.pi,
        timescales: Timescales | None = None,
        dtype: Any = None,
    ):
        outputs = input_size if output_size is None else output_size
        check_sizes(input_size=input_size, hidden_size=hidden_size, output_size=outputs)
        n, m = hidden_size, input_size
        b_key, ring_key, c_key, d_key = jax.random.split(key, 4)
        self.weight_ih = jax.random.normal(b_key, (2, n, m), dtype or float) / math.sqrt(2 * m)
        self.nu_log, self.theta_log = ring(ring_key, n, r_min, r_max, max_phase, timescales, dtype)
        self.gamma_log = jnp.log(-jnp.expm1(-2 * jnp.exp(self.nu_log))) / 2
        self.weight_out = jax.random.normal(c_key, (2, outputs, n), dtype or float) / math.sqrt(n)
        self.skip = jax.random.normal(d_key, (outputs, m), dtype or float) / math.sqrt(m)

    @property
    def is_linear(self) -> bool:
        return type(self).gate is LRUCell.gate  # a subclass may bend it

    def gate(self, h: Core, inputs: Float[Array, "2 n"]) -> Core:
        radius, angle, gamma = jnp.exp(-jnp.exp(self.nu_log)), jnp.exp(self.theta_log), jnp.exp(self.gamma_log)
        (re, im), (drive_re, drive_im) = rotate(radius, angle, h), gamma[None] * inputs
        return re + drive_re, im + drive_im

    def initial_state(self) -> Core:
        zeros = super().initial_state()
        return zeros, zeros

    def output(self, state: Core, x: Input) -> Float[Array, " p"]:
        re, im = state
        return self.weight_out[0] @ re - self.weight_out[1] @ im + self.skip @ x


def rotate(radius: Float[Array, " n"], angle: Float[Array, " n"], h: Core) -> Core:
    """The complex product of radius·e^{i·angle} and h, in real parts."""
    cos, sin = radius * jnp.cos(angle), radius * jnp.sin(angle)
    return cos * h[0] - sin * h[1], sin * h[0] + cos * h[1]


def ring(
    key: PRNGKeyArray,
    hidden_size: int,
    r_min: float,
    r_max: float,
    max_phase: float,
    timescales: Timescales | None = None,
    dtype: Any = None,
) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
    """Logarithms (ν, ϑ) of eigenvalues drawn uniformly on a ring of the unit disc (Orvieto et al., Lemma 3.2).

    With timescales the ring from $e^{-1/shortest}$ to $e^{-1/longest}$, log-uniform in the time constant.
    """
    if not 0 <= r_min < r_max <= 1:
        raise ValueError(f"r_min, r_max: expected 0 <= r_min < r_max <= 1, got {r_min} and {r_max}")
    radius_key, phase_key = jax.random.split(key)
    dtype = jnp.zeros((), dtype or float).dtype
    phase = jax.random.uniform(phase_key, (hidden_size,), dtype, float(jnp.finfo(dtype).tiny), max_phase)
    if timescales is not None:
        return -log_timescales(radius_key, hidden_size, timescales, dtype), jnp.log(phase)
    squared = jax.random.uniform(radius_key, (hidden_size,), dtype, max(r_min**2, 1e-6), r_max**2)
    return jnp.log(-0.5 * jnp.log(squared)), jnp.log(phase)
