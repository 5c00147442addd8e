"""The kept study of long memory: `python -m artifact.memory_study [PART …]`, each part kept as soon as it is done."""

import argparse
from collections.abc import Callable, Iterator, Mapping

import jax
import pandas as pd

from artifact.conditioning import conditioning
from artifact.errors import run
from artifact.measured import keep_table
from artifact.memory_cells import cells, dense, leaky, stability, timescales
from artifact.memory_parts import delays, equal_memory, farthest, harder, longest, windows, windows_beyond
from artifact.memory_tasks import adding, copying, copying_long, counting
from artifact.pixels import pixels

PARTS: Mapping[str, Callable[[], Iterator[pd.DataFrame]]] = {
    part.__name__: part
    for part in (
        delays,
        windows,
        windows_beyond,
        equal_memory,
        longest,
        farthest,
        harder,
        cells,
        dense,
        leaky,
        timescales,
        stability,
        adding,
        counting,
        copying,
        copying_long,
        conditioning,
        pixels,
    )
}


def study(part: str) -> None:
    """Runs a part and keeps its table in data/measured/."""
    table = pd.concat(PARTS[part](), ignore_index=True)
    keep_table(f"05_long_memory_{part}", "networks", table, f"python -m artifact.memory_study {part}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m artifact.memory_study", description=__doc__)
    parser.add_argument("part", nargs="*", choices=[*PARTS, []], help="all of them, unless named")
    for part in parser.parse_args().part or PARTS:
        study(part)
        jax.clear_caches()  # each compiled program maps memory, and a process may have only so many mappings


if __name__ == "__main__":
    run(main)
