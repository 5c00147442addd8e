"""Compressors that anybody can install, on the same bytes: `python -m artifact.language.programs` keeps their sizes."""

import bz2
import functools
import lzma
import re
import shutil
import subprocess
import tempfile
import zlib
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from platform import python_version

import brotli
import pandas as pd
import pyppmd

from artifact.data import king_james
from artifact.errors import ArtifactError, run
from artifact.measured import keep_table
from artifact.timing import in_turns

PROGRAMS: Mapping[str, Callable[[bytes], bytes]] = {
    "zlib": functools.partial(zlib.compress, level=9),
    "bz2": functools.partial(bz2.compress, compresslevel=9),
    "xz": functools.partial(lzma.compress, preset=9 | lzma.PRESET_EXTREME),
    "brotli": functools.partial(brotli.compress, quality=11, lgwin=24),
    "PPMd": functools.partial(pyppmd.compress, max_order=16, mem_size=2**28),
}
"""At strong settings; PPMd counts contexts of up to 16 bytes."""


def zpaq(data: bytes) -> bytes:
    """The archive that `zpaq -m5` makes on one core: it mixes the predictions of many contexts.

    Raises `ArtifactError` if the program is not installed; it comes with Linux distributions, not with the environment.
    """
    if not shutil.which("zpaq"):
        raise ArtifactError("zpaq: expected the program on the path, found none; install it (Debian: zpaq)")
    with tempfile.TemporaryDirectory() as folder:
        text, archive = Path(folder) / "text", Path(folder) / "text.zpaq"
        text.write_bytes(data)
        subprocess.run(["zpaq", "add", archive, text, "-m5", "-t1"], check=True, capture_output=True)
        return archive.read_bytes()


def sizes(data: bytes, repeats: int = 3) -> pd.DataFrame:
    """Bits and microseconds (median) for each byte, program by program."""
    calls = {name: functools.partial(compress, data) for name, compress in {**PROGRAMS, "zpaq": zpaq}.items()}
    us = 1e6 * in_turns(calls, repeats).median() / len(data)
    bits = {name: 8 * len(call()) / len(data) for name, call in calls.items()}
    rows = [{"program": k, "bytes": len(data), "bits per byte": bits[k], "us per byte": us[k]} for k in calls]
    return pd.DataFrame(rows)


def versions() -> dict[str, str]:
    """What was measured: Python has zlib, bz2 and xz built in."""
    spoken = subprocess.run(["zpaq"], capture_output=True, text=True).stdout
    found = re.search(r"zpaq v(\S+)", spoken)
    packages = {name: version(name) for name in ("brotli", "pyppmd")}
    return packages | {"python": python_version(), "zpaq": found[1] if found else "unknown"}


def main() -> None:
    text, _ = king_james()
    table = pd.concat([sizes(text[:length].tobytes()) for length in (300_000, len(text))], ignore_index=True)
    keep_table("06_language_programs", "sizes", table, "python -m artifact.language.programs", programs=versions())


if __name__ == "__main__":
    run(main)
