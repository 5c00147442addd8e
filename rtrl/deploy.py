"""A learner's step as a file that runs without this package."""

import dataclasses
from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import export
from jaxtyping import Array, PyTree

from rtrl._fingerprint import fingerprint
from rtrl._learner_state import LearnerState
from rtrl._types import Input, Target
from rtrl.learner import Learner


def export_step(
    learner: Learner, state: LearnerState, x: Input, y: Target, *, platforms: Sequence[str] = ("cpu",)
) -> bytes:
    """`learner.step` compiled down to StableHLO and written to bytes, for states, inputs and targets shaped like these.

    `jax.export.deserialize(bytes).call` runs them in any later process that has JAX (and nothing of this package):
    `(arrays, x, y) -> (arrays, loss, prediction)`, with `arrays` the list that `state_arrays(state)` gives. A file
    cannot raise: a learner with `nonfinite="raise"` is exported with `"report"`, and its loss shows what happened. Nor
    does it take over memory, whatever the learner's `donate`; `jax.jit(call, donate_argnums=0)` is its caller's choice.
    """
    if learner.nonfinite == "raise":
        learner = dataclasses.replace(learner, nonfinite="report")
        state = dataclasses.replace(state, fingerprint=jnp.asarray(fingerprint(learner, state.model)))
    arrays, static = eqx.partition(state, eqx.is_array)
    leaves, structure = jax.tree.flatten(arrays)

    def step(leaves: list[Array], x: Input, y: Target) -> tuple[list[Array], Array, PyTree]:
        after, output = learner.step(eqx.combine(jax.tree.unflatten(structure, leaves), static), x, y)
        return state_arrays(after), output.loss, output.prediction

    return bytes(export.export(jax.jit(step), platforms=list(platforms))(leaves, x, y).serialize())


def state_arrays(state: LearnerState) -> list[Array]:
    """Everything that a learner carries from step to step, as a flat list of arrays."""
    return jax.tree.leaves(eqx.filter(state, eqx.is_array))
