"""What a user can get wrong, said in one line before anything is compiled."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from rtrl._trained import check_trained
from rtrl._types import Input, State, Target
from rtrl.cells import AbstractCell, StackedCell, recurrence
from rtrl.model import Model, whole


def check_model(model: Any) -> None:
    """Raises `TypeError` unless it is a model, its parameters can be trained and its state can be differentiated."""
    if not isinstance(model, Model | eqx.nn.Shared):
        raise TypeError(f"model: expected rtrl.Model(cell, readout), got {type(model).__name__}")
    cell = whole(model).cell
    check_trained(model)
    for leaf in jax.tree.leaves(cell.initial_state()):
        if not eqx.is_array_like(leaf) or not jnp.issubdtype(jnp.asarray(leaf).dtype, jnp.inexact):
            got = f"one of dtype {jnp.asarray(leaf).dtype}" if eqx.is_array_like(leaf) else type(leaf).__name__
            raise TypeError(f"cell: expected a state of floating-point or complex arrays, got {got}")


def check_stream(batch_size: int | None, **streams: PyTree) -> int:
    """The number of steps; raises unless all are arrays of that many steps, at least one, of so many streams."""
    for name, tree in streams.items():
        for leaf in jax.tree.leaves(tree):
            if not isinstance(leaf, jax.Array | np.ndarray):
                raise TypeError(f"{name}: expected JAX or NumPy arrays with a leading time axis, got {_kind(leaf)}")
            _check_dtype(name, leaf)
    leaves = jax.tree.leaves(streams)
    names = ", ".join(name for name, tree in streams.items() if jax.tree.leaves(tree))
    axes = 1 if batch_size is None else 2
    shapes = {leaf.shape[:axes] for leaf in leaves}
    if not leaves:
        raise ValueError("xs, ys: expected at least one array, which says how many steps there are; got none")
    if any(len(shape) < axes for shape in shapes):
        got = next(leaf.shape for leaf in leaves if leaf.ndim < axes)
        raise ValueError(
            f"{names}: expected a time axis{' and a batch axis' * (axes == 2)} in every array, got one of shape {got}"
        )
    if len({shape[0] for shape in shapes}) != 1:
        got = _first(sorted({shape[0] for shape in shapes}))
        raise ValueError(f"{names}: expected the same number of steps in every array, got {got}")
    if {shape[0] for shape in shapes} == {0}:
        raise ValueError(f"{names}: expected at least one step, got an empty stream")
    if batch_size is not None and any(shape[1] != batch_size for shape in shapes):
        raise ValueError(
            f"{names}: expected axes (time, {batch_size} streams, …) in every array, got shapes that begin with "
            f"{_first(sorted(shapes))}; rtrl.from_sequences turns (sequences, time, …) around"
        )
    check_marks(axes, **streams)
    return next(iter(shapes))[0]


def check_one(batch_size: int | None, **values: PyTree) -> None:
    """Raises unless all are arrays or numbers, with an axis of so many streams."""
    for name, tree in values.items():
        for leaf in jax.tree.leaves(tree):
            if not isinstance(leaf, jax.Array | np.ndarray | np.generic | bool | int | float | complex):
                raise TypeError(f"{name}: expected JAX or NumPy arrays, got {_kind(leaf)}")
            _check_dtype(name, leaf)
            if batch_size is not None and np.shape(leaf)[:1] != (batch_size,):
                raise ValueError(f"{name}: expected a first axis of {batch_size} streams, got shape {np.shape(leaf)}")
    check_marks(0 if batch_size is None else 1, **values)


def check_marks(axes: int, **values: PyTree) -> None:
    """Raises `ValueError` unless resets and weights are one real number for each step, of each stream."""
    for name in ("reset", "weight"):
        value = values.get(name)
        if value is not None and (np.ndim(value) != axes or np.iscomplexobj(value)):
            where = "no axis", "one axis", "two axes"
            raise ValueError(
                f"{name}: expected one real number for each step (and stream), {where[axes]}, got {_described(value)}"
            )


def flags(reset: Any) -> Any:
    """Resets as booleans."""
    return None if reset is None else jnp.asarray(reset, bool)


def numbers(weight: Any) -> Any:
    """Weights in the default precision."""
    return None if weight is None else jnp.asarray(weight, jnp.result_type(float))


def check_step(model: Model, loss: Any, x: Input, y: Target, key: Any) -> None:
    """Raises `TypeError` unless a step keeps the state's shapes and dtypes, does without the fields that only its
    output is said to use, and the loss is a scalar.

    **Raises:** `ValueError` if the readout is random and there is no key.
    """
    before = jax.eval_shape(lambda: jax.tree.map(jnp.asarray, model.cell.initial_state()))
    after = eqx.filter_eval_shape(lambda model, x: model.cell(model.cell.initial_state(), x), model, x)
    if _leaves(before) != _leaves(after):
        raise TypeError(
            f"cell: expected {type(model.cell).__name__} to keep the state's structure, shapes and dtypes, "
            f"{_difference(before, after)}"
        )
    _check_output_fields(model.cell, x)

    def score(model: Model, x: Input, y: Target) -> Any:
        return loss(model.predict(model.cell.initial_state(), x, key=key), y)

    try:
        value = eqx.filter_eval_shape(score, model, x, y)
    except RuntimeError as error:  # what Equinox's random layers raise
        if key is not None or "requires a key" not in str(error):
            raise
        raise ValueError("key: expected one, because the readout is random, got None; init(model, key=key)") from error
    leaves = jax.tree.leaves(value)
    if len(leaves) != 1 or getattr(leaves[0], "shape", None) != () or not jnp.issubdtype(leaves[0].dtype, jnp.floating):
        got = ", ".join(map(_described, leaves[:3])) or "nothing"
        raise TypeError(f"loss: expected one real JAX number for each step, got {got}; take a sum or a mean")


def _check_output_fields(cell: AbstractCell, x: Input) -> None:
    """Raises `TypeError` if a cell, or one in a stack, needs for its step what it says that only its output uses."""
    if isinstance(cell, StackedCell):
        for k, layer in enumerate(cell.layers):
            if isinstance(layer, AbstractCell):
                entering = lambda c, x, k=k: c.entering(x, c(c.initial_state(), x)[:k])  # noqa: E731
                _check_output_fields(layer, eqx.filter_eval_shape(entering, cell, x))
    elif cell.output_fields:
        try:
            eqx.filter_eval_shape(lambda c, x: c(c.initial_state(), x), recurrence(cell), x)
        except Exception as error:  # whatever a user's cell raises without them
            raise TypeError(
                f"cell: expected a step of {type(cell).__name__} that does without its output_fields "
                f"{', '.join(cell.output_fields)}, got one that uses them ({type(error).__name__})"
            ) from error


def check_like(example: Input, x: Input, name: str) -> None:
    """Raises `ValueError` unless an input has the structure and shapes of the cell's `example_input()`, and numbers
    that a window of such examples can hold: no fraction where it has integers, no complex one where it has real ones.
    """
    begin = f"x: expected an input like {name}.example_input(), "
    if jax.tree.structure(example) != jax.tree.structure(x):
        raise ValueError(begin + _structures(example, x, "got"))
    for (path, one), other in zip(jax.tree_util.tree_leaves_with_path(example), jax.tree.leaves(x), strict=True):
        kinds = [_rank(jnp.result_type(leaf)) for leaf in (one, other)]
        if jnp.shape(one) != jnp.shape(other) or kinds[0] < kinds[1]:
            place = f" at {jax.tree_util.keystr(path)}" if path else ""
            raise ValueError(f"{begin}{_described(one)}{place}, got {_described(other)}")


def _kind(leaf: Any) -> str:
    kind = type(leaf).__name__
    return f"{kind}; give .to_numpy()" if hasattr(leaf, "to_numpy") else f"{kind}; numpy.asarray makes arrays of lists"


def _described(leaf: Any) -> str:
    return f"{leaf.dtype}{list(leaf.shape)}" if hasattr(leaf, "dtype") else f"{type(leaf).__name__} {leaf!r}"


def _check_dtype(name: str, leaf: Any) -> None:
    """Raises `TypeError` for NumPy's arrays of objects, strings, dates and long numbers, which JAX has not."""
    if isinstance(leaf, np.ndarray | np.generic):
        known = leaf.dtype == bool or jnp.issubdtype(leaf.dtype, jnp.number)
        if not known or leaf.dtype in (np.longdouble, np.clongdouble):
            raise TypeError(
                f"{name}: expected an array of numbers or booleans, got one of dtype {leaf.dtype}; .astype(float) "
                f"makes one of what are numbers"
            )


