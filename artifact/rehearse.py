"""Every notebook once more, as on another machine: what would `make test` and the ledger say there?

Initial weights and streams are changed by one unit in the last place, an honest stand-in for another processor's
rounding. Says which compared cells leave their tolerance, which pieces of evidence have another outcome, and which
claims another verdict; ends with status 1 if a cell or a claim did. How far the end of an interval next to the
threshold moved is kept in data/measured/: the margin of the next run. With another seed instead, cells are not
compared, and nothing is kept.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from copy import deepcopy
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from artifact import parameters, provenance, scatter
from artifact.claims import Claim, Evidence
from artifact.comparing import differing_cells
from artifact.errors import ArtifactError, run
from artifact.execute import run_papermill
from artifact.paths import BUILD, NOTEBOOKS, RESULTS, ROOT, notebooks

NUDGE = "from artifact.rounding import nudge\n\nnudge()"


def rehearse(notebook: str) -> dict[str, list[str]]:
    """Executes a nudged notebook in build/rehearsal/: the cells, pieces of evidence and claims that differ."""
    folder = ROOT / BUILD / "rehearsal"
    source, executed = folder / ".nudged" / f"{notebook}.ipynb", folder / f"{notebook}.ipynb"
    source.parent.mkdir(parents=True, exist_ok=True)
    reference = nbformat.read(ROOT / NOTEBOOKS / f"{notebook}.ipynb", as_version=4)
    nbformat.write(_nudged(reference), source)
    run_papermill(notebook, executed, folder, _tier(notebook, folder), source)
    cells = differing_cells(nbformat.read(executed, as_version=4), reference)
    here, there = _claims(ROOT, notebook), _claims(folder, notebook)
    changed = _changed(notebook, here, there)
    scatter.keep(notebook, scatter.moved((claim, there[name]) for name, claim in here.items() if name in there), folder)
    return {"cells": cells, **changed}


def reseed(notebook: str, seed: int) -> dict[str, list[str]]:
    """Executes a notebook with another seed in build/seed_N/: the pieces of evidence and claims that differ."""
    folder = ROOT / BUILD / f"seed_{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    run_papermill(notebook, folder / f"{notebook}.ipynb", folder, {"seed": seed} | _tier(notebook, folder))
    return _changed(notebook, _claims(ROOT, notebook), _claims(folder, notebook))


def _nudged(reference: NotebookNode) -> NotebookNode:
    nudged = deepcopy(reference)
    nudged.cells.insert(0, nbformat.v4.new_code_cell(NUDGE, id="nudge"))
    return nudged


def _tier(notebook: str, folder: Path) -> dict[str, str]:
    """A notebook that reads claims reads those of the same folder."""
    return {"tier": folder.name} if "claims" in provenance.inputs(notebook) else {}


def _claims(root: Path, notebook: str) -> dict[str, Claim]:
    path = root / RESULTS / f"{notebook}_claims.json"
    records = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    return {record["name"]: Claim.of(record) for record in records}


def _changed(notebook: str, here: Mapping[str, Claim], there: Mapping[str, Claim]) -> dict[str, list[str]]:
    """Pieces of evidence with another outcome, and claims with another verdict, by the scatter kept now for both."""
    kept = scatter.read(notebook)
    here, there = ({name: scatter.applied(c, kept) for name, c in claims.items()} for claims in (here, there))
    pieces, claims = [], []
    for name, claim in here.items():
        found = scatter.pairs(claim, there[name]) if name in there else ()
        pieces += [f"{name}: {_text(a)} here, {_text(b)} there" for a, b in found if a.outcome != b.outcome]
        before, after = claim.kind, there[name].kind if name in there else "no verdict"
        claims += [f"{name}: {before} here, {after} there"] if before != after else []
    return {"pieces of evidence": pieces, "claims": claims}


def _text(piece: Evidence) -> str:
    low, high = piece.interval
    margin = f" ± {piece.scatter:.2g}" if piece.scatter else ""
    return (
        f"{piece.condition} {piece.effect:.3g} [{low:.3g}, {high:.3g}] {piece.side} "
        f"{piece.threshold:.3g}{margin} ({piece.outcome})"
    )


def _report(notebook: str, changed: Mapping[str, list[str]]) -> Iterator[str]:
    counts = ", ".join(f"{len(found)} {kind}" for kind, found in changed.items())
    yield f"{notebook}: {counts} come out otherwise"
    words = {"cells": "cell", "pieces of evidence": "evidence", "claims": "claim"}
    yield from (f"  {words[kind]} {line}" for kind, found in changed.items() for line in found)


def _wanted(names: list[str], seed: int | None) -> list[str]:
    """The notebooks that were named, or all; with a seed, those that have one."""
    if unknown := sorted(set(names) - set(notebooks())):
        raise ArtifactError(f"notebook: expected one of {', '.join(notebooks())}, got {', '.join(unknown)}")
    wanted = names or notebooks()
    if seed is None:
        return wanted
    return [name for name in wanted if "seed" in parameters.resolve(ROOT / NOTEBOOKS / f"{name}.ipynb", {})]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m artifact.rehearse", description=__doc__)
    parser.add_argument("notebook", nargs="*", help="all of them, unless named")
    parser.add_argument("--seed", type=int, help="this seed, instead of another rounding")
    arguments = parser.parse_args()
    seed, failed = arguments.seed, False
    for notebook in _wanted(arguments.notebook, seed):
        changed = rehearse(notebook) if seed is None else reseed(notebook, seed)
        print(*_report(notebook, changed), sep="\n", flush=True)
        failed |= bool(changed.get("cells") or changed["claims"])
    sys.exit(failed)


if __name__ == "__main__":
    run(main)
