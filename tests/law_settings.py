"""How many examples the tests of the laws try, and how they are compiled."""

import os

import jax
import pytest
from hypothesis import HealthCheck, settings

EXAMPLES = int(os.environ.get("RTRL_EXAMPLES", "2000"))
SHORT = EXAMPLES <= 2000


def examples_of_each(count):
    """The same examples in every short run, others in every long one."""
    return settings(
        max_examples=count,
        derandomize=SHORT,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


@pytest.fixture(autouse=True, scope="module")
def compiled_fast():
    """What is computed is the question here, not how fast: XLA compiles in half the time."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(autouse=True)
def room_for_a_long_run():
    """Over a thousand compiled programs are more than the memory maps of a process."""
    yield
    if not SHORT:
        jax.clear_caches()
