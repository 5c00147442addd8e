"""The ledger of claims: a verdict is computed from evidence, never written."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Literal

Outcome = Literal["for", "against", "equivalent", "undecided"]
Kind = Literal["supported", "in places", "equivalent", "not supported", "cannot tell"]
Basis = Literal["no difference", "theory", "published", "margin"]


@dataclasses.dataclass(frozen=True)
class Evidence:
    """One measured effect that bears on a claim, under one condition.

    `effect` with its `interval` (low, high) is in `units`; the claim holds under this `condition` if the
    whole interval lies on the named side of `threshold`. An effect that does not vary has interval (x, x).
    `basis` says where the threshold comes from; `rival`, against whom, if anybody, the effect was measured; `margin`,
    in `units`, which difference from the threshold would not matter: a whole interval within it means that the two
    are equivalent (two one-sided tests). `seen`: the threshold, or a setting on our side only, was chosen with results
    in sight, so that the piece can speak against the claim but not for it. `single`: of one network, whose interval
    does not know how networks differ, so that it decides nothing. `timed`: it rests on measured times, and its
    interval is that of `artifact.timing.elsewhere`, which stands in for a rehearsal.
    `scatter`, in `units` too, is how far the end next to the threshold moved in the rehearsal: the interval must
    lie beyond the threshold by more than that to decide anything.
    Raises `ValueError` if the interval does not contain the effect, or scatter or margin are negative.
    """

    condition: str
    effect: float
    interval: tuple[float, float]
    units: str
    side: Literal["below", "above"]
    threshold: float
    scatter: float = 0.0
    rival: str = ""
    margin: float = 0.0
    basis: Basis = "no difference"
    seen: bool = False
    single: bool = False
    timed: bool = False

    def __post_init__(self):
        low, high = self.interval
        if not low <= self.effect <= high:
            raise ValueError(f"interval: expected low <= {self.effect} <= high, got ({low}, {high})")
        for name in ("scatter", "margin"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name}: expected at least 0, got {getattr(self, name)}")

    @property
    def outcome(self) -> Outcome:
        """`equivalent` if the whole interval lies within the margin, else `for` or `against` if it lies beyond the
        threshold, each by more than the scatter; `undecided` otherwise, for what is `for` with the result seen, and
        for a single network.
        """
        if self.single:
            return "undecided"
        below, above = (self.room(at) > 0 for at in ("below", "above"))
        if self.margin and self.room("margin") > 0:
            return "equivalent"
        if not (below or above):
            return "undecided"
        if below != (self.side == "below"):
            return "against"
        return "undecided" if self.seen else "for"

    def room(self, place: Literal["below", "above", "margin"]) -> float:
        """By how much more than the scatter the interval lies below or above the threshold, or within the margin."""
        low, high = self.interval
        within = min(low - self.threshold, self.threshold - high) + self.margin
        return {"below": self.threshold - high, "above": low - self.threshold, "margin": within}[place] - self.scatter


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

        With none for it, `not supported` if one is against it, `equivalent` if all are, and `cannot tell` otherwise.
        """
        outcomes = {e.outcome for e in self.evidence}
        if "for" in outcomes:
            return "supported" if outcomes == {"for"} else "in places"
        if "against" in outcomes:
            return "not supported"
        return "equivalent" if outcomes == {"equivalent"} else "cannot tell"

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
