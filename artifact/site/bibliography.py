"""The sources of the package as a page, one anchor each, to which docstrings link."""

import importlib.resources

from rtrl.cite import ENTRY

PAGE = "references.md"
HEAD = """# References

What the package implements, and whose idea it was; `rtrl.cite(…)` prints the entries of what you used.

"""


def markdown() -> str:
    text = importlib.resources.files("rtrl").joinpath("references.bib").read_text(encoding="utf-8")
    entries = (f"## {entry[1]} {{ #{entry[1]} }}\n\n```bibtex\n{entry[0]}\n```\n" for entry in ENTRY.finditer(text))
    return HEAD + "\n".join(entries)
