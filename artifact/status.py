"""Says which figure came from which inputs, and what is stale."""

import functools
import json
from pathlib import Path

import pandas as pd
from PIL import Image

from artifact import provenance, times
from artifact.errors import run
from artifact.paths import FIGURES, MEASURED, ROOT, notebooks


def figures() -> pd.DataFrame:
    """One row a figure: its notebook, tier, the digests of its inputs, and what has changed since."""
    current = {name: provenance.inputs(name) for name in notebooks()}
    rows = []
    for path in sorted((ROOT / FIGURES).glob("*.png")):
        record = read(path)
        inputs = record.get("inputs", {})
        now = current.get(record.get("notebook", ""))
        stale = ["notebook is gone"] if now is None else provenance.changed(inputs, now)
        row = {"figure": path.name, "made by": record.get("notebook", "?"), "tier": record.get("tier", "?")}
        row |= {kind: inputs.get(kind, "?")[:8] for kind in ("package", "notebook", "lock", "measured")}
        rows.append(row | {"stale": ", ".join(stale)})
    return pd.DataFrame(rows)


def read(path: Path) -> dict:
    """The provenance inside a PNG; empty if it has none."""
    with Image.open(path) as image:
        return json.loads(image.info.get(provenance.KEY, "{}"))


def studies() -> list[str]:
    """A line for each kept study: when it was measured, and what has changed since."""
    lines, package, inputs = [], provenance.package(), functools.cache(provenance.inputs)
    for path in sorted((ROOT / MEASURED).glob("*_provenance.json")):
        record, study = json.loads(path.read_text(encoding="utf-8")), path.stem.removesuffix("_provenance")
        notebook = study.removesuffix("_rehearsal")
        now = inputs(notebook) if notebook in notebooks() else package
        now = {kind: now[kind] for kind in ("package", "lock", "notebook") if kind in now}
        since = ", ".join(provenance.changed(record["inputs"], now)) or "nothing" if "inputs" in record else "not known"
        lines.append(f"{MEASURED}/{study}: measured {record['date']}; changed since: {since}")
    return lines


def main() -> None:
    table = figures()
    made = set(table["made by"]) if len(table) else set()
    if len(table):
        table["stale"] = table["stale"].where(table["stale"] != "", "no")
        print(table.drop(columns="made by").to_string(index=False))
    missing = [f"{notebook}: has no figure yet: make figures" for notebook in notebooks() if notebook not in made]
    for line in (*missing, *times.lines(), *studies()):
        print(line)


if __name__ == "__main__":
    run(main)
