"""The parameters of a notebook run, validated before anything runs."""

import ast
import difflib
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import papermill

from artifact.errors import ArtifactError
from artifact.paths import NOTEBOOKS, ROOT, notebooks

TIERS = ("smoke", "paper", "extended")


def of_tier(notebook: str, tier: str) -> dict[str, Any]:
    """What a tier changes in a notebook's parameters, from notebooks/tiers.toml; the paper changes nothing."""
    tiers = tomllib.loads((ROOT / NOTEBOOKS / "tiers.toml").read_text(encoding="utf-8"))
    for name, changes in tiers.items():
        if name not in notebooks() or not set(changes) <= set(TIERS) - {"paper"}:
            raise ArtifactError(f"tiers.toml: expected [NOTEBOOK.smoke] or [NOTEBOOK.extended], got [{name}.…]")
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


def resolve(notebook: Path, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """All parameters of a run: the notebook's own, with those that are overridden.

    Raises `ArtifactError` for a name that the notebook does not have or a value of another type.
    """
    own = {name: _literal(p["default"]) for name, p in papermill.inspect_notebook(notebook).items()}
    for name, value in overrides.items():
        if name not in own:
            close = difflib.get_close_matches(name, own, 1)
            hint = f"did you mean {close[0]!r}?" if close else "it has " + ", ".join(own)
            raise ArtifactError(f"parameter: {notebook.name} has no parameter {name!r}; {hint}")
        default = own[name]
        if type(value) is not type(default) and (type(value), type(default)) != (int, float):
            raise ArtifactError(
                f"parameter {name}: expected {type(default).__name__} like {default!r}, "
                f"got {type(value).__name__} {value!r}"
            )
    return own | dict(overrides)


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return text
