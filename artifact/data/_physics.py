"""Series from physics, as they were measured."""

from pathlib import Path

import numpy as np

from artifact.data._record import Record, installed_file

LASER = Record(
    name="laser",
    package="reservoirpy==0.4.2",
    source="intensity of a chaotic far-infrared NH3 laser, data set A of the Santa Fe competition and its continuation "
    "(Weigend & Gershenfeld, 1994, Time Series Prediction)",
    licence="published by the competition without terms; package MIT",
    units="counts of an 8-bit oscilloscope",
    rate="uniform; the package does not give the interval",
    sha256="ec9a7547fe386f59ce23b1aae2fc9b55ac0c0a5d69fe82bcd74194933212fb95",
)

SUNSPOTS = Record(
    name="sunspots",
    package="statsmodels==0.15.0",
    source="yearly mean sunspot numbers, 1700 to 2008, National Geophysical Data Center",
    licence="data in the public domain; package BSD-3-Clause",
    units="sunspot number (International, version 1)",
    rate="one a year",
    sha256="66c86ecdcd5950f61f6243f924fdfa10a44596e94816291062fdda266a31c86d",
)

EL_NINO = Record(
    name="el_nino",
    package="statsmodels==0.15.0",
    source="monthly mean sea-surface temperature of the Niño 1+2 region (0-10° S, 90-80° W), January 1950 to December "
    "2010, NOAA's ERSST.V3B",
    licence="data in the public domain; package BSD-3-Clause",
    units="degrees Celsius",
    rate="one a month",
    sha256="04cd82503f2284f490eb92e9bf30bfd475d3c12210aca925dc0978f62ce50780",
)


def laser() -> tuple[np.ndarray, Record]:
    """The Santa Fe laser: a float64 array of shape (10093,), and its record.

    Raises `DataError` if the package is missing or its data are not the ones recorded.
    """
    path = installed_file(LASER, "reservoirpy", "datasets/santafe_laser.npy")
    return LASER.read(lambda: np.load(path).ravel().astype(np.float64)), LASER


def sunspots() -> tuple[np.ndarray, Record]:
    """Yearly sunspot numbers, 1700 to 2008: a float64 array of shape (309,), and its record.

    Raises `DataError` if the package is missing or its data are not the ones recorded.
    """
    path = installed_file(SUNSPOTS, "statsmodels", "datasets/sunspots/sunspots.csv")
    return SUNSPOTS.read(lambda: _after_the_year(path).ravel()), SUNSPOTS


def el_nino() -> tuple[np.ndarray, Record]:
    """Monthly sea-surface temperatures, 1950 to 2010, in °C: a float64 array of shape (732,), and its record.

    Raises `DataError` if the package is missing or its data are not the ones recorded.
    """
    path = installed_file(EL_NINO, "statsmodels", "datasets/elnino/elnino.csv")
    return EL_NINO.read(lambda: _after_the_year(path).ravel()), EL_NINO


def _after_the_year(path: Path) -> np.ndarray:
    """The numbers of a table whose first row is a header and whose first column is the year."""
    return np.array([row.split(",")[1:] for row in path.read_text().split()[1:]], np.float64)
