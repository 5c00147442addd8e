"""How many agents of a method succeed, with intervals."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from artifact.statistics import bootstrap_interval, share_interval

COLUMNS = ["success", "success low", "success high", "solved", "of", "share", "low", "high"]


def points(table: pd.DataFrame, by: Sequence[str], solves: float) -> pd.DataFrame:
    """Of each group of agents the mean success and its bootstrap interval, and how many succeed in at least `solves`
    of their last episodes, with Wilson's interval.
    """

    def of(success: Any) -> dict:
        solved = int((success >= solves).sum())
        low, high = share_interval(solved, len(success))
        same = success.nunique() == 1  # a bootstrap of equal values has no width
        mean_low, mean_high = (success.iloc[0],) * 2 if same else bootstrap_interval(success, np.mean)
        values = success.mean(), mean_low, mean_high, solved, len(success), solved / len(success), low, high
        return dict(zip(COLUMNS, values, strict=True))

    groups: dict[Any, dict] = {at: of(success) for at, success in table.groupby(list(by), sort=False)["success"]}
    index = pd.MultiIndex.from_tuples(groups, names=list(by))
    return pd.DataFrame(list(groups.values()), index=index, columns=COLUMNS).sort_index()
