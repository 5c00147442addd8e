"""Patterns of sparse recurrent weights."""

import hashlib

import jax
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Bool, PRNGKeyArray


class Mask:
    """The recurrent weights that a sparse cell has: entry (i, j) says whether unit j acts on unit i.

    A constant of the cell rather than one of its arrays, because estimators lay out their memory by it.

    **Raises:** `ValueError` unless `kept` is a boolean array of shape (units, units).
    """

    def __init__(self, kept: ArrayLike, units: int):
        self.kept = np.array(kept)
        if self.kept.dtype != bool or self.kept.shape != (units, units):
            got = f"{self.kept.dtype}{self.kept.shape}"
            raise ValueError(f"mask: expected a boolean array of shape {(units, units)}, got {got}")
        self.kept.setflags(write=False)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Mask) and np.array_equal(self.kept, other.kept)

    def __hash__(self) -> int:
        return hash(self.kept.tobytes())

    def __repr__(self) -> str:
        digest = hashlib.sha256(self.kept.tobytes()).hexdigest()[:8]  # a learner's state is known by it, too
        return f"Mask({self.kept.mean():.1%} of {self.kept.shape}, {digest})"


def random_mask(key: PRNGKeyArray, hidden_size: int, sparsity: float) -> Bool[np.ndarray, "n n"]:
    """A random pattern in which every unit is acted on by as many others; `sparsity` is the share of zeros.

    At least one weight a unit is kept.

    **Raises:** `ValueError` unless 0 <= sparsity < 1.
    """
    if not 0 <= sparsity < 1:
        raise ValueError(f"sparsity: expected 0 <= sparsity < 1, got {sparsity}")
    inputs = max(1, round((1 - sparsity) * hidden_size))
    order = jax.random.permutation(key, np.tile(np.arange(hidden_size), (hidden_size, 1)), axis=1, independent=True)
    return np.asarray(order) < inputs
