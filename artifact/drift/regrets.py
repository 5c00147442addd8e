"""How far above the noise networks are on streams that change, and when."""

import numpy as np
import pandas as pd
from jaxtyping import Float

from artifact.drift.adapting import running
from artifact.statistics import median_interval

Regret = Float[np.ndarray, "networks steps"]


def above_noise(losses: Float[np.ndarray, "networks steps"], variance: float) -> Regret:
    """Squared errors less the variance of the noise, infinite from where a network has broken down."""
    return np.nan_to_num(losses - variance, nan=np.inf, posinf=np.inf)


def of_networks(regret: Regret, phase: int, change: int) -> pd.DataFrame:
    """A row a network: whether it stayed finite, and its mean regret from the first change on, in its first fifth of a
    phase, in the second phase, in the first fifth of the third and in the last; and in which step of the third phase
    the mean over a twentieth of a phase was below 0.1, infinite if never.
    """
    mean = lambda begin, length: regret[:, begin : begin + length].mean(axis=1)  # noqa: E731
    size = phase // 20
    low = running(regret[:, 2 * phase :], size) < 0.1
    return pd.DataFrame(
        {
            "network": np.arange(len(regret)),
            "finite": np.isfinite(regret).all(axis=1),
            "regret": mean(change, regret.shape[1]),
            "first fifth": mean(0, phase // 5),
            "second phase": mean(phase, phase),
            "third phase's fifth": mean(2 * phase, phase // 5),
            "last phase": mean(3 * phase, phase),
            "recovered": np.where(low.any(axis=1), (low.argmax(axis=1) + 1) * size, np.inf),
        }
    )


def curve(regret: Regret, size: int) -> pd.DataFrame:
    """The median over networks in bins of so many steps, and its interval."""
    bins = running(regret, size)
    low, high = median_interval(bins)
    steps = size * (0.5 + np.arange(bins.shape[1]))
    return pd.DataFrame({"step": steps, "regret": np.median(bins, axis=0), "low": low, "high": high})


def breakdowns(rows: pd.DataFrame) -> str:
    """How many networks broke down, of how many."""
    return f"{(~rows['finite']).sum()} of {len(rows)}"
