"""Series in which people have marked where they change."""

import csv
import importlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from artifact.data._record import Record, installed_file

ANNOTATED = Record(
    name="annotated_series",
    package="river==0.26.1",
    source="six series of the Turing change point data set (van den Burg & Williams 2020, arXiv:2003.06222), with the "
    "marks of five people each: river/drift/datasets/",
    licence="package BSD-3-Clause; loaded, not copied",
    units="as recorded; the logarithm of passengers, prices and volumes",
    rate="monthly, every third trading day, every third day, every tenth trading day, 16 minutes, 5 seconds",
    sha256="3825476383ec9074244381166bdb90328896c5723e928673ddcd23fdb44ce9fa",
)


class Annotated(NamedTuple):
    """A series, `values` (time, channels) of float64, and the steps that each of five people marked as changes."""

    values: np.ndarray
    marks: Sequence[Sequence[int]]


class _Source(NamedTuple):
    data: str
    file: str
    channels: Sequence[str]
    every: int = 1
    since: str = ""
    logarithm: bool = False


_SOURCES: Mapping[str, _Source] = {
    "airline": _Source("AirlinePassengers", "airline_passengers.csv", ["Total Passengers"], logarithm=True),
    "Apple": _Source("Apple", "apple.csv", ["Close", "Volume"], every=3, logarithm=True),
    "bitcoin": _Source("Bitcoin", "bitcoin.csv", ["price"], logarithm=True),
    "Brent oil": _Source("BrentSpotPrice", "brent_crude_oil.csv", ["DPB"], every=10, since="2000", logarithm=True),
    "occupancy": _Source("Occupancy", "occupancy.csv", ["V1", "V2", "V3", "V4"]),
    "run": _Source("RunLog", "run_log.csv", ["Pace", "Distance"]),
}


def annotated_series() -> tuple[dict[str, Annotated], Record]:
    """Six series by name, and their record; Apple and Brent are thinned out as those who marked them saw them.

    Left out of river's seven: the employment in British coal mines, 105 values. Raises `DataError` if the package is
    missing or its data are not the ones recorded.
    """
    paths = {name: installed_file(ANNOTATED, "river", f"drift/datasets/{s.file}") for name, s in _SOURCES.items()}

    def read() -> dict[str, np.ndarray]:
        return {name: _values(source, paths[name].read_text()) for name, source in _SOURCES.items()}

    values, data = ANNOTATED.read(read), importlib.import_module("river.drift.datasets")
    marks = {name: list(getattr(data, source.data)().annotations.values()) for name, source in _SOURCES.items()}
    return {name: Annotated(values[name], marks[name]) for name in _SOURCES}, ANNOTATED


def _values(source: _Source, text: str) -> np.ndarray:
    rows = [row for row in csv.DictReader(text.splitlines()) if row.get("day", "")[-4:] >= source.since]
    values = np.array([[float(row[channel]) for channel in source.channels] for row in rows[:: source.every]])
    return np.log(values) if source.logarithm else values
