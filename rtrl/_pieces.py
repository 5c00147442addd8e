"""The pieces of a stream, of any size, cut anew into chunks of one size."""

from collections.abc import Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

NAMES = "x", "y", "reset", "weight"
ABSENT = {"reset": 0, "weight": 1}  # what a step without them means: the stream goes on, its loss counts once


def cut(stream: Iterable[Any], chunk: int, skip: int = 0) -> Iterator[dict[str, PyTree]]:
    """Chunks of `chunk` steps, the last one shorter, of what follows the stream's first `skip` steps.

    A chunk has the keys `x` and `y`, and `reset` and `weight` from the first piece on that brought them. Nothing is
    held but the current piece and a chunk, twice while it is put together from many pieces.

    **Raises:** `ValueError` as `rtrl.follow` does.
    """
    first: dict[str, PyTree] = {}
    held, missing, read, number = [], chunk, 0, 0
    for given in stream:
        number += 1  # noqa: SIM113  enumerate would hold the last piece while the next one is made
        piece = _checked(given, number, first)
        steps = steps_of(piece)
        begin = min(max(skip - read, 0), steps)
        read += steps
        while begin < steps:
            end = min(begin + missing, steps)
            held.append(_copied(piece, begin, end))
            begin, missing = end, missing - (end - begin)
            if not missing:
                ready, held, missing = _joined(held, first), [], chunk
                yield ready
                del ready
        del given, piece
    if read < max(skip, 1):
        raise ValueError(f"stream: expected at least {max(skip, 1)} steps{' as before' if skip else ''}, got {read}")
    if held:
        yield _joined(held, first)


def steps_of(piece: PyTree) -> int:
    """The length of the time axis."""
    return len(jax.tree.leaves(piece)[0])


def known_steps(stream: Iterable[Any]) -> int | None:
    """How many steps a list of pieces in memory has; `None` if that takes more than a look."""
    if not isinstance(stream, list | tuple):
        return None
    try:
        return sum(steps_of([a for a in jax.tree.leaves(piece) if a.shape]) for piece in stream)
    except (AttributeError, IndexError):
        return None


def _checked(given: Any, number: int, first: dict[str, PyTree]) -> dict[str, PyTree]:
    """A piece as numpy arrays by name, if it is like those before; `first` takes the form of what comes for once."""
    if not (isinstance(given, tuple | list) and 2 <= len(given) <= len(NAMES)):
        raise ValueError(_unlike_a_piece(number, _kind(given)))
    named = zip(NAMES, given, strict=False)  # x may be None: a cell without input
    piece = {name: part for name, part in named if part is not None or name in ("x", "y")}
    to_array = lambda path, leaf: _array(leaf, number, path)  # noqa: E731
    piece = jax.tree_util.tree_map_with_path(to_array, piece, is_leaf=_is_list_of_numbers)
    lengths = {len(a) for a in jax.tree.leaves(piece)}
    if len(lengths) != 1:
        got = f"lengths {sorted(lengths)}" if lengths else "no array"
        raise ValueError(f"stream: expected as many steps in every array of piece {number}, got {got}")
    if lengths != {0}:  # an empty list has no dtype to speak of
        _compare(piece, number, first)
    return piece


def _array(leaf: Any, number: int, path: tuple[Any, ...]) -> np.ndarray:
    name = jax.tree_util.keystr(path, simple=True, separator=".")
    try:
        array = np.asarray(leaf)
    except Exception as error:  # whatever a foreign type says about it
        raise ValueError(_unlike_a_piece(number, f"{name} of type {_kind(leaf)}")) from error
    if not (jnp.issubdtype(array.dtype, jnp.number) or array.dtype == bool):
        raise ValueError(_unlike_a_piece(number, f"{name} of type {_kind(leaf)} and dtype {array.dtype}"))
    if array.ndim == 0:
        raise ValueError(_unlike_a_piece(number, f"the single number {array} as {name}"))
    return array


def _unlike_a_piece(number: int, got: str) -> str:
    return (
        "stream: expected pieces (x, y[, reset, weight]) of numeric arrays with a leading time axis, "
        f"got {got} as piece {number}; a stream in memory is a list of one piece, [(xs, ys)]"
    )


def _kind(value: Any) -> str:
    length = f" of length {len(value)}" if isinstance(value, tuple | list) else ""
    return type(value).__name__ + length


def _is_list_of_numbers(node: Any) -> bool:
    """An array written as nested lists; a list that holds arrays is a pytree."""
    return isinstance(node, list) and not any(hasattr(leaf, "shape") for leaf in jax.tree.leaves(node))


def _compare(piece: dict[str, PyTree], number: int, first: dict[str, PyTree]) -> None:
    for name, part in piece.items():
        form = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), part)
        before = first.setdefault(name, form)
        if jax.tree.flatten(form) != jax.tree.flatten(before):
            raise ValueError(
                f"stream: expected {name} of piece {number} as in the pieces before, {_written(before)}, "
                f"got {_written(form)}"
            )


def _written(form: PyTree) -> str:
    return str(jax.tree.map(lambda a: f"{a.dtype}[{', '.join(map(str, ('time', *a.shape)))}]", form)).replace("'", "")


def _copied(piece: dict[str, PyTree], begin: int, end: int) -> dict[str, PyTree]:
    """A part that stays what it is when the stream writes its next piece into the same memory."""
    return jax.tree.map(lambda a: a[begin:end].copy(), piece)


def _joined(parts: list[dict[str, PyTree]], first: dict[str, PyTree]) -> dict[str, PyTree]:
    def filled(part: dict[str, PyTree]) -> dict[str, PyTree]:
        full = lambda name: lambda a: np.full((steps_of(part), *a.shape), ABSENT[name], a.dtype)  # noqa: E731
        return {name: part[name] if name in part else jax.tree.map(full(name), form) for name, form in first.items()}

    return jax.tree.map(lambda *a: np.concatenate(a), *map(filled, parts)) if len(parts) > 1 else filled(parts[0])
