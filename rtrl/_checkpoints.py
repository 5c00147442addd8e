"""A learner's state on disk: written whole or not at all, and read back only where it fits."""

import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from os import PathLike
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jaxtyping import Array, PyTree

FORMAT = 1
"""Of what a checkpoint is: `state`, a list of arrays that Orbax wrote, and `about.json`, which describes it.

`about.json` has `format`, the version of `rtrl`, `steps` of the stream, every leaf's `path`, `shape`, `dtype` and
whether it is weakly typed, and the sha256 of every file below `state`. Leaves without entries are described only.
"""

_FIELDS = {"path", "shape", "dtype", "weak"}


class Checkpoints:
    """The last `keep` states in a folder, each under the number of steps of the stream that it has seen."""

    def __init__(self, folder: str | PathLike[str], keep: int):
        self.folder, self.keep = Path(folder).absolute(), keep
        self.orbax = _orbax().PyTreeCheckpointer()
        if self.folder.exists() and not self.folder.is_dir():
            raise ValueError(f"checkpoints: expected a folder, got the file {self.folder}")

    def save(self, state: PyTree, steps: int) -> None:
        """Writes beside the final place and renames, so that a process may be killed here at any moment.

        Of several processes each writes its part of what is divided among devices, the first one the rest.
        """
        leaves, unfinished = _leaves(state), self._unfinished(steps)
        self.folder.mkdir(parents=True, exist_ok=True)
        written = [leaf if _is_divided(leaf) else _numbers(leaf) for leaf in leaves.values() if leaf.size]
        self.orbax.save(unfinished / "state", written)
        if jax.process_index() == 0:
            self._finish(leaves, steps)
        _together("saved")

    def _finish(self, leaves: dict[str, Array], steps: int) -> None:
        unfinished = self._unfinished(steps)
        about = {"format": FORMAT, "rtrl": _version(), "steps": steps}
        about["leaves"] = [_described(path, leaf) for path, leaf in leaves.items()]
        about["files"] = {name: _digest(unfinished / name) for name in _files(unfinished)}
        (unfinished / "about.json").write_text(json.dumps(about))
        unfinished.rename(self._path(steps))
        for old in self._steps()[self.keep :]:
            self._path(old).rename(self._unfinished(old))  # half deleted, it would look like a damaged checkpoint
            shutil.rmtree(self._unfinished(old))

    def restore(self, like: PyTree) -> tuple[PyTree, int]:
        """The newest state in the structure of `like`, and its steps; `like` itself and 0 from an empty folder.

        **Raises:** `ValueError` if the newest checkpoint is damaged, foreign, of another format or of another learner,
        naming what differs and the newest one before it that is good.
        """
        newest, *older = self._steps() or [0]
        newest = _of_first(newest)
        try:
            state = self._read(newest, like) if newest else like
        except ValueError as refused:
            good = next((self._path(steps) for steps in older if self._is_good(steps, like)), None)
            advice = f"the last good one is {good}: move newer ones away to go on from it"
            raise ValueError(f"{refused}; {advice if good else 'no other is good'}") from refused.__cause__
        _together("restored")
        if jax.process_index() == 0:
            for unfinished in self.folder.glob(".steps_*.unfinished"):  # by a process that was killed
                shutil.rmtree(unfinished)
        _together("cleared")
        return state, newest

    def _path(self, steps: int) -> Path:
        return self.folder / f"steps_{steps}"

    def _unfinished(self, steps: int) -> Path:
        return self.folder / f".steps_{steps}.unfinished"

    def _steps(self) -> list[int]:
        """The steps of all checkpoints, the newest first."""
        names = [path.name for path in self.folder.iterdir()] if self.folder.exists() else []
        return sorted((int(name[6:]) for name in names if re.fullmatch(r"steps_[1-9]\d*", name)), reverse=True)

    def _is_good(self, steps: int, like: PyTree) -> bool:
        try:
            self._read(steps, like)
        except ValueError:
            return False
        return True

    def _read(self, steps: int, like: PyTree) -> PyTree:
        about, wanted = self._description(steps), _leaves(like)
        described = {leaf["path"]: leaf for leaf in about["leaves"]}
        self._check_leaves(steps, described, wanted)
        self._check_files(steps, about["files"])
        written = [path for path, leaf in described.items() if 0 not in leaf["shape"]]
        numbers = dict(zip(written, self._arrays(steps, [wanted[path] for path in written]), strict=True))
        for path, leaf in wanted.items():
            if path.endswith("fingerprint") and not np.array_equal(numbers[path], _numbers(leaf)):
                raise self._refusal(steps, f"{path} {_numbers(leaf)}", f"{numbers[path]}, of another learner,")
        placed = [
            _placed(numbers[path], leaf, described[path]["weak"]) if leaf.size else leaf
            for path, leaf in wanted.items()
        ]
        arrays, rest = eqx.partition(like, eqx.is_array)
        return eqx.combine(jax.tree.unflatten(jax.tree.structure(arrays), placed), rest)

    def _description(self, steps: int) -> dict[str, Any]:
        """What the checkpoint says of itself, if it is one of ours."""
        try:
            about = json.loads((self._path(steps) / "about.json").read_text())
        except (OSError, ValueError) as error:
            got = f"{type(error).__name__} ({getattr(error, 'strerror', None) or error})"
            raise self._refusal(steps, "a checkpoint of rtrl.follow with a readable about.json", got) from error
        if not isinstance(about, dict) or "format" not in about:
            raise self._refusal(steps, "an about.json that rtrl.follow wrote", "a foreign one")
        if about["format"] != FORMAT:
            got = f"format {about['format']}, written by rtrl {about.get('rtrl')},"
            raise self._refusal(steps, f"format {FORMAT}", got)
        if missing := {"steps", "leaves", "files"} - about.keys():
            raise self._refusal(steps, "an about.json that rtrl.follow wrote", f"one without {sorted(missing)}")
        kinds = isinstance(about["leaves"], list), isinstance(about["files"], dict)
        if not all(kinds) or not all(isinstance(leaf, dict) and leaf.keys() >= _FIELDS for leaf in about["leaves"]):
            raise self._refusal(steps, "an about.json that rtrl.follow wrote", "one with other leaves or files")
        if about["steps"] != steps:
            raise self._refusal(steps, f"{steps} steps, as its name says", f"{about['steps']}")
        return about

    def _check_leaves(self, steps: int, described: dict[str, dict[str, Any]], wanted: dict[str, Array]) -> None:
        for path in [*wanted, *described]:
            expected = _written(_described(path, wanted[path])) if path in wanted else "no such leaf"
            got = _written(described[path]) if path in described else "no such leaf"
            if expected != got:
                raise self._refusal(steps, f"{expected} at {path}", got)

    def _check_files(self, steps: int, files: dict[str, str]) -> None:
        """Before TensorStore reads them: it would not see every change, and speaks of others in many lines."""
        for name, digest in files.items():
            path = self._path(steps) / name
            got = "other bytes" if path.is_file() else "no such file"
            if not path.is_file() or _digest(path) != digest:
                raise self._refusal(steps, f"{name} as it was written", got)

    def _arrays(self, steps: int, like: list[Array]) -> list[np.ndarray | Array]:
        try:
            return self.orbax.restore(self._path(steps) / "state", restore_args=[_wanted(leaf) for leaf in like])
        except Exception as error:  # Orbax and TensorStore raise whatever comes
            got = f"{type(error).__name__}: {str(error).partition(chr(10))[0][:200]}"
            raise self._refusal(steps, "arrays that Orbax can read", got) from error

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


