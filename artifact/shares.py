"""How many networks or agents succeed, with intervals, and by how much more than others."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from artifact.claims import Evidence
from artifact.statistics import bootstrap_interval, share_difference_interval, share_interval


def solvers(table: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Of each group the share of its networks that solved the task, with Wilson's interval, and the median step."""
    groups = table.groupby(list(by), sort=False)
    found = groups.agg(
        solved=("solved", "count"),
        of=("network", "count"),
        steps=("solved", "median"),
        rate=("rate", "first"),
        diverged=("diverged", "count"),
    )
    return found.join(_shares(found))


def successes(table: pd.DataFrame, by: Sequence[str], solves: float) -> pd.DataFrame:
    """Of each group of agents the mean success and its bootstrap interval, and how many succeed in at least `solves`
    of their last episodes, with Wilson's interval.
    """

    def of(success: Any) -> dict:
        same = success.nunique() == 1  # a bootstrap of equal values has no width
        low, high = (success.iloc[0],) * 2 if same else bootstrap_interval(success, np.mean)
        return {
            "success": success.mean(), "success low": low, "success high": high,
            "solved": int((success >= solves).sum()), "of": len(success),
        }  # fmt: skip

    groups: dict[Any, dict] = {at: of(success) for at, success in table.groupby(list(by), sort=False)["success"]}
    found = pd.DataFrame(list(groups.values()), index=pd.MultiIndex.from_tuples(groups, names=list(by)))
    return found.join(_shares(found)).sort_index()


def _shares(found: pd.DataFrame) -> pd.DataFrame:
    ends = [share_interval(int(solved), int(of)) for solved, of in zip(found["solved"], found["of"], strict=True)]
    low, high = zip(*ends, strict=True)
    return pd.DataFrame({"share": found["solved"] / found["of"], "low": low, "high": high}, index=found.index)


def solved_by(table: pd.DataFrame, at: tuple, condition: str, threshold: float, seen: bool = False) -> Evidence:
    """That a share of networks above the threshold solves a task; `at` is a row of what `solvers` gives."""
    of: Any = table.loc[at]
    ends = of["low"], of["high"]
    return Evidence(condition, of["share"], ends, "share of networks", "above", threshold, basis="margin", seen=seen)


def solved_more_often(
    table: pd.DataFrame, ours: tuple, rival: tuple, condition: str, *, name: str, by: float, seen: bool = False
) -> Evidence:
    """That more of our networks solve a task than of a rival's; both are rows of what `solvers` gives."""
    a, b = table.loc[ours], table.loc[rival]
    ends = share_difference_interval(a["solved"], a["of"], b["solved"], b["of"])
    effect, unit = a["share"] - b["share"], "difference of shares"
    return Evidence(condition, effect, ends, unit, "above", by, rival=name, basis="margin", seen=seen)
