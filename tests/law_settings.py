"""How many examples the tests of the laws try."""

import os

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
