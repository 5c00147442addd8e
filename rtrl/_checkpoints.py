"""A learner's state on disk: written whole or not at all, and read back only where it fits."""

import zlib
from importlib.metadata import PackageNotFoundError, version
from os import PathLike
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

FORMAT = 1
"""Of what a checkpoint holds: two items, `rtrl` (a description) and `state` (a list of arrays)."""


class Checkpoints:
    """The last `keep` states in a folder, each under the number of steps of the stream that it has seen."""

    def __init__(self, folder: str | PathLike[str], keep: int):
        self.orbax, self.folder = _orbax(), Path(folder).absolute()
        if self.folder.exists() and not self.folder.is_dir():
            raise ValueError(f"checkpoints: expected a folder, got the file {self.folder}")
        options = self.orbax.CheckpointManagerOptions(
            max_to_keep=keep, step_prefix="steps", enable_async_checkpointing=False
        )
        self.manager = self.orbax.CheckpointManager(self.folder, options=options)

    def save(self, state: PyTree, steps: int) -> None:
        """Writes beside the final place and renames: a process that is killed here leaves the checkpoints as they were.

        Arrays without entries are left out, as Orbax refuses them.
        """
        leaves = _leaves(state)
        numbers = [_numbers(leaf) for leaf in leaves.values()]
        sums = [{"bytes": a.nbytes, "crc32": _crc32(a)} for a in numbers]
        described = [_described(*leaf) | more for leaf, more in zip(leaves.items(), sums, strict=True)]
        about = {"format": FORMAT, "rtrl": _version(), "steps": steps, "leaves": described}
        args = self.orbax.args
        kept = args.StandardSave([a for a in numbers if a.size])
        self.manager.save(steps, args=args.Composite(rtrl=args.JsonSave(about), state=kept))

    def restore(self, like: PyTree) -> tuple[PyTree, int]:
        """The newest state in the structure of `like`, and its steps; `like` itself and 0 from an empty folder.

        Raises `ValueError` if the newest checkpoint is damaged, foreign, of another format or of another learner,
        naming what differs and the newest one before it that is good.
        """
        newest, *older = sorted(self.manager.all_steps(), reverse=True) or [None]
        if newest is None:
            return like, 0
        try:
            return self._read(newest, like), newest
        except ValueError as refused:
            good = next((self._path(steps) for steps in older if self._is_good(steps, like)), None)
            advice = (
                f"the last good one is {good}: move newer ones away to go on from it" if good else "no other is good"
            )
            raise ValueError(f"{refused}; {advice}") from refused.__cause__

    def _path(self, steps: int) -> Path:
        return self.folder / f"steps_{steps}"

    def _is_good(self, steps: int, like: PyTree) -> bool:
        try:
            self._read(steps, like)
        except ValueError:
            return False
        return True

    def _read(self, steps: int, like: PyTree) -> PyTree:
        wanted, described = _leaves(like), self._description(steps)
        self._check_leaves(steps, described, wanted)
        numbers = self._numbers_of(steps, described)
        for path, leaf in wanted.items():
            if path.endswith("fingerprint") and not np.array_equal(numbers[path], _numbers(leaf)):
                raise self._refusal(steps, f"{path} {_numbers(leaf)}", f"{numbers[path]}, of another learner")
        found = [
            _placed(numbers[path], leaf, described[path]["weak"]) if path in numbers else leaf
            for path, leaf in wanted.items()
        ]
        arrays, rest = eqx.partition(like, eqx.is_array)
        return eqx.combine(jax.tree.unflatten(jax.tree.structure(arrays), found), rest)

    def _description(self, steps: int) -> dict[str, dict[str, Any]]:
        """What the checkpoint says of its leaves, by their paths, if it is one of ours."""
        about = self._item(steps, "rtrl", self.orbax.args.JsonRestore())
        if not isinstance(about, dict) or "format" not in about:
            raise self._refusal(steps, "a checkpoint of rtrl.follow", "a foreign one")
        if about["format"] != FORMAT:
            got = f"format {about['format']}, written by rtrl {about.get('rtrl')},"
            raise self._refusal(steps, f"format {FORMAT}", got)
        if about["steps"] != steps:
            raise self._refusal(steps, f"{steps} steps, as its name says", f"{about['steps']}")
        return {leaf["path"]: leaf for leaf in about["leaves"]}

    def _check_leaves(self, steps: int, described: dict[str, dict[str, Any]], wanted: dict[str, Array]) -> None:
        for path in [*wanted, *described]:
            expected = _written(_described(path, wanted[path])) if path in wanted else "no such leaf"
            got = _written(described[path]) if path in described else "no such leaf"
            if expected != got:
                raise self._refusal(steps, f"{expected} at {path}", got)

    def _numbers_of(self, steps: int, described: dict[str, dict[str, Any]]) -> dict[str, np.ndarray]:
        """The leaves that were written, to the bit; the empty ones were not."""
        written = [path for path, about in described.items() if about["bytes"]]
        arrays = self._item(steps, "state", self.orbax.args.StandardRestore())
        if len(arrays) != len(written):
            raise self._refusal(steps, f"{len(written)} arrays", f"{len(arrays)}")
        for path, array in zip(written, arrays, strict=True):
            if _crc32(array) != described[path]["crc32"]:
                raise self._refusal(steps, f"{path} as it was written", "other bytes")
        return dict(zip(written, arrays, strict=True))

    def _item(self, steps: int, name: str, args: Any) -> Any:
        try:
            return self.manager.restore(steps, args=self.orbax.args.Composite(**{name: args}))[name]
        except Exception as error:  # Orbax and TensorStore raise whatever comes
            got = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:200]}"
            raise self._refusal(steps, f"a whole checkpoint of rtrl.follow with a readable {name!r}", got) from error

    def _refusal(self, steps: int, expected: str, got: str) -> ValueError:
        return ValueError(f"checkpoints: expected {expected}, got {got} in {self._path(steps)}")