def _first(found: list, most: int = 4) -> str:
    return f"[{', '.join(map(str, found[:most]))}{', …' * (len(found) > most)}]"


def _rank(dtype: Any) -> int:
    """Of numbers: what has a higher rank cannot be held by what has a lower one."""
    kinds = jnp.bool_, jnp.integer, jnp.floating
    return next((rank for rank, kind in enumerate(kinds) if jnp.issubdtype(dtype, kind)), len(kinds))


def _structures(one: Any, other: Any, then: str) -> str:
    first, second = (str(jax.tree.structure(tree))[:80] for tree in (one, other))
    return f"{first}; {then} {second}"


def _leaves(tree: State) -> Any:
    return jax.tree.structure(tree), [_described(leaf) for leaf in jax.tree.leaves(tree)]


def _difference(before: State, after: State) -> str:
    """The first leaf that differs, or that the structures do."""
    if jax.tree.structure(before) != jax.tree.structure(after):
        return _structures(before, after, "a step gave")
    pairs = zip(jax.tree_util.tree_leaves_with_path(before), jax.tree.leaves(after), strict=True)
    path, one, other = next((p, a, b) for (p, a), b in pairs if _described(a) != _described(b))
    return f"{_described(one)}{' at ' * bool(path)}{jax.tree_util.keystr(path)}; a step gave {_described(other)}"
