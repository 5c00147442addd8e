"""A range coder driven, bit by bit, by context counts mixed with a network that learns as it codes; and its decoder."""

from collections.abc import Callable, Iterator
from typing import Any

import constriction
import jax
import numpy as np
from jaxtyping import PyTree, UInt32

import rtrl
from artifact.data import Vocabulary
from artifact.language.coder import Coder
from artifact.language.contexts import Contexts, History
from artifact.language.counts import BITS, begin, learn, of_bits, predict
from artifact.language.mixed import byte_chances
from artifact.language.stacks import CAPACITY, CONTEXT

_STREAM: Any = constriction.stream  # pyright: ignore[reportAttributeAccessIssue]  # a compiled module


class MixedCoder:
    """Encoder and decoder that start with nothing counted and the same untrained network, one update a byte."""

    def __init__(self, learner: rtrl.Learner, untrained: PyTree):
        self._network = Coder(learner, untrained)
        self._predict, self._learn = jax.jit(predict), jax.jit(learn, donate_argnums=0)
        self._of_bits = jax.jit(of_bits)

    def encode(self, data: bytes) -> tuple[UInt32[np.ndarray, " words"], float]:
        """The compressed words, and the code length in bits that the predictions promise."""
        encoder, promised = _STREAM.queue.RangeEncoder(), []
        bits = iter(np.unpackbits(np.frombuffer(data, np.uint8)).tolist())

        def next_bit(chance: float) -> int:
            bit = next(bits)
            encoder.encode(bit, _STREAM.model.Bernoulli(chance, perfect=False))
            promised.append(-np.log2(chance if bit else 1 - chance))
            return bit

        for _ in self._bytes(next_bit, len(data)):
            pass
        return encoder.get_compressed(), sum(promised)

    def decode(self, words: UInt32[np.ndarray, " words"], length: int) -> bytes:
        """The bytes again."""
        decoder = _STREAM.queue.RangeDecoder(words)
        return bytes(self._bytes(lambda p: decoder.decode(_STREAM.model.Bernoulli(p, perfect=False)), length))

    def _bytes(self, next_bit: Callable[[float], int], length: int) -> Iterator[int]:
        """Predicts, asks for the bit that came, learns from it: encoder and decoder are this loop."""
        arrays, seen = self._network.arrays, np.zeros(CONTEXT, int)
        mixture, history, vocabulary = begin(networks=1), History(), Vocabulary(CAPACITY)
        for _ in range(length):
            chances = np.asarray(self._network.chances(arrays, seen))[None]
            known = vocabulary.known
            ones = np.asarray(self._of_bits(byte_chances(chances, np.array([len(known)]), known)))
            at, beginning = _of_next(history), 1
            while beginning < 2**BITS:
                predicted = self._predict(mixture, at, beginning, ones[:, beginning])
                bit = next_bit(float(predicted.chance))
                mixture, beginning = self._learn(mixture, predicted, bit), 2 * beginning + bit
            byte = beginning - 2**BITS
            history.read(byte)
            (number,), (new,), _ = vocabulary.read(np.array([byte], np.uint8))
            arrays = self._network.learned(arrays, seen, 0 if new else number)
            seen = np.concatenate([[number], seen[:-1]])
            yield byte


def _of_next(history: History) -> Contexts:
    hashes, *rest = history.contexts()
    return Contexts(np.array(hashes, np.uint32), *(np.array(number, np.int32) for number in rest))
