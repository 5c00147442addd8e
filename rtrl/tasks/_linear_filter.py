"""A linear unit on a Gaussian stream: its loss and every gradient of it in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray
from scipy.linalg import solve_discrete_lyapunov

BURN_IN = 1000


class LinearFilter:
    r"""An autoregressive input, a target with several time constants, and a student with one.

    $$x_t = \varphi x_{t-1} + \sqrt{1 - \varphi^2}\, \varepsilon_t, \quad s^i_t = p_i s^i_{t-1} + x_t, \quad
      y_t = \sum_i c_i s^i_t + \sigma \eta_t, \qquad h_t = w h_{t-1} + u x_t$$

    The loss is $L = \tfrac12 E(h_t - y_t)^2$ in the stationary distribution. All are components of one linear system
    $z_t = A z_{t-1} + b \varepsilon_t$ with z = (x, h, s), covariance Σ, error $d \cdot z$, and so $E z_t z_{t-k}^\top
    = A^k \Sigma$.

    **Raises:** `ValueError` unless φ and all p are inside (-1, 1).
    """

    def __init__(self, correlation: float, poles: tuple[float, ...], weights: tuple[float, ...], noise: float):
        if max(map(abs, (correlation, *poles))) >= 1:
            raise ValueError(f"correlation, poles: expected numbers inside (-1, 1), got {correlation} and {poles}")
        self.correlation, self.noise = correlation, noise
        self.poles, self.weights = np.array(poles), np.array(weights)

    def stream(self, key: PRNGKeyArray, steps: int) -> tuple[Float[Array, "time 1"], Float[Array, "time 1"]]:
        """Inputs and targets, from the stationary distribution on."""
        drive_key, noise_key = jax.random.split(key)
        drive = jax.random.normal(drive_key, (steps + BURN_IN,)) * jnp.sqrt(1 - self.correlation**2)
        poles, weights = jnp.asarray(self.poles, drive.dtype), jnp.asarray(self.weights, drive.dtype)

        def step(state, e):
            x = self.correlation * state[0] + e
            s = poles * state[1] + x
            return (x, s), (x, weights @ s)

        xs, ys = jax.lax.scan(step, (jnp.zeros_like(drive[0]), jnp.zeros_like(poles)), drive)[1]
        noisy = ys[BURN_IN:] + self.noise * jax.random.normal(noise_key, (steps,), ys.dtype)
        return xs[BURN_IN:, None], noisy[:, None]

    def loss(self, w: float, u: float) -> float:
        """L, the noise included."""
        _, covariance, error = self._system(w, u)
        return float(error @ covariance @ error + self.noise**2) / 2

    def gradient(self, w: float, u: float, horizon: int | None = None) -> Float[np.ndarray, "2"]:
        r"""The gradient of L by (w, u), or what is expected of it when it is truncated.

        $$g_w = \sum_{k=0}^{h-1} w^k d^\top A^{k+1} \Sigma e_h, \qquad
          g_u = \sum_{k=0}^{h-1} w^k d^\top A^k \Sigma e_x$$

        What truncation leaves out falls like $(w \rho(A))^h$.
        """
        system, covariance, error = self._system(w, u)
        damped, one = w * system, np.eye(len(system))
        kept = one if horizon is None else one - np.linalg.matrix_power(damped, horizon)
        seen = error @ np.linalg.solve(one - damped, kept)
        return np.array([seen @ system @ covariance[:, 1], seen @ covariance[:, 0]])

    def _system(self, w: float, u: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """A, Σ and d of the joint system of x, h and s."""
        reach = np.concatenate([[1.0, u], np.ones_like(self.poles)])
        system = np.diag(np.concatenate([[0.0, w], self.poles]))
        system[:, 0] += self.correlation * reach
        covariance = solve_discrete_lyapunov(system, (1 - self.correlation**2) * np.outer(reach, reach))
        return system, covariance, np.concatenate([[0.0, 1.0], -self.weights])
