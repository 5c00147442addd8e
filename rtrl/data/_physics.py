"""Series from physics, as they were measured."""

import numpy as np

from rtrl.data._record import Record, installed_file

LASER = Record(
    name="laser",
    package="reservoirpy==0.4.2",
    source="intensity of a chaotic far-infrared NH3 laser, data set A of the Santa Fe competition and its continuation "
    "(Weigend & Gershenfeld, 1994, Time Series Prediction)",
    licence="published by the competition without terms; package MIT",
    units="counts of an 8-bit oscilloscope",
    sha256="ec9a7547fe386f59ce23b1aae2fc9b55ac0c0a5d69fe82bcd74194933212fb95",
)

SUNSPOTS = Record(
    name="sunspots",
    package="statsmodels==0.15.0",
    source="yearly mean sunspot numbers, 1700 to 2008, National Geophysical Data Center",
    licence="data in the public domain; package BSD-3-Clause",
    units="sunspot number (International, version 1), one a year",
    sha256="66c86ecdcd5950f61f6243f924fdfa10a44596e94816291062fdda266a31c86d",
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
    return SUNSPOTS.read(lambda: np.array([float(row.split(",")[1]) for row in path.read_text().split()[1:]])), SUNSPOTS
