"""What a figure was made from, as digests that can be checked later."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from rtrl.artifact.paths import MEASURED, NOTEBOOKS, ROOT

KEY = "rtrl"
"""The name of the PNG text chunk that holds the provenance."""


def inputs(notebook: str, overrides: Mapping | None = None) -> dict[str, str]:
    """The digests of everything that a notebook's outputs depend on, by kind of input.

    The code of the notebook counts (its parameters among it), its prose and its stored outputs do not.
    """
    return {
        **software(),
        "notebook": _digest(code(ROOT / NOTEBOOKS / f"{notebook}.ipynb").encode()),
        "overrides": _digest(json.dumps(dict(overrides or {}), sort_keys=True).encode()),
        "measured": _digest_files(sorted((ROOT / MEASURED).glob(f"{notebook}_*"))),
    }


def software() -> dict[str, str]:
    """The digests of the package and of all that it stands on."""
    return {
        "package": _digest_files(sorted((ROOT / "rtrl").rglob("*.py"))),
        "lock": _digest_files([ROOT / "requirements.lock"]),
    }


def code(path: Path) -> str:
    """The code cells of a notebook, one after the other."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")


def changed(recorded: Mapping, current: Mapping) -> list[str]:
    """The kinds of input whose digest is no longer the recorded one."""
    return [kind for kind in current if recorded.get(kind) != current[kind]]


def _digest_files(paths: Iterable[Path]) -> str:
    lines = (f"{path.relative_to(ROOT).as_posix()} {_digest(path.read_bytes())}" for path in paths)
    return _digest("\n".join(lines).encode())


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
