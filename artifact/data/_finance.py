"""Prices, day by day, as markets and their reporters published them."""

import dataclasses
import datetime
import gzip
from pathlib import Path
from typing import NamedTuple

import numpy as np

from artifact.data._record import Record, installed_file

SP500 = Record(
    name="sp500",
    package="arch==8.0.0",
    source="S&P 500 index, adjusted close of every trading day, 1999-01-04 to 2018-12-31, as Yahoo Finance gave it",
    licence="facts published by the exchange, loaded and not copied; package NCSA",
    units="index points",
    rate="one a trading day",
    sha256="ac8ca469747ca7bed300f523f13d42eb72ccd9965dcb9ac6d9c365d0d2dc93e1",
)

NASDAQ = dataclasses.replace(
    SP500,
    name="nasdaq",
    source="NASDAQ Composite index, adjusted close of every trading day, 1999-01-04 to 2018-12-31, as Yahoo Finance "
    "gave it",
    sha256="7ef131a6b17aeef7851de13601982be790120c078105ea9d03be77a2560a60e1",
)

VIX = dataclasses.replace(
    SP500,
    name="vix",
    source="Cboe's volatility index of the S&P 500, close, 2014-01-03 to 2019-01-03, NaN where no value was published",
    units="percent a year",
    rate="one a weekday",
    sha256="0c220cee9e29c2318e3a09e54c3312cbbc9db3333b8ffcc6a469f76c0271a3ae",
)

WTI = dataclasses.replace(
    SP500,
    name="wti",
    source="spot price of West Texas Intermediate crude oil at Cushing, Oklahoma, 1986-01-02 to 2019-01-03, series "
    "DCOILWTICO of FRED, NaN where no value was published",
    licence="facts published by the US Energy Information Administration; package NCSA",
    units="US dollars a barrel",
    rate="one a weekday",
    sha256="0932ab332b0cc7d84130bc2fd69d8073bdcc104d990aae59bb40da360489b8f3",
)

SP500_BARS = dataclasses.replace(
    SP500,
    name="sp500_bars",
    source="S&P 500 index, open, high, low and close of the days of `sp500`, as Yahoo Finance gave them",
    sha256="2e66c58843bae19908ca13eee9c66b4bb1e1064bea2dc9010a9af37968aea4a1",
)

NASDAQ_BARS = dataclasses.replace(
    SP500,
    name="nasdaq_bars",
    source="NASDAQ Composite index, open, high, low and close of the days of `sp500`, as Yahoo Finance gave them",
    sha256="f0349994d79d2596f87cfabd04ae910f165100e5902c464da14610f5e0230e07",
)


class Prices(NamedTuple):
    """A series by day: `dates` (time,) of dtype datetime64[D], rising; `values` (time,) of dtype float64."""

    dates: np.ndarray
    values: np.ndarray


class Bars(NamedTuple):
    """A series by day with its range: `dates` (time,) as of `Prices`; the others (time,) of dtype float64."""

    dates: np.ndarray
    open: np.ndarray
    high: np.ndarray
    low: np.ndarray
    close: np.ndarray


def sp500() -> tuple[Prices, Record]:
    """Closing values of the S&P 500 index, 1999 to 2018: 5,031 trading days without gaps in values, and their record.

    Raises `DataError` if the package is missing or its data are not the ones recorded.
    """
    return _read(SP500, "Adj Close")


def nasdaq() -> tuple[Prices, Record]:
    """Closing values of the NASDAQ Composite index on the days of `sp500`, and their record.

    Raises `DataError` if the package is missing or its data are not the ones recorded.
    """
    return _read(NASDAQ, "Adj Close")


def sp500_bars() -> tuple[Bars, Record]:
    """Open, high, low and close of the S&P 500 index on the days of `sp500`, and their record.

    Raises `DataError` if the package is missing or its data are not the ones recorded.
    """
    return _bars(SP500_BARS)


def nasdaq_bars() -> tuple[Bars, Record]:
    """Open, high, low and close of the NASDAQ Composite index on the days of `sp500`, and their record.

    Raises `DataError` if the package is missing or its data are not the ones recorded.
    """
    return _bars(NASDAQ_BARS)


def vix() -> tuple[Prices, Record]:
    """Closing values of the volatility index, 2014 to 2018: 1,305 weekdays, 46 of them NaN, and their record.

    Raises `DataError` if the package is missing or its data are not the ones recorded.
    """
    return _read(VIX, "vix")


def wti() -> tuple[Prices, Record]:
    """Spot prices of crude oil in US dollars, 1986 to 2018: 8,611 weekdays, 290 of them NaN, and their record.

    Raises `DataError` if the package is missing or its data are not the ones recorded.
    """
    return _read(WTI, "DCOILWTICO")


def _read(record: Record, column: str) -> tuple[Prices, Record]:
    path = installed_file(record, "arch", f"data/{record.name}/{record.name}.csv.gz")
    return record.read(lambda: _prices(path, column)), record


def _bars(record: Record) -> tuple[Bars, Record]:
    name = record.name.removesuffix("_bars")
    path = installed_file(record, "arch", f"data/{name}/{name}.csv.gz")

    def content() -> Bars:
        columns = [_prices(path, column) for column in ("Open", "High", "Low", "Close")]
        return Bars(columns[0].dates, *(prices.values for prices in columns))

    return record.read(content), record


def _prices(path: Path, column: str) -> Prices:
    """The first column, month/day/year, and a column of numbers, of which "." and nothing are read as NaN."""
    header, *rows = (line.split(",") for line in gzip.decompress(path.read_bytes()).decode().splitlines())
    dates = [datetime.datetime.strptime(row[0], "%m/%d/%Y").date() for row in rows]
    values = [row[header.index(column)] for row in rows]
    return Prices(
        np.array(dates, "datetime64[D]"),
        np.array([np.nan if value in ("", ".") else float(value) for value in values], np.float64),
    )
