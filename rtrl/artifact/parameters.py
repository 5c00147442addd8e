"""The parameters of a notebook run, validated before anything runs."""

import ast
import difflib
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import papermill

from rtrl.artifact.errors import ArtifactError
from rtrl.artifact.paths import NOTEBOOKS, ROOT

TIERS = ("smoke", "paper", "extended")


def of_tier(notebook: str, tier: str) -> dict[str, Any]:
    """What a tier changes in a notebook's parameters, from notebooks/tiers.toml; the paper changes nothing."""
    tiers = tomllib.loads((ROOT / NOTEBOOKS / "tiers.toml").read_text(encoding="utf-8"))
    return {} if tier == "paper" else {"tier": tier, **tiers.get(notebook, {}).get(tier, {})}


def parse(assignments: Sequence[str]) -> dict[str, Any]:
    """`["seeds=3", "rates=[0.1]"]` as a dictionary; what is no Python literal is text."""
    parsed = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals:
            raise ArtifactError(f"parameter: expected NAME=VALUE, got {assignment!r}")
        parsed[name] = _literal(value)
    return parsed


def validate(notebook: Path, parameters: Mapping[str, Any]) -> None:
    """Raises `ArtifactError` for a name that the notebook does not have or a value of another type."""
    known = {name: p["default"] for name, p in papermill.inspect_notebook(notebook).items()}
    for name, value in parameters.items():
        if name not in known:
            close = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {close[0]!r}?" if close else "it has " + ", ".join(known)
            raise ArtifactError(f"parameter: {notebook.name} has no parameter {name!r}; {hint}")
        default = _literal(known[name])
        if type(value) is not type(default):
            raise ArtifactError(
                f"parameter {name}: expected {type(default).__name__} like {default!r}, "
                f"got {type(value).__name__} {value!r}"
            )


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return text