def _orbax() -> Any:
    """Imported where it is needed only: it takes half a second, and most streams are followed without it."""
    try:
        import orbax.checkpoint
    except ImportError as error:
        missing = "checkpoints: expected Orbax to be installed, got none; pip install 'rtrl[checkpoints]'"
        raise ImportError(missing) from error
    return orbax.checkpoint


def _version() -> str:
    try:
        return version("rtrl")
    except PackageNotFoundError:  # run from a checkout
        return "unknown"


def _leaves(state: PyTree) -> dict[str, Array]:
    """All arrays of a state by their key paths."""
    leaves = jax.tree_util.tree_leaves_with_path(eqx.filter(state, eqx.is_array))
    return {jax.tree_util.keystr(path): leaf for path, leaf in leaves}


def _described(path: str, leaf: Array) -> dict[str, Any]:
    return {"path": path, "shape": list(leaf.shape), "dtype": str(leaf.dtype), "weak": bool(leaf.weak_type)}


def _written(about: dict[str, Any]) -> str:
    return f"{about['dtype']}{about['shape']}"


def _is_key(leaf: Array) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _numbers(leaf: Array) -> np.ndarray:
    return np.asarray(jax.random.key_data(leaf) if _is_key(leaf) else leaf)


def _crc32(numbers: np.ndarray) -> int:
    """Over the bytes themselves: TensorStore would not notice a changed bit in what it stores uncompressed."""
    return zlib.crc32(np.ascontiguousarray(numbers).reshape(-1).view(np.uint8).data)


def _placed(numbers: np.ndarray, like: Array, weak: bool) -> Array:
    """An array as the uninterrupted run has it: on the same devices, and as weakly typed as it was."""
    if _is_key(like):
        return jax.random.wrap_key_data(jnp.asarray(numbers), impl=jax.random.key_impl(like))
    if weak and like.weak_type:
        return like.at[...].set(numbers)
    return jax.device_put(numbers, like.sharding) if like.committed else jnp.asarray(numbers)
