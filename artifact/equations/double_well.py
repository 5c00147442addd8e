"""The stationary density of a one-dimensional diffusion, and the tails of its influence, on a grid."""

import numpy as np
from jaxtyping import Float
from scipy.linalg import eigh_tridiagonal

GRID = np.linspace(-6, 6, 1501)
SPACING = GRID[1] - GRID[0]


def growth_rate(power: int, noise: float) -> float:
    """Λ: the growth rate of E|J|^power for θ₁ = θ₃ = 1, by a symmetric finite-difference generator."""
    potential = -(GRID**2 / 2 - GRID**4 / 4) / (noise**2 / 2)
    up = noise**2 / 2 / SPACING**2 * np.exp(-np.diff(potential) / 2)
    down = noise**2 / 2 / SPACING**2 * np.exp(np.diff(potential) / 2)
    diagonal = -np.append(up, 0) - np.append(0, down) + power * (1 - 3 * GRID**2)
    return eigh_tridiagonal(diagonal, np.sqrt(up * down), select="i", select_range=(len(GRID) - 1,) * 2)[0][0]


def density(drift: Float[np.ndarray, " grid"], noise: float) -> Float[np.ndarray, " grid"]:
    """The stationary density on the grid: exp(2 ∫μ/σ²), normalised."""
    potential = np.append(0, np.cumsum((drift[1:] + drift[:-1]) / 2 * SPACING)) * 2 / noise**2
    weights = np.exp(potential - potential.max())
    return weights / weights.sum() / SPACING


def well_moments(linear: float, cubic: float, noise: float) -> Float[np.ndarray, "2"]:
    """E h² and E h⁴."""
    there = density(linear * GRID - cubic * GRID**3, noise)
    return np.array([(GRID**k * there).sum() * SPACING for k in (2, 4)])


def moment_slopes(guess: float, noise: float, shift: float = 1e-4) -> Float[np.ndarray, "2 2"]:
    """The derivative of both moments by the logarithms of both parameters, at θ₁ = θ₃ = guess."""
    up, down = guess * np.exp(shift), guess * np.exp(-shift)
    return np.stack(
        [
            (well_moments(up, guess, noise) - well_moments(down, guess, noise)) / (2 * shift),
            (well_moments(guess, up, noise) - well_moments(guess, down, noise)) / (2 * shift),
        ],
        axis=1,
    )
