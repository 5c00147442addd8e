"""Every notebook once more as on another machine: what would `make test` and the ledger say there?

Initial weights and streams are changed by one unit in the last place, an honest stand-in for another processor's
rounding. Says which compared cells leave their tolerance, which pieces of evidence change sides, and which claims
their verdict; ends with status 1 if a cell or a claim did.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path

import nbformat

from artifact import provenance
from artifact.claims import Evidence
from artifact.comparing import differing_cells
from artifact.errors import ArtifactError, run
from artifact.execute import run_papermill
from artifact.paths import BUILD, NOTEBOOKS, RESULTS, ROOT, notebooks

NUDGE = "from artifact.rounding import nudge\n\nnudge()"


def rehearse(notebook: str) -> tuple[list[str], list[str], list[str]]:
    """Executes a nudged notebook in build/rehearsal/: the cells, pieces of evidence and claims that differ."""
    folder = ROOT / BUILD / "rehearsal"
    source, executed = folder / ".nudged" / f"{notebook}.ipynb", folder / f"{notebook}.ipynb"
    source.parent.mkdir(parents=True, exist_ok=True)
    reference = nbformat.read(ROOT / NOTEBOOKS / f"{notebook}.ipynb", as_version=4)
    nudged = deepcopy(reference)
    nudged.cells.insert(0, nbformat.v4.new_code_cell(NUDGE, id="nudge"))
    nbformat.write(nudged, source)
    reads_claims = "claims" in provenance.inputs(notebook)
    run_papermill(notebook, executed, folder, {"tier": "rehearsal"} if reads_claims else {}, source)
    cells = differing_cells(nbformat.read(executed, as_version=4), reference)
    return cells, *_changed(_claims(ROOT, notebook), _claims(folder, notebook))


def _claims(root: Path, notebook: str) -> dict[str, dict]:
    path = root / RESULTS / f"{notebook}_claims.json"
    if not path.is_file():
        return {}
    return {claim["name"]: claim for claim in json.loads(path.read_text(encoding="utf-8"))}


def _changed(before: dict[str, dict], after: dict[str, dict]) -> tuple[list[str], list[str]]:
    """Pieces of evidence that changed sides, and claims that changed their verdict."""
    pieces, claims = [], []
    for name, claim in before.items():
        there = after.get(name, {"verdict": "no verdict", "evidence": []})
        now = {piece["condition"]: piece for piece in there["evidence"]}
        changed = [p for p in claim["evidence"] if _side(p) != _side(now.get(p["condition"], p))]
        pieces += [f"{name}: {_text(p)} here, {_text(now[p['condition']])} there" for p in changed]
        if _kind(claim) != _kind(there):
            claims.append(f"{name}: {_kind(claim)} here, {_kind(there)} there")
    return pieces, claims


def _side(piece: dict) -> bool:
    return Evidence(**piece).supports


def _text(piece: dict) -> str:
    low, high = piece["interval"]
    return (
        f"{piece['condition']} {piece['effect']:.3g} [{low:.3g}, {high:.3g}] {piece['side']} {piece['threshold']:.3g}"
    )


def _kind(claim: dict) -> str:
    """Supported, not supported, or in places."""
    return "in places" if claim["verdict"].startswith("supported when") else claim["verdict"]


def _report(notebook: str) -> Iterator[str]:
    cells, pieces, claims = rehearse(notebook)
    yield f"{notebook}: {len(cells)} cells, {len(pieces)} pieces of evidence, {len(claims)} claims come out otherwise"
    yield from (f"  cell {line}" for line in cells)
    yield from (f"  evidence {line}" for line in pieces)
    yield from (f"  claim {line}" for line in claims)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m artifact.rehearse", description=__doc__)
    parser.add_argument("notebook", nargs="*", help="all of them, unless named")
    wanted = parser.parse_args().notebook or notebooks()
    if unknown := sorted(set(wanted) - set(notebooks())):
        raise ArtifactError(f"notebook: expected one of {', '.join(notebooks())}, got {', '.join(unknown)}")
    failed = False
    for notebook in wanted:
        for line in _report(notebook):
            print(line, flush=True)
            failed |= line.startswith(("  cell", "  claim"))
    sys.exit(failed)


if __name__ == "__main__":
    run(main)
