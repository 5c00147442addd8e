"""Networks of the wide stack on the first 300,000 bytes, several of them: `python -m artifact.language.several`."""

from collections.abc import Iterator

import jax
import pandas as pd

import rtrl
from artifact.data import Vocabulary, king_james
from artifact.errors import run
from artifact.language.stacks import CAPACITY, numbered, one_pass, stack_learner, stack_model
from artifact.measured import keep_table

UNITS, NETWORKS, BYTES = 256, 5, 300_000
METHODS = {"RTRL": rtrl.LayerLocalRTRL(), "chunks of 16": rtrl.ChunkedBPTT()}


def networks() -> Iterator[dict]:
    """Bits per byte of each network after some thousand bytes; the networks of both methods begin alike."""
    text, _ = king_james()
    stream = numbered(text[:BYTES], Vocabulary(capacity=CAPACITY))
    for i in range(NETWORKS):
        for method, estimator in METHODS.items():
            learner = stack_learner(estimator)
            bits, *_ = one_pass(learner, learner.init(stack_model(UNITS, jax.random.key(100 + i))), stream, BYTES)
            for read in (30_000, 100_000, BYTES):
                yield {"method": method, "network": i, "bytes": read, "bits per byte": bits[:read].mean()}
            print(method, i, bits.mean(), flush=True)


def main() -> None:
    keep_table("06_language_several", "networks", pd.DataFrame(networks()), "python -m artifact.language.several")


if __name__ == "__main__":
    run(main)
