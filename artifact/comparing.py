"""How a re-run notebook is compared with its reference outputs: words exactly, numbers as tagged.

A cell tagged `rtol=0.05` (and perhaps `atol=0.001`) may print measured numbers (those with a decimal point or an
exponent) that differ by that much from the stored ones. Integers are names and counts, and as exact as words; a cell
without such a tag must print the same characters.
"""

import math
import re
from collections.abc import Iterable, Mapping

from nbformat import NotebookNode

NUMBER = re.compile(r"(?<![\w.])[-+−]?(?:\d+\.\d*(?:e[-+]?\d+)?|\d+e[-+]?\d+|nan\b|inf\b)", re.IGNORECASE)


def tolerance_of(tags: Iterable[str]) -> dict[str, float]:
    """The tolerances that a cell's tags name, as keywords of `math.isclose`."""
    names = {"rtol": "rel_tol", "atol": "abs_tol"}
    pairs = (tag.partition("=") for tag in tags if tag.partition("=")[0] in names)
    return {names[name]: float(value) for name, _, value in pairs}


def agree(new: str, old: str, tolerance: Mapping[str, float]) -> bool:
    """Whether two texts have the same words, in the same order, and numbers within the tolerance."""
    if NUMBER.sub("#", new).split() != NUMBER.sub("#", old).split():
        return False
    pairs = zip(NUMBER.findall(new), NUMBER.findall(old), strict=True)
    return all(a == b or _close(a, b, tolerance) for a, b in pairs)


def differing_cells(new: NotebookNode, reference: NotebookNode) -> list[str]:
    """The compared cells whose text is not the reference's within their tolerance: the name of each, and a line."""
    ran = {cell.id: cell for cell in new.cells if cell.cell_type == "code"}
    found = []
    for cell in reference.cells:
        tags = cell.metadata.get("tags", [])
        if cell.cell_type == "code" and "nbval-ignore-output" not in tags:
            now, before, tolerance = _text(ran[cell.id]), _text(cell), tolerance_of(tags)
            if not (agree(now, before, tolerance) if tolerance else now == before):
                found.append(f"{cell.id}: {_first_difference(now, before, tolerance)}")
    return found


def _text(cell: NotebookNode) -> str:
    """What a cell printed and showed, as text."""
    parts = [output.get("text") or output.get("data", {}).get("text/plain", "") for output in cell.outputs]
    return "".join(part if isinstance(part, str) else "".join(part) for part in parts)


def _first_difference(new: str, old: str, tolerance: Mapping[str, float]) -> str:
    pairs = zip(new.splitlines(), old.splitlines(), strict=False)
    differing = [(a, b) for a, b in pairs if not agree(a, b, tolerance)]
    return "{!r} for {!r}".format(*(differing[0] if differing else (new[-80:], old[-80:])))


def _close(new: str, old: str, tolerance: Mapping[str, float]) -> bool:
    numbers = (float(number.replace("−", "-")) for number in (new, old))
    return math.isclose(*numbers, **{"rel_tol": 0.0, "abs_tol": 0.0} | dict(tolerance))
