"""What Python source means: its syntax without comments and docstrings, and the modules that it imports."""

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

from artifact.paths import ROOT

PACKAGES = ("artifact", "rtrl")


@functools.cache
def meaning(source: str) -> str:
    """The source as its syntax tree says it: a change of a comment, a docstring or the layout leaves it as it is."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [line for line in node.body if not _is_text(line)] or [ast.Pass()]
    return ast.unparse(tree)


def modules(source: str) -> list[Path]:
    """The files of this repository's packages that a source imports, and all that they import in turn, sorted."""
    found: set[Path] = set()
    waiting = list(_imported(source))
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += _imported(path.read_text(encoding="utf-8"))
    return sorted(found)


@functools.cache
def _imported(source: str) -> frozenset[Path]:
    """The files of the modules that a source names in its import statements, with the packages around them."""
    return frozenset(path for name in _names(ast.parse(source)) for path in _files(name))


def _names(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _files(name: str) -> Iterator[Path]:
    """Of `rtrl.cells.GRUCell`: rtrl/__init__.py and rtrl/cells/__init__.py; the last part is no module."""
    parts = name.split(".")
    if parts[0] in PACKAGES:
        for end in range(1, len(parts) + 1):
            stem = ROOT.joinpath(*parts[:end])
            yield from (path for path in (stem / "__init__.py", stem.with_suffix(".py")) if path.is_file())


def _is_text(line: ast.stmt) -> bool:
    return isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant) and isinstance(line.value.value, str)
