"""A vocabulary that grows as a stream is read tells a decoder all it needs."""

import numpy as np
import pytest

from artifact.data import Vocabulary


def decode(numbers, which, known=b""):
    """The bytes again, from the numbers and, for each new one, its rank among the bytes not known yet."""
    known, which, text = list(known), iter(which), []
    for number in numbers:
        if number == 0:
            known.append(sorted(set(range(256)) - set(known))[next(which)])
            number = len(known)
        text.append(known[number - 1])
    return bytes(text)


def test_a_decoder_reads_what_was_written_chunk_by_chunk():
    text = np.frombuffer(b"abracadabra, and a cadillac!", np.uint8)
    vocabulary, sent, ranks, bits = Vocabulary(30), [], [], 0.0
    for chunk in (text[:1], text[1:9], text[9:]):
        before = list(vocabulary.known)
        numbers, new, beside = vocabulary.read(chunk)
        for byte, is_new in zip(chunk.tolist(), new, strict=True):
            if is_new:
                ranks.append(sorted(set(range(256)) - set(before)).index(byte))
                before.append(byte)
        sent += np.where(new, 0, numbers).tolist()
        bits += beside.sum()
    assert decode(sent, ranks) == text.tobytes()
    distinct = len(set(text.tolist()))
    np.testing.assert_allclose(bits, np.log2(256.0 - np.arange(distinct)).sum())
    assert vocabulary.known[:3] == b"abr"


def test_every_byte_has_a_place_and_too_many_are_refused():
    numbers, new, beside = Vocabulary(257).read(np.arange(256, dtype=np.uint8))
    assert numbers.tolist() == list(range(1, 257))
    assert new.all()
    assert beside[-1] == 0  # the last one needs no telling
    vocabulary = Vocabulary(4)
    vocabulary.read(np.frombuffer(b"abc", np.uint8))
    with pytest.raises(ValueError, match=r"^text: expected at most 3 distinct bytes, got 4; give a larger capacity$"):
        vocabulary.read(np.frombuffer(b"abcd", np.uint8))
    assert vocabulary.known == b"abc"
    with pytest.raises(ValueError, match=r"^capacity: expected from 2 to 257 classes, .*got 1$"):
        Vocabulary(1)
