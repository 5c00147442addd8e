"""How XLA compiles for tests and the processes that they start: what is computed is the question here, not how fast."""

import os


def quick_flags(*more: str) -> str:
    """XLA's flags for compiling in half the time, before those of the user: XLA stops at what it takes for no flag."""
    return " ".join(["--xla_cpu_use_fusion_emitters=false", *more, os.environ.get("XLA_FLAGS", "")])
