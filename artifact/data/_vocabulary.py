"""Symbols that are numbered as they appear, so that nobody needs to know an alphabet beforehand."""

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8


class Vocabulary:
    r"""Bytes as numbers in the order in which they first appear, from 1 on; 0 announces a new one.

    A model over `capacity` classes charges a byte the code length of its number if it is known, and otherwise that
    of 0 plus $\log_2(256 - k)$ bits, which tell a decoder which of the bytes not among the k known ones it is.
    """

    def __init__(self, capacity: int):
        if not 2 <= capacity <= 257:
            raise ValueError(f"capacity: expected from 2 to 257 classes, one of them for what is new, got {capacity}")
        self.capacity, self._known = capacity, np.empty(0, np.uint8)

    def read(
        self, text: UInt8[np.ndarray, " time"]
    ) -> tuple[Int[np.ndarray, " time"], Bool[np.ndarray, " time"], Float[np.ndarray, " time"]]:
        """The numbers of the next bytes of a stream, which of them are new, and the bits that a new one costs beside.

        Raises `ValueError` if there are more distinct bytes than the capacity has room for; nothing is learned then.
        """
        values, first = np.unique(text, return_index=True)
        known = np.concatenate(
            [self._known, [v for _, v in sorted(zip(first, values, strict=True)) if v not in self._known]]
        )
        known = known.astype(np.uint8)
        if len(known) >= self.capacity:
            raise ValueError(
                f"text: expected at most {self.capacity - 1} distinct bytes, got {len(known)}; give a larger capacity"
            )
        new = np.zeros(len(text), bool)
        new[first[~np.isin(values, self._known)]] = True
        before = len(self._known) + np.cumsum(new) - new
        number = np.zeros(256, int)
        number[known] = np.arange(1, len(known) + 1)
        self._known = known
        return number[text], new, np.where(new, np.log2(256 - np.minimum(before, 255)), 0.0)

    @property
    def known(self) -> bytes:
        """The bytes seen so far, in the order of their numbers."""
        return self._known.tobytes()
