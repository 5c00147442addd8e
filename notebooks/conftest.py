"""How a re-run notebook is compared with its reference outputs: words exactly, numbers as tagged.

A cell tagged `rtol=0.05` (and perhaps `atol=0.001`) may print measured numbers (those with a decimal point or an
exponent) that differ by that much from the stored ones. Integers are names and counts, and as exact as words; a cell
without such a tag must print the same characters.

A notebook that `make figures` has just executed, from this code, is not executed again: what it printed is compared.
"""

import functools
import math
import re
from pathlib import Path

import nbformat
import pytest
from nbval.plugin import IPyNbCell, NbCellError, coalesce_streams

from artifact import provenance
from artifact.paths import BUILD, NOTEBOOKS, ROOT

NUMBER = re.compile(r"(?<![\w.])[-+−]?(?:\d+\.\d*(?:e[-+]?\d+)?|\d+e[-+]?\d+|nan\b|inf\b)", re.IGNORECASE)


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


def tolerance_of(tags: list[str]) -> dict[str, float]:
    """The tolerances that a cell's tags name, as keywords of `math.isclose`."""
    names = {"rtol": "rel_tol", "atol": "abs_tol"}
    pairs = (tag.partition("=") for tag in tags if tag.partition("=")[0] in names)
    return {names[name]: float(value) for name, _, value in pairs}


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


def agree(new: str, old: str, tolerance: dict[str, float]) -> bool:
    """Whether two texts have the same words, in the same order, and numbers within the tolerance."""
    if NUMBER.sub("#", new).split() != NUMBER.sub("#", old).split():
        return False
    pairs = zip(NUMBER.findall(new), NUMBER.findall(old), strict=True)
    return all(a == b or close(parse(a), parse(b), tolerance) for a, b in pairs)


def parse(number: str) -> float:
    return float(number.replace("−", "-"))


def close(new: float, old: float, tolerance: dict[str, float]) -> bool:
    return math.isclose(new, old, **{"rel_tol": 0.0, "abs_tol": 0.0} | tolerance)
