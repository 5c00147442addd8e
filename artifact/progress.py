"""A sign of life from a running notebook: which, which cell of how many, how long."""

import contextlib
import json
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def reported(label: str, running: Path, every: float = 15.0) -> Iterator[None]:
    """While the block runs, a line on stderr every so many seconds; at its successful end, one on stdout.

    `running` is the notebook as papermill saves it after each cell. Lines, not bars: several notebooks run
    side by side on one terminal.
    """
    began, ended = time.monotonic(), threading.Event()

    def report() -> None:
        while not ended.wait(every):
            print(f"{label}: {_position(running)}, {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)

    print(f"{label}: started", file=sys.stderr, flush=True)
    threading.Thread(target=report, daemon=True).start()
    try:
        yield
        print(f"{label}: done in {time.monotonic() - began:.0f} s", flush=True)
    finally:
        ended.set()


def _position(running: Path) -> str:
    try:
        cells = json.loads(running.read_text(encoding="utf-8"))["cells"]
    except (OSError, ValueError):  # not yet written, or being written
        return "running"
    done = sum(cell["metadata"].get("papermill", {}).get("status") == "completed" for cell in cells)
    return f"cell {min(done + 1, len(cells))} of {len(cells)}"
