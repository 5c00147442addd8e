"""The ledger of claims: a verdict is computed from evidence, never written."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Literal

Outcome = Literal["for", "against", "undecided"]
Kind = Literal["supported", "in places", "not supported", "cannot tell"]


@dataclasses.dataclass(frozen=True)
class Evidence:
    """One measured effect that bears on a claim, under one condition.

    `effect` with its `interval` (low, high) is in `units`; the claim holds under this `condition` if the
    whole interval lies on the named side of `threshold`. An effect that does not vary has interval (x, x).
    `scatter`, in `units` too, is how far the end next to the threshold moved in the rehearsal: the interval must
    lie beyond the threshold by more than that to decide anything.
    Raises `ValueError` if the interval does not contain the effect, or the scatter is negative.
    """

    condition: str
    effect: float
    interval: tuple[float, float]
    units: str
    side: Literal["below", "above"]
    threshold: float
    scatter: float = 0.0

    def __post_init__(self):
        low, high = self.interval
        if not low <= self.effect <= high:
            raise ValueError(f"interval: expected low <= {self.effect} <= high, got ({low}, {high})")
        if not self.scatter >= 0:
            raise ValueError(f"scatter: expected at least 0, got {self.scatter}")

    @property
    def outcome(self) -> Outcome:
        """`for` or `against` if the whole interval lies more than the scatter beyond the threshold, or `undecided`."""
        low, high = self.interval
        below, above = self.threshold - high > self.scatter, low - self.threshold > self.scatter
        if not (below or above):
            return "undecided"
        return "for" if below == (self.side == "below") else "against"


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
    def kind(self) -> Kind:
        """`supported` if every piece of evidence is for it, `in places` if some are.

        With none for it, `not supported` if one is against it, and `cannot tell` if all are undecided.
        """
        outcomes = {e.outcome for e in self.evidence}
        if "for" in outcomes:
            return "supported" if outcomes == {"for"} else "in places"
        return "not supported" if "against" in outcomes else "cannot tell"

    @property
    def verdict(self) -> str:
        """The kind in words; `supported when` names the conditions under which it holds in places."""
        if self.kind != "in places":
            return self.kind
        return "supported when " + "; ".join(e.condition for e in self.evidence if e.outcome == "for")

    def record(self) -> dict:
        """The row as plain data, outcomes and verdict included."""
        evidence = [dataclasses.asdict(e) | {"outcome": e.outcome} for e in self.evidence]
        return {"name": self.name, "statement": self.statement, "evidence": evidence, "verdict": self.verdict}

    @classmethod
    def of(cls, record: Mapping) -> "Claim":
        """The claim that a record is of; its outcomes and verdict are computed anew."""
        pieces = [{name: value for name, value in e.items() if name != "outcome"} for e in record["evidence"]]
        evidence = [Evidence(**{**e, "interval": tuple(e["interval"])}) for e in pieces]
        return cls(record["name"], record["statement"], evidence)
