"""Every test runs in float64, with shapes and types checked at run time."""

import os
import pathlib

import jax
import jaxtyping
import pytest
from checkout import Checkout
from compiling import quick_flags

os.environ.setdefault("JAX_PLATFORMS", "cpu")
jaxtyping.install_import_hook("rtrl", "beartype.beartype")
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_disable_most_optimizations", True)
# XLA reads its flags once, here; the kernels in which notebooks run beside these tests are to have those of the user.
with pytest.MonkeyPatch.context() as patch:
    patch.setenv("XLA_FLAGS", quick_flags())
    jax.devices()

MAPS = pathlib.Path("/proc/self/maps")


@pytest.fixture(autouse=True)
def few_compiled_programs():
    """Forgets compiled programs before they use up the 65,530 memory maps that a process may have, and crash it."""
    yield
    if MAPS.exists() and MAPS.read_bytes().count(b"\n") > 20_000:
        jax.clear_caches()


@pytest.fixture
def checkout(tmp_path):
    """A small checkout of its own, for a test of the pipeline."""
    return Checkout(tmp_path)
