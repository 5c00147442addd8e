"""Which axis of which array of a learner's state is divided among devices."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, PyTree

from rtrl._learner_state import LearnerState
from rtrl._types import Memory, Params
from rtrl.cells import Linearisation
from rtrl.estimators import KroneckerSum, Shared, SparseInfluence, Window

ALIKE = 8
"""Up to so many times as large as the parameters, an influence has the parameters divided like itself."""

Candidates = Callable[[int], Sequence[int]]
"""The axes of an array of so many that may be divided, the best first; those of networks and streams do not count."""


class Layout(NamedTuple):
    """The mesh axes of the influence's columns, of the streams of a batch, of networks side by side; none where `None`.

    `parameters`: whether parameters and the optimizer's state are divided like the influence.
    """

    mesh: Mesh
    columns: str | None
    batch: str | None
    networks: str | None
    parameters: bool = False


def laid(state: LearnerState, layout: Layout, put: Callable[[Any, NamedSharding], Any]) -> LearnerState:
    """The state with `put(array, sharding)` in place of every array."""
    networks = (layout.networks, None, None)[: state.steps.ndim]
    streams = networks if state.batch_size is None else (*networks, layout.batch)

    def place(array: Any, leading: tuple, candidates: Candidates) -> Any:
        return put(array, NamedSharding(layout.mesh, _spec(array.shape, leading, candidates, layout)))

    def over(tree: PyTree, leading: tuple, candidates: Candidates = _none) -> PyTree:
        return jax.tree.map(lambda a: place(a, leading, candidates) if is_array(a) else a, tree)

    def of_streams(tree: PyTree) -> PyTree:
        return jax.tree.map(lambda n: over(n, networks if _is_shared(n) else streams), tree, is_leaf=_is_shared)

    def of_memory(node: Any, candidates: Candidates) -> Any:
        return over(node, networks if _is_shared(node) else streams, candidates)

    trained = _columns if layout.parameters else _none
    parts = [  # in the order of the fields
        over((state.model, state.optimizer), networks, trained),
        of_streams(state.stream.cell),
        _over_memory(of_memory, state.stream.memory),
        of_streams(state.window),
        over((state.restart, state.seed, state.steps, state.fingerprint), networks),
    ]
    return jax.tree.unflatten(jax.tree.structure(state), jax.tree.leaves(parts))


def laid_gradient(state: LearnerState, gradient: Params) -> Params:
    """The gradient where the parameters lie, so that what is computed from them stays with them."""
    if (layout := state.layout) is None:
        return gradient
    candidates = _columns if layout.parameters else _none

    def place(g: Array) -> Array:
        sharding = NamedSharding(layout.mesh, _spec(g.shape, (), candidates, layout))
        return jax.lax.with_sharding_constraint(g, sharding)

    return jax.tree.map(place, gradient)


def influences(state: LearnerState) -> list[tuple[tuple[int, ...], Candidates]]:
    """The shapes of the arrays that are worth dividing, of one stream of one network, and the axes that may be."""
    found, leading = [], state.steps.ndim + (state.batch_size is not None)

    def note(node: Any, candidates: Candidates) -> None:
        shapes = [leaf.shape[leading:] for leaf in jax.tree.leaves(node) if is_array(leaf)]
        found.extend((shape, candidates) for shape in shapes if candidates(len(shape)))

    _over_memory(note, state.stream.memory)
    return found


def divided(arrays: list[tuple[tuple[int, ...], Candidates]], devices: int) -> tuple[int, int]:
    """How many numbers so many devices would divide, and how many they would not."""
    parts = sum(math.prod(shape) for shape, candidates in arrays if _axis(shape, candidates, devices) is not None)
    return parts, sum(math.prod(shape) for shape, _ in arrays) - parts


def parameters_alike(state: LearnerState, devices: int) -> bool:
    """Whether the influence that is divided is of the size of the parameters."""
    leaves = filter(is_array, jax.tree.leaves(state.model))
    leaves = [leaf for leaf in leaves if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    parameters = sum(math.prod(leaf.shape[state.steps.ndim :]) for leaf in leaves)
    return 0 < divided(influences(state), devices)[0] <= ALIKE * parameters


def is_array(leaf: Any) -> bool:
    return eqx.is_array(leaf) or isinstance(leaf, jax.ShapeDtypeStruct)


def _columns(ndim: int) -> Sequence[int]:
    """Columns of J, or of parameters: from the last axis to the second; rows come first."""
    return range(ndim - 1, 0, -1)


def _owners(ndim: int) -> Sequence[int]:
    return range(1)


def _none(ndim: int) -> Sequence[int]:
    return range(0)


def _over_memory(function: Callable[[Any, Candidates], Any], memory: Memory) -> Memory:
    """A function of the parts of an estimator's memory, and of which of their axes may be divided."""
    small = Shared, Linearisation, Window, KroneckerSum

    def of_part(node: Any) -> Any:
        if isinstance(node, SparseInfluence):
            return function(node, _owners)
        return function(node, _none if isinstance(node, small) else _columns)

    return jax.tree.map(of_part, memory, is_leaf=lambda node: isinstance(node, (*small, SparseInfluence)))


def _axis(shape: tuple[int, ...], candidates: Candidates, devices: int) -> int | None:
    return next((axis for axis in candidates(len(shape)) if shape[axis] % devices == 0), None)


def _spec(shape: tuple[int, ...], leading: tuple, candidates: Candidates, layout: Layout) -> PartitionSpec:
    own = shape[len(leading) :]
    axes: list[str | None] = [None] * len(own)
    if layout.columns is not None and (axis := _axis(own, candidates, layout.mesh.shape[layout.columns])) is not None:
        axes[axis] = layout.columns
    return PartitionSpec(*leading, *axes)


def _is_shared(node: Any) -> bool:
    return isinstance(node, Shared)
