"""Context counts and a network in one mixture: `python -m artifact.language.mixed` keeps what it costs."""

from collections.abc import Iterator, Sequence
from time import perf_counter

import jax
import numpy as np
import pandas as pd
from jaxtyping import Float, Int, UInt8
from scipy.special import softmax

import rtrl
from artifact.data import Vocabulary, chunks, equinox_source, king_james
from artifact.errors import run
from artifact.language.contexts import History, contexts_of
from artifact.language.counts import begin, charge
from artifact.language.programs import sizes
from artifact.language.several import METHODS, UNITS
from artifact.language.stacks import CAPACITY, CHUNK, numbered, show, stack_learner, stack_model
from artifact.parts import keep_parts

NETWORKS, BYTES = 5, 300_000
SOURCE_CAPACITY = 128


def byte_chances(
    chances: Float[np.ndarray, "time classes"], known: Int[np.ndarray, " time"], alphabet: bytes
) -> Float[np.ndarray, "time 256"]:
    """The chance of each byte from those of the numbers: of a number not yet given none, and what announces a new
    symbol shared by all bytes that have not come yet. `known` counts the numbers given before each prediction.
    """
    numbers = np.full(256, chances.shape[1])
    numbers[np.frombuffer(alphabet, np.uint8)] = np.arange(1, len(alphabet) + 1)
    shared = chances[:, :1] / np.maximum(256 - known[:, None], 1)
    of_bytes = np.where(numbers <= known[:, None], np.pad(chances, ((0, 0), (0, 1)))[:, numbers], shared)
    return (of_bytes / of_bytes.sum(axis=1, keepdims=True)).astype(np.float32)


def opinions(
    method: str, number: int, text: UInt8[np.ndarray, " bytes"], capacity: int = CAPACITY
) -> Iterator[Float[np.ndarray, "chunk 256"]]:
    """What a network, learning as it reads, says of every byte before it sees it; chunk by chunk."""
    learner, vocabulary = stack_learner(METHODS[method]), Vocabulary(capacity)
    untrained = learner.init(stack_model(UNITS, jax.random.key(100 + number), capacity))
    stream = numbered(text, vocabulary)
    new = stream.targets == 0
    known = np.cumsum(new) - new
    pieces = ((show(seen, capacity), target) for seen, target in chunks((stream.contexts, stream.targets), CHUNK))
    read = rtrl.follow(learner, untrained, pieces, chunk=CHUNK, progress=False)
    for (_, output), now in zip(read, chunks(known, CHUNK), strict=True):
        yield byte_chances(softmax(output.prediction, axis=1), now, vocabulary.known)


def one_pass(
    text: UInt8[np.ndarray, " bytes"], network: Iterator[Float[np.ndarray, "chunk 256"]] | None = None
) -> tuple[Float[np.ndarray, " bytes"], Float[np.ndarray, " chunks"]]:
    """The bits charged for each byte by counts alone, or mixed with a network; seconds a byte of each chunk."""
    history, mixture, bits, seconds, began = History(), begin(int(network is not None)), [], [], perf_counter()
    for part in chunks(text, CHUNK):
        of_network = np.zeros((len(part), 0, 256), np.float32) if network is None else next(network)[:, None]
        mixture, charged = charge(mixture, contexts_of(part.tolist(), history), part.astype(np.int32), of_network)
        bits.append(np.asarray(charged))
        seconds.append((perf_counter() - began) / len(part))
        began = perf_counter()
    return np.concatenate(bits), np.array(seconds)


def counted(text: UInt8[np.ndarray, " bytes"], read: Sequence[int]) -> pd.DataFrame:
    """Bits for each byte by counts alone after so many bytes, and median microseconds for one."""
    return _rows("counts alone", 0, read, *one_pass(text))


def with_networks(
    method: str, networks: int, text: UInt8[np.ndarray, " bytes"], read: Sequence[int]
) -> Iterator[pd.DataFrame]:
    """The same of counts mixed with a network that learns by a method, for several networks."""
    for number in range(networks):
        yield _rows(method, number, read, *one_pass(text, opinions(method, number, text)))


def _rows(method: str, number: int, read: Sequence[int], bits: np.ndarray, seconds: np.ndarray) -> pd.DataFrame:
    print(method, number, len(bits), bits.mean(), flush=True)
    bits_per_byte = [bits[:length].mean() for length in read]
    rows = {"method": method, "network": number, "bytes": read, "bits per byte": bits_per_byte}
    return pd.DataFrame(rows | {"us per byte": 1e6 * np.median(seconds)})


def beginning() -> Iterator[pd.DataFrame]:
    """The first bytes: what several networks add to the counts, and what RTRL's credit adds to that."""
    text = king_james()[0][:BYTES]
    read = [30_000, 100_000, BYTES]
    yield counted(text, read)
    for method in METHODS:
        yield from with_networks(method, NETWORKS, text, read)


def whole() -> Iterator[pd.DataFrame]:
    """The whole text: counts alone, and with one network by RTRL."""
    text, _ = king_james()
    read = [1_000_000, len(text)]
    yield counted(text, read)
    yield from with_networks("RTRL", 1, text, read)


def whole_chunks() -> Iterator[pd.DataFrame]:
    """The whole text with the same network, learning by chunks."""
    text, _ = king_james()
    yield from with_networks("chunks of 16", 1, text, [1_000_000, len(text)])


def source() -> Iterator[pd.DataFrame]:
    """Python source, which nothing was tuned on: programs, counts, networks alone, and both mixed."""
    text = equinox_source()[0][:BYTES]
    yield sizes(text.tobytes(), repeats=1).rename(columns={"program": "method"}).drop(columns="us per byte")
    yield counted(text, [BYTES]).drop(columns="us per byte")
    for method in METHODS:
        for number in range(NETWORKS):
            said = np.concatenate(list(opinions(method, number, text, capacity=SOURCE_CAPACITY)))
            alone = -np.log2(said[np.arange(BYTES), text]).mean()
            mixed = _rows(method, number, [BYTES], *one_pass(text, iter(chunks(said, CHUNK))))
            yield mixed.drop(columns="us per byte").assign(**{"network alone": alone})


def main() -> None:
    keep_parts(
        "artifact.language.mixed", "06_language_mixed", "networks", (beginning, whole, whole_chunks, source), __doc__
    )


if __name__ == "__main__":
    run(main)
