"""Results of long studies, kept with where and when they were measured."""

import datetime
import json
import platform
import shutil
from importlib.metadata import version
from pathlib import Path

import pandas as pd

from rtrl.artifact.paths import MEASURED, RESULTS, ROOT


def keep(notebook: str, source: Path) -> None:
    """Copies a notebook's result tables into data/measured/, beside a record of machine, versions and date."""
    folder = ROOT / MEASURED
    folder.mkdir(parents=True, exist_ok=True)
    tables = sorted((source / RESULTS).glob(f"{notebook}_*.csv"))
    record = {
        "files": [table.name for table in tables],
        "command": "make extended",
        "date": datetime.date.today().isoformat(),
        "machine": f"{platform.system()} {platform.machine()}, {_processor()}",
        "python": platform.python_version(),
        "versions": {package: version(package) for package in ("jax", "jaxlib", "numpy", "optax")},
    }
    for table in tables:
        shutil.copyfile(table, folder / table.name)
    (folder / f"{notebook}_provenance.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def read_measured(notebook: str, name: str) -> tuple[pd.DataFrame, dict]:
    """A kept table and its record; both empty if the study has never been run."""
    folder = ROOT / MEASURED
    if not (folder / f"{notebook}_provenance.json").is_file():
        return pd.DataFrame(), {}
    record = json.loads((folder / f"{notebook}_provenance.json").read_text(encoding="utf-8"))
    return pd.read_csv(folder / f"{notebook}_{name}.csv"), record


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{len(models)} × {models[0]}" if models else platform.processor() or "processor unknown"
