"""The tables of a notebook's longer run, in place of those of the run that is going on."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from artifact.measured import read_measured, record_of


class KeptRun:
    """The run of a notebook in the extended tier, if data/measured/ has one that had the same parameters.

    `kept_only` names what only that run does. A run that does everything itself has an empty list, and keeps to its
    own tables.
    """

    def __init__(self, notebook: str, kept_only: Sequence[str], where: Mapping[str, Any]):
        self.notebook, self.kept_only, self.where = notebook, kept_only, where
        self.record = record_of(notebook, where) if kept_only else {}

    def left(self, names: Iterable[str]) -> list[str]:
        """Which of these the run that is going on does itself."""
        return [name for name in names if not self.record or name not in self.kept_only]

    def table(self, name: str, here: pd.DataFrame, by: Sequence[str] = (), value: str = "") -> pd.DataFrame:
        """The kept table; `here`, this run's own, if there is none.

        With `by` and `value` it prints whether every median of this run lies among the kept values of its group.
        Raises `ValueError` if the kept run has no such table.
        """
        if not self.record:
            return here
        kept, found = read_measured(self.notebook, name, self.where)
        if not found:
            raise ValueError(
                f"name: expected a table that the kept run has, got {name!r}: `make extended` runs it anew"
            )
        if by:
            print(f"measured on {self.record['date']} by `{self.record['command']}`")
            print("this run's medians lie among its values:", _among(here, kept, by, value))
        return kept


def _among(here: pd.DataFrame, kept: pd.DataFrame, by: Sequence[str], value: str) -> bool:
    """Whether every group's median lies between the group's ends, or is equal to one but for rounding."""
    medians = here.groupby(by)[value].median()
    ends = kept.groupby(by)[value].agg(["min", "max"]).loc[medians.index]
    slack = 1e-3 * medians.abs()
    return bool(medians.between(ends["min"] - slack, ends["max"] + slack).all())
