"""A kept study in parts, each kept in data/measured/ as soon as it is done."""

import argparse
import os
from collections.abc import Callable, Iterator, Sequence

import jax
import pandas as pd

from artifact.measured import keep_table

Part = Callable[[], Iterator[pd.DataFrame]]
"""Yields its rows, a table at a time; its name is the part's, its docstring says what it asks."""


def keep_parts(module: str, study: str, rows: str, parts: Sequence[Part], description: str | None) -> None:
    """Runs the parts that the command line names, or all, and keeps each as {study}_{part}_{rows}.csv."""
    by_name = {part.__name__: part for part in parts}
    command = f"python -m {module}"
    parser = argparse.ArgumentParser(prog=command, description=description)
    parser.add_argument("part", nargs="*", choices=[*by_name, []], help="all of them, unless named")
    for name in parser.parse_args().part or by_name:
        table = pd.concat(by_name[name](), ignore_index=True)
        device, flags = jax.devices()[0].device_kind, os.environ.get("XLA_FLAGS", "")
        keep_table(f"{study}_{name}", rows, table, f"{command} {name}", device=device, xla_flags=flags)
        jax.clear_caches()  # each compiled program maps memory, and a process may have only so many mappings
