"""Speech, as coefficients frame by frame."""

import gzip
from pathlib import Path
from typing import NamedTuple

import numpy as np

from artifact.data._record import Record, stored_file

JAPANESE_VOWELS = Record(
    name="japanese_vowels",
    package="data/japanese_vowels.csv.gz",
    source="nine men saying the Japanese vowels /ae/, UCI Machine Learning Repository (Kudo, Toyama & Shimbo, 1999, "
    "Pattern Recognition Letters 20, 1103-1111)",
    licence="CC BY 4.0",
    units="LPC cepstrum coefficients (dimensionless)",
    rate="one frame in 6.4 ms (156.25 Hz), of 25.6 ms sampled at 10 kHz",
    sha256="426a51c2d619c891112e4ab092cd1d6ceab2027d05a08c85f33b2d670841c63d",
    repair="git checkout -- {package}",
)

LONGEST = 29
"""The frames of the longest utterance of both sets."""


class Utterances(NamedTuple):
    """`frames` float64 (utterances, 29, 12), NaN past an utterance's end; int64 `lengths` and `speakers` (0 to 8)."""

    frames: np.ndarray
    lengths: np.ndarray
    speakers: np.ndarray


def japanese_vowels() -> tuple[tuple[Utterances, Utterances], Record]:
    """Utterances of nine speakers, 270 to train and 370 to test on, and their record.

    Raises `DataError` if the file is missing or its data are not the ones recorded.
    """
    path = stored_file(JAPANESE_VOWELS)
    return JAPANESE_VOWELS.read(lambda: _both_sets(path)), JAPANESE_VOWELS


def _both_sets(path: Path) -> tuple[Utterances, Utterances]:
    _, *rows = (line.split(",") for line in gzip.decompress(path.read_bytes()).decode().splitlines())
    train, test = (_utterances([row[1:] for row in rows if row[0] == name]) for name in ("train", "test"))
    return train, test


def _utterances(rows: list[list[str]]) -> Utterances:
    """From rows of utterance, frame, speaker and the 12 coefficients."""
    table = np.array(rows, np.float64)
    utterance, frame, speaker = table[:, :3].astype(np.int64).T
    lengths = np.bincount(utterance).astype(np.int64)
    frames = np.full((len(lengths), LONGEST, 12), np.nan)
    frames[utterance, frame] = table[:, 3:]
    return Utterances(frames, lengths, speaker[frame == 0])
