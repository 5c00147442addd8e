"""Who knows whom, as CONTRIBUTING says it: read from the import statements."""

import ast
import re

import pytest

from artifact.paths import NOTEBOOKS, ROOT, notebooks
from artifact.provenance import code


def imported(source):
    """Every name that a source imports, dotted in full."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize(
    ("folder", "stranger"),
    [
        ("rtrl", "artifact"),
        ("rtrl/cells", "rtrl.estimators"),
        ("rtrl/cells", "rtrl.learner"),
        ("rtrl/estimators", "rtrl.learner"),
        ("rtrl/estimators", "rtrl.gradient"),
        ("rtrl/tasks", "rtrl.estimators"),
        ("artifact/data", "rtrl.estimators"),
    ],
)
def test_no_module_imports_what_it_must_not_know(folder, stranger):
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files
    for path in files:
        known = list(imported(path.read_text(encoding="utf-8")))
        assert not [name for name in known if f"{name}.".startswith(f"{stranger}.")], path


def test_the_artifact_uses_public_names_of_the_package_only():
    for path in (ROOT / "artifact").rglob("*.py"):
        known = imported(path.read_text(encoding="utf-8"))
        assert not [name for name in known if re.match(r"rtrl(\.\w+)*\._[a-z]", name)], path


@pytest.mark.parametrize("name", notebooks())
def test_notebooks_use_public_names_only(name):
    source = code(ROOT / NOTEBOOKS / f"{name}.ipynb")
    private = re.compile(r"\b(rtrl|artifact)(\.\w+)*\._[a-z]")
    assert not [found for found in imported(source) if private.match(found)]
    assert not private.search(source)
