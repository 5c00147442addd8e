"""A range coder driven by a network that learns as it codes, and the decoder that learns the same."""

from collections.abc import Callable
from typing import Any

import constriction
import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float, PyTree, UInt32

import rtrl
from artifact.data import Vocabulary
from artifact.language.stacks import CAPACITY, CONTEXT, show

_STREAM: Any = constriction.stream  # pyright: ignore[reportAttributeAccessIssue]  # a compiled module


class Coder:
    """Encoder and decoder that start from the same untrained network, one update a byte."""

    def __init__(self, learner: rtrl.Learner, untrained: PyTree):
        self.arrays, rest = eqx.partition(untrained, eqx.is_array)

        @jax.jit
        def chances(arrays: PyTree, seen: Array) -> Array:
            state = eqx.combine(arrays, rest)
            return jax.nn.softmax(state.model.predict(state.model.cell(state.stream.cell, show(seen)), show(seen)))

        @jax.jit
        def learned(arrays: PyTree, seen: Array, target: int) -> PyTree:
            state, _ = learner.step(eqx.combine(arrays, rest), show(seen), target)
            return eqx.filter(state, eqx.is_array)

        self.chances, self.learned = chances, learned

    def _follow(self, next_symbol: Callable[[np.ndarray], tuple[int, int]], length: int) -> None:
        """Predicts, asks for the symbol that came, learns from it: encoder and decoder are this loop."""
        arrays, seen = self.arrays, np.zeros(CONTEXT, int)
        for _ in range(length):
            number, target = next_symbol(np.asarray(self.chances(arrays, seen)))
            arrays = self.learned(arrays, seen, target)
            seen = np.concatenate([[number], seen[:-1]])

    def encode(self, data: bytes) -> tuple[UInt32[np.ndarray, " words"], float]:
        """The compressed words, and the code length in bits that the predictions promise."""
        encoder, growing, promised = _STREAM.queue.RangeEncoder(), Vocabulary(CAPACITY), []
        waiting = iter(data)

        def next_symbol(probabilities: np.ndarray) -> tuple[int, int]:
            byte, unseen = next(waiting), _unseen(growing)
            (number,), (new,), (naming,) = growing.read(np.array([byte], np.uint8))
            target = 0 if new else number
            encoder.encode(target, _model(probabilities))
            if new:
                encoder.encode(unseen.index(byte), _STREAM.model.Uniform(len(unseen)))
            promised.append(naming - np.log2(probabilities[target]))
            return number, target

        self._follow(next_symbol, len(data))
        return encoder.get_compressed(), sum(promised)

    def decode(self, words: UInt32[np.ndarray, " words"], length: int) -> bytes:
        """The bytes again."""
        decoder, growing, read = _STREAM.queue.RangeDecoder(words), Vocabulary(CAPACITY), bytearray()

        def next_symbol(probabilities: np.ndarray) -> tuple[int, int]:
            target, unseen = decoder.decode(_model(probabilities)), _unseen(growing)
            named = decoder.decode(_STREAM.model.Uniform(len(unseen))) if target == 0 else None
            read.append(growing.known[target - 1] if named is None else unseen[named])
            (number,), *_ = growing.read(np.array(read[-1:], np.uint8))
            return number, target

        self._follow(next_symbol, length)
        return bytes(read)


def _unseen(vocabulary: Vocabulary) -> list[int]:
    return sorted(set(range(256)) - set(vocabulary.known))


def _model(probabilities: Float[np.ndarray, " classes"]):
    return _STREAM.model.Categorical(probabilities.astype(np.float64), perfect=False)
