"""What a byte follows: the contexts whose counts predict it, and where the same bytes stood before."""

from collections.abc import Iterable
from typing import NamedTuple
from zlib import crc32

import numpy as np
from jaxtyping import Int, UInt32

ORDERS = range(7)
"""How many of the last bytes make a context."""
CONTEXTS = len(ORDERS) + 2
"""The orders, the word so far, and the word so far after the word before it."""
REPEAT = 6
"""So many bytes, seen before, predict that what followed them then follows again."""
LONGEST = 63
"""Repeats are as sure when they have gone on for longer."""


class Contexts(NamedTuple):
    """For each byte: its contexts as hashes, the byte that the repeat expects, for how many bytes it has gone on (0:
    there is none), and the byte before.
    """

    hashes: UInt32[np.ndarray, "bytes contexts"]
    expected: Int[np.ndarray, " bytes"]
    repeated: Int[np.ndarray, " bytes"]
    before: Int[np.ndarray, " bytes"]


class History:
    """The bytes read so far; an encoder and its decoder have the same."""

    def __init__(self) -> None:
        self._text = bytearray()
        self._word = self._last_word = 0
        self._places: dict[bytes, int] = {}
        self._at = self._repeated = 0

    def read(self, byte: int) -> None:
        goes_on = self._repeated > 0 and self._text[self._at] == byte
        self._text.append(byte)
        self._at, self._repeated = (self._at + 1, min(self._repeated + 1, LONGEST)) if goes_on else (0, 0)
        if len(self._text) >= REPEAT:
            recent = bytes(self._text[-REPEAT:])
            if not goes_on and recent in self._places:
                self._at, self._repeated = self._places[recent], 1
            self._places[recent] = len(self._text)
        if chr(byte).isalpha():
            self._word = crc32(bytes([byte | 32]), self._word)
        elif self._word:
            self._word, self._last_word = 0, self._word

    def contexts(self) -> tuple[list[int], int, int, int]:
        """One line of `Contexts`, for the next byte."""
        tail = bytes(self._text[-max(ORDERS) :])
        word = self._word or crc32(tail[-1:], 7)
        hashes = [crc32(tail[len(tail) - order :] if order <= len(tail) else tail, order) for order in ORDERS]
        hashes += [word, crc32(word.to_bytes(4, "little") + self._last_word.to_bytes(4, "little"))]
        return hashes, self._text[self._at] if self._repeated else 0, self._repeated, tail[-1] if tail else 0


def contexts_of(text: Iterable[int], history: History) -> Contexts:
    """Of every byte of a text that goes on where the history ends; the history has read it then."""
    rows = []
    for byte in text:
        rows.append(history.contexts())
        history.read(byte)
    hashes, *rest = zip(*rows, strict=True)
    return Contexts(np.array(hashes, np.uint32), *(np.array(column, np.int32) for column in rest))
