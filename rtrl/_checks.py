"""What a user can get wrong, said in one line before anything is compiled."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from rtrl._trained import check_trained
from rtrl._types import Input, State, Target
from rtrl.estimators import RTRL, AbstractEstimator
from rtrl.model import Model


def check_model(model: Model) -> None:
    """Raises `TypeError` unless the parameters can be trained and the state can be differentiated."""
    check_trained(model)
    for dtype in {jnp.asarray(leaf).dtype for leaf in jax.tree.leaves(model.cell.initial_state())}:
        if not jnp.issubdtype(dtype, jnp.inexact):
            raise TypeError(f"cell: expected a state of floating-point or complex arrays, got one of dtype {dtype}")


def check_lengths(xs: Input, ys: Target) -> None:
    """Raises `ValueError` unless all arrays have the same number of steps, at least one."""
    steps = {len(leaf) for leaf in jax.tree.leaves((xs, ys))}
    if len(steps) != 1:
        raise ValueError(f"xs, ys: expected the same number of steps in every array, got {sorted(steps)}")
    if steps == {0}:
        raise ValueError("xs, ys: expected at least one step, got an empty stream")


def check_block(estimator: AbstractEstimator, xs: Input) -> None:
    """Raises `ValueError` if the block form would never fold in a stream of this length."""
    steps = len(jax.tree.leaves(xs)[0])
    if isinstance(estimator, RTRL) and isinstance(estimator.block_size, int) and estimator.block_size > steps:
        raise ValueError(f"block_size: expected at most the stream's {steps} steps, got {estimator.block_size}")


def check_step(model: Model, loss: Any, x: Input, y: Target) -> None:
    """Raises `TypeError` unless a step keeps the state's shapes and dtypes and the loss is a scalar."""
    before = jax.eval_shape(lambda: jax.tree.map(jnp.asarray, model.cell.initial_state()))
    after = eqx.filter_eval_shape(lambda model, x: model.cell(model.cell.initial_state(), x), model, x)
    if _described(before) != _described(after):
        raise TypeError(
            f"cell: expected {type(model.cell).__name__} to keep the state's structure, shapes and dtypes, "
            f"{_described(before)}; a step gave {_described(after)}"
        )
    value = eqx.filter_eval_shape(lambda model, y: loss(model.predict(model.cell.initial_state()), y), model, y)
    leaves = jax.tree.leaves(value)
    if len(leaves) != 1 or leaves[0].shape != () or not jnp.issubdtype(leaves[0].dtype, jnp.floating):
        raise TypeError(f"loss: expected one real number for each step, got {_described(value)}; take a sum or a mean")


def _described(tree: State) -> str:
    return str(jax.tree.map(lambda a: f"{a.dtype}{list(a.shape)}", tree)).replace("'", "")
