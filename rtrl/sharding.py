"""Where a learner's state lies on several devices: the influence in parts, small things everywhere."""

import dataclasses
import math
from typing import Any

import equinox as eqx
import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from rtrl._layout import Layout, divided, influences, is_array, laid, parameters_alike
from rtrl._learner_state import LearnerState, StepOutput
from rtrl._sizes import named
from rtrl.memory import check_fits_each, postponed


def shard(state: Any, mesh: Any, *, columns: str = "columns", streams: str = "streams") -> LearnerState:
    r"""Lays a learner's state over the devices of a mesh; `step`, `run` and `follow` keep it there.

    $$J = [\,J^{(1)} \; J^{(2)} \cdots J^{(d)}\,], \qquad J_t^{(i)} = D_t J_{t-1}^{(i)} + I_t^{(i)}$$

        mesh = jax.make_mesh((2, 4), ("streams", "columns"))
        state = rtrl.shard(lambda: learner.init(model, key=key, batch_size=16), mesh)

    Columns of the influence matrix never meet, so the mesh axis named by `columns` divides them among its devices. The
    axis named by `streams` divides the streams of a batch, or the networks that a `vmap` of `init` made (seeds,
    learning rates). A mesh may have one of them or both. The numbers stay the same, to rounding. For n units, P
    parameters and blocks of S steps, a step of one stream sends so many numbers along `columns`:

    | estimator, form | divided | whole on every device | sent in a step |
    |---|---|---|---|
    | RTRL textbook, arbitrary | J, n P | all else | the gradient, P |
    | RTRL block | J, n P | all else, S n² for the block | P, and where it folds, once in S steps, 3 S n² a gate |
    | RTRL layered | J, and what is below in those above | all else | P, and the folds of its layers |
    | SnAp above 1, sparse | J, by the unit that owns the parameters | all else | the weights, O(P) |
    | RTRL diagonal, SnAp(1), e-prop, RFLO | J, O(P), parameters, optimizer | state | O(n) |
    | UORO | the parameters' factor, parameters, optimizer | state, its factor | O(n) |
    | LayerLocalRTRL | as its layers | as its layers | as its layers |
    | SketchedRTRL(r) | the rows, r P | the rest | O(r n + P) |
    | KF-RTRL, OK, TBPTT, ChunkedBPTT | nothing | all | nothing |

    Streams send their gradients, P numbers an update; networks send nothing. Of each array the last axis but the first
    that the devices divide is divided; parameters are where J is at most eight times as large. What cannot be divided
    stays whole if it is no larger than a device's share of the rest. On several processes losses can be read on each.

    **Arguments:** `state`: what `learner.init` gave, or a function without arguments that makes it, so that no device
    ever holds all of it; `mesh`: a `jax.sharding.Mesh`, its axes named by `columns` and `streams`.

    **Returns:** the state, laid out. On several processes all call it with the same arguments.

    **Raises:** `TypeError` for what is no mesh of devices or no state; `ValueError` for other axes than these, and for
    sizes that an axis does not divide, naming some that it does; `MemoryError` if a device's part of the influence that
    `state()` would make does not fit.
    """
    if not isinstance(mesh, Mesh):
        there = f"of devices, of which there are {jax.device_count()}"
        raise TypeError(f"mesh: expected jax.make_mesh((2,), ({columns!r},)) {there}, got {named(mesh)}")
    if isinstance(state, LearnerState):
        layout = _layout(state, mesh, columns, streams)
        return dataclasses.replace(laid(state, layout, jax.device_put), layout=layout)
    if not callable(state):
        raise TypeError(f"state: expected what learner.init gives, or a function that makes it, got {named(state)}")
    with postponed() as in_place:
        like = eqx.filter_eval_shape(state)
        if not isinstance(like, LearnerState):
            raise TypeError(f"state: expected a function that makes what learner.init gives, got {named(like)} from it")
        layout = _layout(like, mesh, columns, streams)
        wanted = laid(like, layout, _described)
        check_fits_each(wanted.stream.memory, in_place=all(in_place))
        described, rest = eqx.partition(wanted, is_array)
        made = jax.jit(
            lambda: jax.tree.leaves(eqx.filter(state(), eqx.is_array)),
            out_shardings=[a.sharding for a in jax.tree.leaves(described)],
        )()
    made = eqx.combine(jax.tree.unflatten(jax.tree.structure(described), made), rest)
    return dataclasses.replace(made, layout=layout)


def kept(state: LearnerState) -> LearnerState:
    """The state where it was laid: the compiler would move what is small to where it is made."""
    return state if state.layout is None else laid(state, state.layout, jax.lax.with_sharding_constraint)


def readable(state: LearnerState, output: StepOutput) -> StepOutput:
    """Losses on every device, so that each process can read them; predictions stay with their streams."""
    if (layout := state.layout) is None:
        return output
    everywhere = NamedSharding(layout.mesh, PartitionSpec())
    scores = jax.lax.with_sharding_constraint((output.loss, output.finite), everywhere)
    return eqx.tree_at(lambda o: (o.loss, o.finite), output, scores)


def _described(a: Any, sharding: NamedSharding) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=sharding)


def _layout(state: LearnerState, mesh: Mesh, columns: str, streams: str) -> Layout:
    """Who lies along which axis; raises `ValueError` where an axis is unknown or does not divide what lies along it."""
    if not set(mesh.axis_names) <= {columns, streams}:
        raise ValueError(
            f"mesh: expected axes named {columns!r} (of the influence) or {streams!r} (of streams and networks), "
            f"got {mesh.axis_names}; columns=... and streams=... tell other names"
        )
    automatic = (AxisType.Auto,) * len(mesh.axis_names)  # make_mesh gives axes that every operation must respect
    mesh = Mesh(mesh.devices, mesh.axis_names, axis_types=automatic)
    along_columns = columns if columns in mesh.shape else None
    along_streams = streams if streams in mesh.shape else None
    if along_columns is not None:
        _check_columns(state, mesh.shape[columns])
    if along_streams is not None:
        _check_streams(state, mesh.shape[streams])
    alike = along_columns is not None and parameters_alike(state, mesh.shape[columns])
    if state.steps.ndim:
        return Layout(mesh, along_columns, None, along_streams, alike)
    return Layout(mesh, along_columns, along_streams, None, alike)


def _check_streams(state: LearnerState, devices: int) -> None:
    what, count = ("networks", state.steps.shape[0]) if state.steps.ndim else ("streams", state.batch_size or 1)
    if count % devices:
        raise ValueError(
            f"streams: expected a number of {what} that the {devices} devices of this axis divide, got {count}; "
            f"{_near(count, devices)} would do"
        )


def _check_columns(state: LearnerState, devices: int) -> None:
    """What is left whole must be no larger than a device's part of the rest."""
    arrays = influences(state)

    def serves(devices: int) -> bool:
        parts, whole = divided(arrays, devices)
        return whole <= parts / devices

    if serves(devices):
        return
    undivided = [shape for shape, candidates in arrays if not divided([(shape, candidates)], devices)[0]]
    shape = max(undivided, key=math.prod)
    fewer = ", ".join(str(number) for number in range(1, devices) if serves(number))
    raise ValueError(
        f"columns: expected an axis of the influence that the {devices} devices of this axis divide, got the shape "
        f"{shape}; {fewer} devices do, or {_near(shape[-1], devices)} in place of {shape[-1]}"
    )


def _near(size: int, devices: int) -> str:
    """The next sizes that so many devices divide."""
    lower = size // devices * devices
    return f"{lower} or {lower + devices}" if lower else str(devices)
