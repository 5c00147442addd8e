"""The ledger: every claim that notebooks published, under the statements that people make."""

import dataclasses
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from artifact.claims import Claim, Evidence, Kind, Outcome
from artifact.errors import ArtifactError
from artifact.paths import RESULTS, tier_root
from artifact.statistics import holm, p_of_interval

Headings = Mapping[str, Mapping[str, Sequence[str]]]
"""For each heading its statements, and for each statement its claims."""


@dataclasses.dataclass(frozen=True)
class Piece:
    """A piece of evidence, with the notebook and the claim that it comes from."""

    notebook: str
    claim: str
    evidence: Evidence
    outcome_of_many: Outcome
    """The outcome when the family-wise error of the whole ledger is held at five percent (Holm)."""


@dataclasses.dataclass(frozen=True)
class Row:
    """A statement against one rival, or against none, under one heading, and all that bears on it."""

    heading: str
    statement: str
    rival: str
    pieces: Sequence[Piece]

    @property
    def kind(self) -> Kind:
        return Claim(self.statement, self.statement, [piece.evidence for piece in self.pieces]).kind


def published(tier: str) -> list[tuple[str, Claim]]:
    """The claims that a tier's notebooks published, each with its notebook.

    Raises `ArtifactError` if a verdict on file is not what its evidence says, or a name was used twice.
    """
    files = sorted((tier_root(tier) / RESULTS).glob("*_claims.json"))
    records = [record for file in files for record in json.loads(file.read_text(encoding="utf-8"))]
    claims = [_checked(record) for record in records]
    names = Counter(claim.name for claim in claims)
    if twice := [name for name, times in names.items() if times > 1]:
        raise ArtifactError(f"claims: expected every name once, got {', '.join(twice)} more than once")
    return [(record["notebook"], claim) for record, claim in zip(records, claims, strict=True)]


def only_published(headings: Headings, tier: str) -> Headings:
    """The headings without the claims that a tier has not published, and without statements left with none."""
    there = {claim.name for _, claim in published(tier)}
    return {
        heading: {row: [name for name in names if name in there] for row, names in rows.items() if there & {*names}}
        for heading, rows in headings.items()
    }


def ledger(headings: Headings, tier: str) -> list[Row]:
    """One row for each statement and each rival among its evidence, in the order of `headings`.

    Raises `ArtifactError` if a statement has no claim, a claim is not published, or a published one is under no
    statement: a statement without a computed verdict cannot stand.
    """
    statements = {row: names for rows in headings.values() for row, names in rows.items()}
    claims = published(tier)
    wanted, there = {name for names in statements.values() for name in names}, {claim.name for _, claim in claims}
    if empty := [row for row, names in statements.items() if not names]:
        raise ArtifactError(f"rows: expected at least one claim for each, got none for {'; '.join(empty)}")
    if missing := sorted(wanted - there):
        raise ArtifactError(f"rows: expected claims that a notebook publishes, got {', '.join(missing)}")
    if left := sorted(there - wanted):
        raise ArtifactError(f"rows: expected every published claim in a row, {', '.join(left)} is in none")
    pieces = _pieces(claims)
    return [
        row
        for heading, rows in headings.items()
        for statement, names in rows.items()
        for row in _by_rival(heading, statement, [piece for name in names for piece in pieces[name]])
    ]


def _by_rival(heading: str, statement: str, pieces: Iterable[Piece]) -> list[Row]:
    by_rival: dict[str, list[Piece]] = {}
    for piece in pieces:
        by_rival.setdefault(piece.evidence.rival, []).append(piece)
    return [Row(heading, statement, rival, found) for rival, found in by_rival.items()]


def _pieces(claims: Sequence[tuple[str, Claim]]) -> dict[str, list[Piece]]:
    """The pieces of each claim, decided as if alone and as some among many."""
    found = [(notebook, claim.name, e) for notebook, claim in claims for e in claim.evidence]
    stands = holm([_p(e) for *_, e in found])
    pieces: dict[str, list[Piece]] = {}
    for (notebook, name, e), remains in zip(found, stands, strict=True):
        pieces.setdefault(name, []).append(Piece(notebook, name, e, e.outcome if remains else "undecided"))
    return pieces


def _p(e: Evidence) -> float:
    """The p-value of an outcome: of no effect beyond the threshold, or of one beyond the margin; 0 of what is exact.

    Of times and their ratios by their logarithms, in which an interval that is wider by a factor is symmetric.
    """
    if e.timed and e.threshold > 0:
        effect, low, high, threshold = map(float, np.log([e.effect, *e.interval, e.threshold]))
        return p_of_interval(effect, (low, high), threshold)
    if e.outcome == "equivalent":
        return max(p_of_interval(e.effect, e.interval, e.threshold + sign * e.margin, e.scatter) for sign in (-1, 1))
    return p_of_interval(e.effect, e.interval, e.threshold, e.scatter)


def _checked(record: Mapping) -> Claim:
    claim = Claim.of(record)
    if claim.verdict != record["verdict"]:
        raise ArtifactError(f"claim {claim.name}: expected the verdict of its evidence, got {record['verdict']!r}")
    return claim
