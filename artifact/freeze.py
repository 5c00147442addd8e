"""Puts the outputs of the executed notebooks back into notebooks/, without anything volatile."""

import os
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from artifact import provenance, times
from artifact.errors import ArtifactError, run
from artifact.paths import BUILD, NOTEBOOKS, ROOT, notebooks

METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def freeze(notebook: str) -> bool:
    """Stores an executed notebook's outputs in its source; says whether that changed the file.

    Raises `ArtifactError` if the notebook has not been executed since its code changed, or holds an error
    or a warning.
    """
    source, executed = ROOT / NOTEBOOKS / f"{notebook}.ipynb", ROOT / BUILD / "paper" / f"{notebook}.ipynb"
    if not executed.is_file() or provenance.code(executed) != provenance.code(source):
        raise ArtifactError(f"{notebook}: expected it executed as it is, found no such run; make figures")
    text = nbformat.writes(clean(_with_outputs(source, executed), notebook)) + "\n"
    changed = text != source.read_text(encoding="utf-8")
    if changed:
        before, new = source.stat(), source.with_suffix(".new")
        new.write_text(text, encoding="utf-8")
        os.utime(new, ns=(before.st_atime_ns, before.st_mtime_ns))  # same code: nothing becomes stale
        os.replace(new, source)
    return changed


def _with_outputs(source: Path, executed: Path) -> NotebookNode:
    """The source as it is now, prose included, with the outputs of the executed code cells."""
    node, ran = nbformat.read(source, as_version=4), nbformat.read(executed, as_version=4)
    code, code_that_ran = ([c for c in n.cells if c.cell_type == "code"] for n in (node, ran))
    for cell, other in zip(code, code_that_ran, strict=True):
        cell.outputs, cell.execution_count = other.outputs, other.execution_count
    return node


def clean(node: NotebookNode, name: str) -> NotebookNode:
    """The notebook without volatile metadata: only tags stay in cells, only the kernel in the notebook."""
    node.metadata = nbformat.from_dict(METADATA)
    for cell in node.cells:
        tags = cell.metadata.get("tags", [])
        cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
        for output in cell.get("outputs", []):
            if output.output_type == "error" or output.get("name") == "stderr":
                raise ArtifactError(f"{name}: expected no errors or warnings in outputs, got one in cell {cell.id}")
            if "metadata" in output:
                output.metadata = nbformat.from_dict({})
    return node


def main() -> None:
    for notebook in notebooks():
        print(f"{notebook}: {'outputs stored' if freeze(notebook) else 'unchanged'}")
    times.keep()


if __name__ == "__main__":
    run(main)
