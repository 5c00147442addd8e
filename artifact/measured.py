"""Results of long studies, kept with what they were measured from, where and when."""

import datetime
import json
import os
import platform
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from artifact import provenance
from artifact.paths import MEASURED, RESULTS, ROOT

if TYPE_CHECKING:
    import pandas as pd


def keep(notebook: str, source: Path, parameters: Mapping, inputs: Mapping) -> None:
    """Keeps a notebook's result tables in data/measured/."""
    tables = sorted((source / RESULTS).glob(f"{notebook}_*.csv"))
    command = f"python -m artifact.execute {notebook} --tier extended"
    keep_tables(notebook, tables, command, inputs, parameters=dict(parameters))


def keep_table(study: str, name: str, table: "pd.DataFrame", command: str, **more: Any) -> None:
    """Keeps one data frame in data/measured/, with ten digits."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"{study}_{name}.csv")
        table.to_csv(path, index=False, lineterminator="\n", float_format="%.10g")
        keep_tables(study, [path], command, **more)


def keep_tables(
    study: str, tables: Sequence[Path], command: str, inputs: Mapping[str, str] | None = None, **more: Any
) -> None:
    """Copies tables into data/measured/; their record, written last, makes them valid.

    `inputs` are the digests of what was measured: those of the package, unless given.
    """
    folder = ROOT / MEASURED
    folder.mkdir(parents=True, exist_ok=True)
    _record(study).unlink(missing_ok=True)
    for table in tables:
        shutil.copyfile(table, folder / table.name)
    record = {
        "files": [table.name for table in tables],
        "command": command,
        "date": datetime.date.today().isoformat(),
        "machine": f"{platform.system()} {platform.machine()}, {_processor()}",
        "python": platform.python_version(),
        "versions": {package: version(package) for package in ("jax", "jaxlib", "numpy", "optax", "equinox")},
        "inputs": dict(inputs or provenance.package()),
        **more,
    }
    new = _record(study).with_suffix(".new")
    new.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    os.replace(new, _record(study))


def read_measured(
    study: str, name: str, where: Mapping[str, Any] | None = None, **options: Any
) -> "tuple[pd.DataFrame, dict]":
    """A kept table and its record; both empty if the study has never been run, not with this table, or elsewhere.

    `where` are parameters that the study must have had; `options` are those of `pandas.read_csv`.
    """
    import pandas as pd  # here, because the commands of the pipeline do not need it and should start at once

    record, table = record_of(study, where), f"{study}_{name}.csv"
    if table not in record.get("files", []):
        return pd.DataFrame(), {}
    return pd.read_csv(ROOT / MEASURED / table, **options), record


def record_of(study: str, where: Mapping[str, Any] | None = None) -> dict:
    """What is written down about a kept study; nothing if it has never been run, or not with those parameters."""
    record = json.loads(_record(study).read_text(encoding="utf-8")) if _record(study).is_file() else {}
    had = record.get("parameters", {})
    return {} if any(had.get(key) != value for key, value in (where or {}).items()) else record


def _record(study: str) -> Path:
    return ROOT / MEASURED / f"{study}_provenance.json"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{len(models)} × {models[0]}" if models else platform.processor() or "processor unknown"
