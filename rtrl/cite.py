"""What to cite: BibTeX for the sources that docstrings name, `[Elman (1990)][elman1990]`, from references.bib."""

import dataclasses
import importlib.resources
import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any

ENTRY = re.compile(r"^@\w+\{(\w+),.*?^\}", re.MULTILINE | re.DOTALL)
SOURCE = re.compile(r"\]\[([a-z]+\d{4}[a-z]*)\]")


def cite(*used: Any, file: Any = None) -> None:
    """Prints the BibTeX of this package and of the sources of what was used.

    **Arguments:**

    - `used`: estimators, cells, models, learners, with all parts inside them; their classes; functions of `rtrl`. None
        gives the package's own entry.
    - `file`: where to print to, as for `print`: anything with a `write` method.

    **Raises:** `TypeError` for an object without any part of this package.

    **Example:**

    ```python
    rtrl.cite(rtrl.UORO())  # the package, and Tallec & Ollivier
    ```
    """
    keys = dict.fromkeys(["rtrl", *(key for thing in used for key in _sources(thing))])
    text = importlib.resources.files("rtrl").joinpath("references.bib").read_text(encoding="utf-8")
    entries = {entry[1]: entry[0] for entry in ENTRY.finditer(text)}
    print("\n\n".join(entries[key] for key in keys), file=file)


def _sources(thing: Any) -> list[str]:
    parts = list(_parts(thing))
    if not parts:
        raise TypeError(f"used: expected estimators, cells, models, learners or functions of rtrl, got {thing!r:.40}")
    return [key for part in parts for key in SOURCE.findall(part.__doc__ or "")]


def _parts(thing: Any) -> Iterator[type | Callable]:
    """The classes and functions of this package that a thing is, stands on or contains."""
    if isinstance(thing, type):
        yield from (kind for kind in thing.__mro__ if _ours(kind))
    elif inspect.isroutine(inspect.unwrap(thing)):
        yield from [thing] if _ours(thing) else []
    else:
        yield from _parts(type(thing))
        for inside in _inside(thing):
            yield from _parts(inside)


def _ours(part: Any) -> bool:
    return f"{part.__module__}.".startswith("rtrl.")


def _inside(thing: Any) -> list:
    if dataclasses.is_dataclass(thing):
        return [getattr(thing, field.name, None) for field in dataclasses.fields(thing)]
    return list(thing.values()) if isinstance(thing, dict) else list(thing) if isinstance(thing, list | tuple) else []
