"""Results of long studies, kept with what they were measured from, where and when."""

import datetime
import json
import os
import platform
import shutil
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import pandas as pd

from rtrl.artifact.paths import MEASURED, RESULTS, ROOT


def keep(notebook: str, source: Path, parameters: Mapping, inputs: Mapping) -> None:
    """Copies a notebook's result tables into data/measured/; their record, written last, makes them valid."""
    folder = ROOT / MEASURED
    folder.mkdir(parents=True, exist_ok=True)
    _record(notebook).unlink(missing_ok=True)
    tables = sorted((source / RESULTS).glob(f"{notebook}_*.csv"))
    for table in tables:
        shutil.copyfile(table, folder / table.name)
    record = {
        "files": [table.name for table in tables],
        "command": f"python -m rtrl.artifact.execute {notebook} --tier extended",
        "date": datetime.date.today().isoformat(),
        "machine": f"{platform.system()} {platform.machine()}, {_processor()}",
        "python": platform.python_version(),
        "versions": {package: version(package) for package in ("jax", "jaxlib", "numpy", "optax")},
        "parameters": dict(parameters),
        "inputs": dict(inputs),
    }
    new = _record(notebook).with_suffix(".new")
    new.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    os.replace(new, _record(notebook))


def read_measured(notebook: str, name: str) -> tuple[pd.DataFrame, dict]:
    """A kept table and its record; both empty if the study has never been run."""
    if not _record(notebook).is_file():
        return pd.DataFrame(), {}
    record = json.loads(_record(notebook).read_text(encoding="utf-8"))
    return pd.read_csv(ROOT / MEASURED / f"{notebook}_{name}.csv"), record


def _record(notebook: str) -> Path:
    return ROOT / MEASURED / f"{notebook}_provenance.json"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{len(models)} × {models[0]}" if models else platform.processor() or "processor unknown"
