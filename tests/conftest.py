"""Every test runs in float64, with shapes and types checked at run time."""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import jaxtyping

jaxtyping.install_import_hook("rtrl", "beartype.beartype")
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")
