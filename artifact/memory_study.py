"""The kept study of long memory: `python -m artifact.memory_study [PART …]`, each part kept as soon as it is done."""

from artifact.conditioning import conditioning
from artifact.errors import run
from artifact.memory_cells import cells, dense, leaky, stability, timescales
from artifact.memory_parts import (
    delays,
    equal_memory,
    farthest,
    harder,
    hundred_beyond,
    longest,
    windows,
    windows_beyond,
)
from artifact.memory_tasks import adding, adding_long, copying, copying_long, counting
from artifact.parts import keep_parts
from artifact.pixels import pixels

PARTS = (
    delays,
    windows,
    windows_beyond,
    hundred_beyond,
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
    adding_long,
    counting,
    copying,
    copying_long,
    conditioning,
    pixels,
)


def main() -> None:
    keep_parts("artifact.memory_study", "05_long_memory", "networks", PARTS, __doc__)


if __name__ == "__main__":
    run(main)
