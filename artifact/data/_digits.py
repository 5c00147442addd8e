"""Digits, read pixel by pixel."""

import gzip
import random
from pathlib import Path
from typing import NamedTuple

import numpy as np

from artifact.data._record import Record, installed_file

DIGITS = Record(
    name="digits",
    package="scikit-learn==1.9.1",
    source="handwritten digits of 13 people, 8 x 8 pixels row by row: the test part of Optical Recognition of "
    "Handwritten Digits, UCI Machine Learning Repository (Alpaydin & Kaynak, 1998)",
    licence="CC BY 4.0; package BSD-3-Clause",
    units="darkness from 0 to 1, in sixteenths",
    rate="one pixel a step",
    sha256="5889d26819cf830d070975af3c711419825fa0a078137b3d80b8e7d06bd58da0",
)

MNIST1D = Record(
    name="mnist1d",
    package="mnist1d==0.0.2.post1",
    source="MNIST-1D, ten templates of digits, each padded, moved, scaled, sheared and made noisy at random, as the "
    "package computes them from its seed (Greydanus & Kobak, 2024, Scaling down deep learning with MNIST-1D, "
    "arXiv:2011.14439)",
    licence="Apache-2.0",
    units="dimensionless: mean 0, standard deviation 1 over both sets; 6 decimals",
    rate="one point a step",
    sha256="931aa060ebd9aa1e14320bf860f397ce789b431949cbb4c7ee153b9c84c56728",
)


class Digits(NamedTuple):
    """`xs` float64 (digits, steps), one digit a row; int64 `ys` (digits,), which digit it is (0 to 9)."""

    xs: np.ndarray
    ys: np.ndarray


def digits() -> tuple[Digits, Record]:
    """Handwritten digits: 1,797 of 64 pixels, darkness from 0 to 1, row by row from the top left, and their record.

    Raises `DataError` if the package is missing or its data are not the ones recorded.
    """
    path = installed_file(DIGITS, "sklearn", "datasets/data/digits.csv.gz")
    return DIGITS.read(lambda: _handwritten(path)), DIGITS


def mnist1d() -> tuple[tuple[Digits, Digits], Record]:
    """MNIST-1D, digits of 40 steps, dimensionless: 4,000 to train and 1,000 to test on, and their record.

    They are computed at every call, in about 3 s. Raises `DataError` if the package is missing or computes other data
    than the ones recorded.
    """
    installed_file(MNIST1D, "mnist1d", "data.py")
    return MNIST1D.read(_computed), MNIST1D


def _handwritten(path: Path) -> Digits:
    """From rows of 64 counts, 0 to 16, of dark points in a pixel, and the digit."""
    rows = [line.split(",") for line in gzip.decompress(path.read_bytes()).decode().splitlines()]
    table = np.array(rows, np.int64)
    return Digits(table[:, :-1] / 16, table[:, -1])


def _computed() -> tuple[Digits, Digits]:
    """Both sets from the package's generator, never from its downloader."""
    from mnist1d.data import get_dataset_args, make_dataset  # here, because it imports requests and matplotlib

    # The package seeds the generators that the whole process shares: give them back as they were.
    ours, numpys = random.getstate(), np.random.get_state()
    try:
        made = make_dataset(get_dataset_args())
    finally:
        random.setstate(ours)
        np.random.set_state(numpys)
    # Processors sum in different orders, which moves values by 1e-15 and would change the digest. No value is that
    # close to where rounding to 6 decimals turns (the closest is 2e-12 away), so that the rounded ones agree.
    train, test = (Digits(made[x].round(6), made[y].astype(np.int64)) for x, y in (("x", "y"), ("x_test", "y_test")))
    return train, test
