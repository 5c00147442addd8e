"""What a figure was made from, as digests that can be checked later."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from artifact.meaning import meaning, modules
from artifact.paths import MEASURED, NOTEBOOKS, RESULTS, ROOT, tier_root

KEY = "rtrl"
"""The name of the PNG text chunk that holds the provenance, and of an executed notebook's metadata."""

LEDGER = ROOT / "artifact" / "ledger.py"


def inputs(notebook: str, overrides: Mapping | None = None) -> dict[str, str]:
    """The digests of everything that a notebook's outputs depend on, by kind of input.

    What code means counts, in the notebook and in the modules that it imports, directly or not; comments, prose and
    stored outputs do not.
    """
    source, overrides = code(ROOT / NOTEBOOKS / f"{notebook}.ipynb"), dict(overrides or {})
    files = modules(source)
    return {
        **software(files),
        **(_claims(notebook, overrides.get("tier", "paper")) if LEDGER in files else {}),
        "notebook": _digest(meaning(source).encode()),
        "overrides": _digest(json.dumps(overrides, sort_keys=True).encode()),
        "measured": _digest_files(sorted((ROOT / MEASURED).glob(f"{notebook}_*"))),
    }


def package() -> dict[str, str]:
    """The digests for what is measured outside of notebooks: all of the package `rtrl`."""
    return software(sorted((ROOT / "rtrl").rglob("*.py")))


def software(files: Iterable[Path]) -> dict[str, str]:
    """The digests of some modules of this repository and of all that they stand on."""
    return {"package": _digest_files(files), "lock": _digest_files([ROOT / "requirements.lock"])}


def _claims(notebook: str, tier: str) -> dict[str, str]:
    """The digest of what the ledger reads: the claims of all other notebooks."""
    files = sorted((tier_root(tier) / RESULTS).glob("*_claims.json"))
    return {"claims": _digest_files(path for path in files if not path.name.startswith(notebook))}


def code(path: Path) -> str:
    """The code cells of a notebook, one after the other."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")


def changed(recorded: Mapping, current: Mapping) -> list[str]:
    """The kinds of input whose digest is no longer the recorded one."""
    return [kind for kind in current if recorded.get(kind) != current[kind]]


def _digest_files(paths: Iterable[Path]) -> str:
    lines = (f"{path.relative_to(ROOT).as_posix()} {_digest(_content(path))}" for path in paths)
    return _digest("\n".join(lines).encode())


def _content(path: Path) -> bytes:
    return meaning(path.read_text(encoding="utf-8")).encode() if path.suffix == ".py" else path.read_bytes()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def sign(executed: Path, inputs: Mapping, outputs: Mapping[str, Path]) -> None:
    """Writes into an executed notebook what it was made from and what it made: name and present file of each output."""
    content = json.loads(executed.read_text(encoding="utf-8"))
    made = {name: _digest(path.read_bytes()) for name, path in outputs.items()}
    content["metadata"][KEY] = {"inputs": dict(inputs), "outputs": made}
    executed.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def up_to_date(executed: Path, inputs: Mapping, destination: Path) -> bool:
    """Whether a notebook was executed on these inputs, and all that it made is still there as it made it."""
    if not executed.is_file():
        return False
    record = json.loads(executed.read_text(encoding="utf-8"))["metadata"].get(KEY, {})
    outputs = record.get("outputs", {}).items()
    return record.get("inputs") == dict(inputs) and all(
        (destination / name).is_file() and _digest((destination / name).read_bytes()) == digest
        for name, digest in outputs
    )
