"""nbval compares re-run notebooks with their reference outputs as artifact/comparing.py says.

A notebook that `make figures` has just executed, from this code, is not executed again: what it printed is compared.
"""

import functools
from pathlib import Path

import nbformat
import pytest
from nbval.plugin import IPyNbCell, NbCellError, coalesce_streams

from artifact import provenance
from artifact.comparing import agree, tolerance_of
from artifact.paths import BUILD, NOTEBOOKS, ROOT


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if not isinstance(item, IPyNbCell):
            continue
        if tolerance := tolerance_of(item.cell.metadata.get("tags", [])):
            item.compare_outputs = tolerant(item.compare_outputs, tolerance)
        if executed := printed(item.parent.path):
            item.parent.setup = item.parent.teardown = lambda: None  # no kernel
            item.runtest = functools.partial(compare, item, executed[item.cell.id])


@functools.cache
def printed(source: Path) -> dict[str, list]:
    """The outputs of each code cell in `make figures`' run of a notebook; empty if that run is not of this code."""
    if source.parent != ROOT / NOTEBOOKS:
        return {}
    executed = ROOT / BUILD / "paper" / source.name
    if not provenance.up_to_date(executed, provenance.inputs(source.stem), ROOT):
        return {}
    return {c.id: c.outputs for c in nbformat.read(executed, as_version=4).cells if c.cell_type == "code"}


def compare(item: IPyNbCell, outputs: list) -> None:
    """nbval's comparison of a cell, without its execution."""
    item.comparison_traceback = []
    reference = coalesce_streams(item.cell.outputs)
    if item.options["check"] and not item.compare_outputs(coalesce_streams(outputs), reference):
        text = "\n".join(item.comparison_traceback)
        raise NbCellError(item.cell_num, "Cell outputs differ", item.cell.source, text)


def tolerant(compare, tolerance):
    """nbval's comparison, in which text that agrees within the tolerance counts as the reference's."""

    def compare_within(test, ref, skip_compare=None):
        for new, old in zip(test, ref, strict=False):
            if "text" in new and "text" in old and agree(new["text"], old["text"], tolerance):
                new["text"] = old["text"]
            for kind in set(new.get("data", {})) & set(old.get("data", {})) & {"text/plain"}:
                if agree(new["data"][kind], old["data"][kind], tolerance):
                    new["data"][kind] = old["data"][kind]
        return compare(test, ref, skip_compare)

    return compare_within
