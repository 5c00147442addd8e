"""What is known of a data set, and the check that it is what it says."""

import dataclasses
import hashlib
import importlib.util
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import jax

Arrays = TypeVar("Arrays")
"""One array or a pytree of them."""


class DataError(Exception):
    """A data set that is missing or is not the one that the project was measured on."""


@dataclasses.dataclass(frozen=True)
class Record:
    """Where a data set comes from: `sha256` is of the arrays' bytes, in order, as the loader returns them.

    `rate` is the sampling rate; `repair` the command that restores the data, with `package` to be filled in.
    """

    name: str
    package: str
    source: str
    licence: str
    units: str
    rate: str
    sha256: str
    repair: str = "python -m pip install --force-reinstall --no-deps {package}"

    @property
    def remedy(self) -> str:
        return self.repair.format(package=self.package)

    def read(self, content: Callable[[], Arrays]) -> Arrays:
        """The arrays that `content` reads, if their bytes have the recorded digest; raises `DataError` otherwise."""
        try:
            arrays = content()
        except (ValueError, IndexError, SyntaxError, OSError, EOFError, zlib.error):
            arrays = None  # cut off or overwritten; the digest of nothing is not the recorded one
        found = digest(arrays)
        if arrays is None or found != self.sha256:
            raise DataError(
                f"{self.name}: expected content with sha256 {self.sha256[:12]}…, got {found[:12]}…; repair it with "
                f"{self.remedy}"
            )
        return arrays


def digest(arrays: object) -> str:
    """The sha256, in hexadecimal, of the bytes of all arrays of a pytree, one after the other."""
    return hashlib.sha256(b"".join(leaf.tobytes() for leaf in jax.tree.leaves(arrays))).hexdigest()


def installed_file(record: Record, module: str, file: str) -> Path:
    """The path of a file inside an installed package, found without importing the package.

    Raises `DataError`, naming what to install, if the package or the file is not there.
    """
    spec = importlib.util.find_spec(module)
    folders = [Path(p) for p in (spec.submodule_search_locations or [])] if spec else []
    for path in (folder / file for folder in folders):
        if path.is_file():
            return path
    raise DataError(
        f"{record.name}: expected the package {record.package} with {module}/{file}, found none; get it with "
        f"{record.remedy}"
    )


def stored_file(record: Record) -> Path:
    """The path of the file `record.package` of the checkout; raises `DataError` if it is not there."""
    path = Path(__file__).resolve().parents[2] / record.package
    if not path.is_file():
        raise DataError(
            f"{record.name}: expected {record.package}, which comes with the repository's checkout, found none; "
            f"get it with {record.remedy}"
        )
    return path