def _files(folder: Path) -> Iterator[str]:
    """All files below a folder, named from there."""
    return (path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file())


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _leaves(state: PyTree) -> dict[str, Array]:
    """All arrays of a state by their key paths."""
    leaves = jax.tree_util.tree_leaves_with_path(eqx.filter(state, eqx.is_array))
    return {jax.tree_util.keystr(path): leaf for path, leaf in leaves}


def _described(path: str, leaf: Array) -> dict[str, Any]:
    weak = not _is_key(leaf) and bool(leaf.weak_type)
    return {"path": path, "shape": list(leaf.shape), "dtype": str(leaf.dtype), "weak": weak}


def _written(about: dict[str, Any]) -> str:
    return f"{about['dtype']}{about['shape']}"


def _is_key(leaf: Array) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _numbers(leaf: Array) -> np.ndarray:
    return np.asarray(jax.random.key_data(leaf) if _is_key(leaf) else leaf)


def _is_divided(leaf: Array) -> bool:
    """Whether devices hold different parts of it."""
    return not leaf.is_fully_replicated


def _wanted(like: Array) -> Any:
    """How Orbax is to read an array: each device its part, or the numbers."""
    if _is_divided(like):
        return _orbax().ArrayRestoreArgs(sharding=like.sharding, global_shape=like.shape, dtype=like.dtype)
    return _orbax().RestoreArgs(restore_type=np.ndarray)


def _together(what: str) -> None:
    """Waits for the other processes, where there are any."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(what)


def _of_first(number: int) -> int:
    """What the first process sees: a shared folder may look older elsewhere."""
    return number if jax.process_count() == 1 else int(multihost_utils.broadcast_one_to_all(np.int64(number)))


def _placed(numbers: np.ndarray | Array, like: Array, weak: bool) -> Array:
    """An array as the uninterrupted run has it: on the same devices, and as weakly typed as it was."""
    if _is_divided(like):
        return jnp.asarray(numbers)
    if _is_key(like):
        return jax.random.wrap_key_data(jnp.asarray(numbers), impl=jax.random.key_impl(like))
    if weak and like.weak_type:
        return like.at[...].set(numbers)
    return jax.device_put(numbers, like.sharding) if like.committed else jnp.asarray(numbers)
