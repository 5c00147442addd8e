"""One episode, step by step: what a trained policy sees, remembers and means to do."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import PRNGKeyArray

import rtrl


def begun_with(world: Any, side: int) -> PRNGKeyArray:
    """A key whose episode begins with this sign."""
    keys = jax.random.split(jax.random.key(0), 64)
    return next(key for key in keys if int(world.reset(key)[0].side) == side)


def played(model: rtrl.Model, world: Any, key: PRNGKeyArray, gain: float) -> tuple[pd.DataFrame, np.ndarray]:
    """An episode of the likeliest actions, without learning: a row for each step, and the cell's output there."""
    state, (place, seen) = model.cell.initial_state(), world.reset(key)
    rows, outputs, ended = [], [], False
    while not ended:
        x = gain * seen
        state = model.cell(state, x)
        prediction = model.predict(state, x)
        chances, action = jax.nn.softmax(prediction[:-1]), jnp.argmax(prediction[:-1])
        outputs.append(np.asarray(model.cell.output(state, x)))
        place, shown, reward, ended = world.step(key, place, action)
        names = dict(zip(("forward", "left", "right"), map(float, chances), strict=True))
        rows.append({"seen": int(seen.argmax()), "reward": float(reward), "value": float(prediction[-1]), **names})
        seen = shown
    return pd.DataFrame(rows), np.array(outputs)
