"""The sources of the package as a page, one anchor each, to which docstrings link."""

import importlib.resources
import re

from rtrl.cite import ENTRY

PAGE = "references.md"
HEAD = """# References

What the package implements, and whose idea it was; `rtrl.cite(…)` prints the entries of what you used.

"""


def markdown() -> str:
    text = importlib.resources.files("rtrl").joinpath("references.bib").read_text(encoding="utf-8")
    return (
        HEAD + "\n\n".join(f"## {key} {{ #{key} }}\n\n```bibtex\n{entry}\n```" for entry, key in _entries(text)) + "\n"
    )


def _entries(text: str) -> list[tuple[str, str]]:
    return [(entry[0], entry[1]) for entry in re.finditer(ENTRY, text)]
