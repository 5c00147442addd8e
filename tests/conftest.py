"""Every test runs in float64, with shapes and types checked at run time."""

import os

import jax
import jaxtyping
import pytest
from checkout import Checkout

os.environ.setdefault("JAX_PLATFORMS", "cpu")
jaxtyping.install_import_hook("rtrl", "beartype.beartype")
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture(autouse=True, scope="module")
def few_compiled_programs():
    """Forgets each module's compiled programs: thousands of them use up the memory maps that a process may have."""
    yield
    jax.clear_caches()


@pytest.fixture
def checkout(tmp_path):
    """A small checkout of its own, for a test of the pipeline."""
    return Checkout(tmp_path)
