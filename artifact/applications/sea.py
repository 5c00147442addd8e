"""Anomalies of the sea's temperature, month by month."""

import numpy as np
from jaxtyping import Float, Int


def anomalies(
    sea: Float[np.ndarray, " months"], known: int
) -> tuple[Float[np.ndarray, " months"], Int[np.ndarray, " months"]]:
    """The distance from what is normal for the month in the known ones, and which month of the year each is."""
    month = np.arange(len(sea)) % 12
    normal = np.array([sea[:known][month[:known] == m].mean() for m in range(12)])
    return sea - normal[month], month


def sea_stream(
    anomaly: Float[np.ndarray, " months"], month: Int[np.ndarray, " months"], known: int
) -> tuple[Float[np.ndarray, "steps 3"], Float[np.ndarray, " steps"], float]:
    """Inputs (anomaly and phase of the year), targets (the next month's anomaly), and the known anomalies' spread."""
    spread, phase = anomaly[:known].std(), 2 * np.pi * month / 12
    inputs = np.stack([anomaly / spread, np.cos(phase), np.sin(phase)], axis=1)[:-1]
    return inputs, anomaly[1:] / spread, float(spread)
