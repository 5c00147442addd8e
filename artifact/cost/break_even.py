"""From which horizon on exact RTRL takes less of something than a window that is swept at every step."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd


def break_even(costs: Mapping[str, float], horizons: Sequence[int]) -> float:
    """The horizon at which TBPTT costs what RTRL does, between and beyond the measured ones on straight lines; from 1.

    `costs` are those of the methods "RTRL" and "TBPTT(h)".
    """
    windows = np.array([costs[f"TBPTT({h})"] for h in horizons])
    k = int(np.clip(np.searchsorted(windows, costs["RTRL"]), 1, len(horizons) - 1))
    share = (costs["RTRL"] - windows[k - 1]) / (windows[k] - windows[k - 1])
    return max(1.0, horizons[k - 1] + share * (horizons[k] - horizons[k - 1]))


def break_even_range(
    rows: pd.DataFrame, horizons: Sequence[int], middle: str, lowest: str, highest: str
) -> tuple[float, float, float]:
    """The break-even horizon of the middle costs, and from the kindest runs to RTRL to the harshest ones.

    `rows` has a row for each "method", and its costs in the three columns named.
    """

    def horizon(ours: str, theirs: str) -> float:
        columns = np.where(rows["method"] == "RTRL", rows[ours], rows[theirs])
        return break_even(dict(zip(rows["method"], columns, strict=True)), horizons)

    at = horizon(middle, middle)
    return at, min(horizon(lowest, highest), at), max(horizon(highest, lowest), at)
