"""Which settings a learner's state belongs to."""

import collections
import hashlib
import re
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jax.core import Tracer
from jaxtyping import UInt32

from rtrl._learner_state import LearnerState
from rtrl._sizes import named
from rtrl._trained import trained


def fingerprint(learner: Any, model: Any) -> UInt32[np.ndarray, "2"]:
    """A digest of what decides how a state goes on, beside its arrays: estimator, window, structure of the model.

    The same in every process: addresses of functions do not count, their names do.
    """
    structure = jax.tree.structure(trained(model)), jax.tree.structure(model)
    shapes = [(a.shape, str(a.dtype)) for a in jax.tree.leaves(model) if eqx.is_array(a)]
    text = f"{learner.estimator!r} {learner.update_every} {learner.nonfinite} {structure} {shapes}"
    digest = hashlib.sha256(re.sub(r" at 0x[0-9a-f]+", "", text).encode()).digest()
    return np.frombuffer(digest[:8], np.uint32)


_passed: collections.deque = collections.deque(maxlen=64)
"""Learners and fingerprints that were found to belong together; a loop of steps hands on the same objects."""


def check_same(learner: Any, state: Any) -> None:
    """Raises `ValueError` if a state belongs to a learner with other settings or was taken over by another call.

    Inside `jit` that cannot be known.
    """
    if not isinstance(state, LearnerState):
        raise TypeError(f"state: expected what learner.init gives, got {type(state).__name__}")
    if isinstance(state.fingerprint, Tracer):
        return
    if state.steps.is_deleted():
        raise ValueError(
            "state: expected one that can still be used, got one that a learner with donate=True, or a jitted call "
            "that donates, has taken over; go on with the state that it returned"
        )
    if any(one is learner and other is state.fingerprint for one, other in _passed):
        return
    got, expected = np.asarray(state.fingerprint).reshape(-1, 2), fingerprint(learner, state.model)
    if (got != expected).any():
        raise ValueError(
            f"state: expected one that belongs to this learner ({named(learner.estimator)}, "
            f"update_every={learner.update_every}) and this structure of the model; got one that was made with others"
        )
    _passed.append((learner, state.fingerprint))
