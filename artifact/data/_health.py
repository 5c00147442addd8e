"""Signals of the body, as sensors recorded them."""

import dataclasses
from pathlib import Path
from typing import NamedTuple

import numpy as np

from artifact.data._record import Record, installed_file

CLEAN = Record(
    name="heart_rate, clean",
    package="heartpy==1.2.7",
    source="photoplethysmogram, short and clean: data.csv of HeartPy (van Gent, Farah, van Nes & van Arem, 2019, "
    "Journal of Open Research Software 7, 32)",
    licence="package: licence file MIT, metadata GPL; loaded, not copied",
    units="counts of an analogue-to-digital converter",
    rate="100 Hz, as its authors say; no stamps were recorded",
    sha256="23ae764f4bce963010bc1fc9fedd22947177a72a8fcf606ddd51ca88575789b4",
)

NOISY = dataclasses.replace(
    CLEAN,
    name="heart_rate, noisy",
    source=CLEAN.source.replace("short and clean: data.csv", "signal lost from 18 to 25 s, spikes later: data2.csv"),
    rate="117.0 Hz, from the stamps",
    sha256="e5789c4ce181d067489642b6b88891097d94b769f8b888919e8c00c049dbba70",
)

DRIVING = dataclasses.replace(
    CLEAN,
    name="heart_rate, driving",
    source=CLEAN.source.replace("short and clean: data.csv", "on a finger, in a driving simulator: data3.csv"),
    rate="100.4 Hz, from the stamps, which a clock of about 64 ticks a second made",
    sha256="bacd78416404115093d8b3f36ad0f0c5b640c3d5160da2581d2a48b529b7b42a",
)


class Recording(NamedTuple):
    """A signal and its stamps: `seconds` from the first sample and `signal`, each (time,) of dtype float64."""

    seconds: np.ndarray
    signal: np.ndarray


def heart_rate(recording: str) -> tuple[Recording, Record]:
    """A photoplethysmogram, "clean" (25 s), "noisy" (2 min) or "driving" (11 min), in counts, and its record.

    Samples are as recorded, lost signal (zeros) and clipping included. So are stamps: "clean" has none, its `seconds`
    are counted at 100 Hz; 24,775 of the 68,476 of "driving" equal the one before, none is earlier. Raises `ValueError`
    for another `recording`, `DataError` if the package is missing or its data are not the ones recorded.
    """
    if recording not in _FILES:
        raise ValueError(f"recording: expected one of {', '.join(_FILES)}, got {recording!r}")
    record, file, read = _FILES[recording]
    path = installed_file(record, "heartpy", f"data/{file}")
    return record.read(lambda: read(path)), record


def _counted(path: Path) -> Recording:
    signal = np.array(path.read_text().split(), np.float64)
    return Recording(np.arange(len(signal)) / 100, signal)


def _by_milliseconds(path: Path) -> Recording:
    stamps, signal = _columns(path)
    return Recording(np.array(stamps, np.float64) / 1000, np.array(signal, np.float64))


def _by_date(path: Path) -> Recording:
    stamps, signal = _columns(path)
    microseconds = np.array(stamps, "datetime64[us]").astype(np.int64)
    return Recording((microseconds - microseconds[0]) / 1e6, np.array(signal, np.float64))


def _columns(path: Path) -> tuple[list[str], list[str]]:
    """The two columns of a table below its header."""
    rows = [line.split(",") for line in path.read_text().splitlines()[1:]]
    return [row[0] for row in rows], [row[1] for row in rows]


_FILES = {
    "clean": (CLEAN, "data.csv", _counted),
    "noisy": (NOISY, "data2.csv", _by_milliseconds),
    "driving": (DRIVING, "data3.csv", _by_date),
}
