"""How far a rehearsal moves the end of an interval: by that much evidence must lie beyond its threshold."""

import csv
import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from artifact import provenance
from artifact.claims import Claim, Evidence
from artifact.measured import keep_tables, read_measured

Scatter = Mapping[tuple[str, str], float]
"""By name of the claim and condition, in the units of the evidence."""


def pairs(here: Claim, there: Claim) -> Iterator[tuple[Evidence, Evidence]]:
    """The pieces of evidence under the same condition; those that share one condition in their order."""
    waiting = list(there.evidence)
    for piece in here.evidence:
        other = next((e for e in waiting if e.condition == piece.condition), None)
        if other:
            waiting.remove(other)
            yield piece, other


def moved(claims: Iterable[tuple[Claim, Claim]]) -> Scatter:
    """How far the end of an interval next to its threshold is from that in another run; the most under a condition.

    Not of times: another run says what else the machine did, not what rounding does.
    """
    found: dict[tuple[str, str], float] = {}
    for here, there in claims:
        for piece, other in ((a, b) for a, b in pairs(here, there) if not a.timed):
            end = min((0, 1), key=lambda i, e=piece: abs(e.interval[i] - e.threshold))
            ends, key = (piece.interval[end], other.interval[end]), (here.name, piece.condition)
            found[key] = max(0.0 if ends[0] == ends[1] else abs(ends[0] - ends[1]), found.get(key, 0.0))
    return found


def keep(notebook: str, scatter: Scatter, folder: Path) -> None:
    """Keeps a notebook's scatter in data/measured/, by way of a folder.

    What is kept already is not kept again: a record of another day would make the notebook stale.
    """
    if not scatter or scatter == read(notebook):
        return
    table = folder / f"{_study(notebook)}_evidence.csv"
    with table.open("w", encoding="utf-8", newline="") as file:
        rows = [(*key, distance) for key, distance in scatter.items()]
        csv.writer(file, lineterminator="\n").writerows([("claim", "condition", "scatter"), *rows])
    keep_tables(_study(notebook), [table], "make rehearse", inputs=provenance.inputs(notebook))


def read(notebook: str) -> Scatter:
    """The kept scatter of a notebook; empty if it has never been rehearsed."""
    table, _ = read_measured(_study(notebook), "evidence", dtype=str, keep_default_na=False)
    return {(claim, condition): float(text) for claim, condition, text in table.itertuples(index=False, name=None)}


def applied(claim: Claim, scatter: Scatter) -> Claim:
    """The claim with the scatter of each piece of evidence, 0 where there is none and for times."""
    of = [0.0 if e.timed else scatter.get((claim.name, e.condition), 0.0) for e in claim.evidence]
    evidence = [dataclasses.replace(e, scatter=distance) for e, distance in zip(claim.evidence, of, strict=True)]
    return dataclasses.replace(claim, evidence=evidence)


def _study(notebook: str) -> str:
    return f"{notebook}_rehearsal"
