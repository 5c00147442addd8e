"""The ledger of claims: a verdict is computed from evidence, never written."""

import dataclasses
from collections.abc import Sequence
from typing import Literal


@dataclasses.dataclass(frozen=True)
class Evidence:
    """One measured effect that bears on a claim, under one condition.

    `effect` with its `interval` (low, high) is in `units`; the claim holds under this `condition` if the
    whole interval lies on the named side of `threshold`. An effect without scatter has interval (x, x).
    Raises `ValueError` if the interval does not contain the effect.
    """

    condition: str
    effect: float
    interval: tuple[float, float]
    units: str
    side: Literal["below", "above"]
    threshold: float

    def __post_init__(self):
        low, high = self.interval
        if not low <= self.effect <= high:
            raise ValueError(f"interval: expected low <= {self.effect} <= high, got ({low}, {high})")

    @property
    def supports(self) -> bool:
        low, high = self.interval
        return high < self.threshold if self.side == "below" else low > self.threshold


@dataclasses.dataclass(frozen=True)
class Claim:
    """A row of the ledger: the claim in words, and the evidence for and against it.

    Raises `ValueError` if there is no evidence.
    """

    name: str
    statement: str
    evidence: Sequence[Evidence]

    def __post_init__(self):
        if not self.evidence:
            raise ValueError(f"evidence: expected at least one Evidence for claim {self.name!r}, got none")

    @property
    def verdict(self) -> str:
        """`supported`, `not supported`, or `supported when` naming the conditions under which it held."""
        held = [e.condition for e in self.evidence if e.supports]
        if len(held) == len(self.evidence):
            return "supported"
        return "supported when " + "; ".join(held) if held else "not supported"

    def record(self) -> dict:
        """The row as plain data, the verdict included."""
        return dataclasses.asdict(self) | {"verdict": self.verdict}
