"""RTRL for dense gated cells in blocks of steps: one streaming read of the influence matrix a step."""

import functools
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from rtrl._recurrence import many_at_once
from rtrl._types import Influence, Input, Params, State
from rtrl.cells import (
    AbstractCell,
    AbstractDenseCell,
    Linearisation,
    begun,
    map_weights,
    masked,
    recurrent_weights,
    with_weights,
)
from rtrl.estimators._base import AbstractEstimator, Shared, add, count, largest
from rtrl.estimators._textbook import first_influence, pull_back, without_weights

CHUNK_BYTES = 2**22
"""How much of the influence matrix a fold treats at once: little beside J, much beside a cache line."""


UNROLLED = 8
"""Slots of a loop over all of them that are compiled as one, where it runs on an accelerator."""


class BlockMemory(eqx.Module):
    """J at the start of the block, and the linearisations and recurrent weights of the `filled` steps since.

    The rest of `steps` is filled with steps that change nothing.
    """

    influence: Influence
    steps: Linearisation
    weight_hh: Shared
    filled: Shared


class NewSteps(NamedTuple):
    """What k steps leave for the way back: the memory before them, their derivatives, where the stream began anew."""

    memory: BlockMemory
    steps: Linearisation
    reset: Bool[Array, " time"] | None


class Block(AbstractEstimator):
    r"""The influence matrix stays as it is for `size` steps; gradients sweep back to the block's start.

    With $v_s = \partial\ell_s/\partial h_s$ and $v_{r-1} = v_r D_r$, a step s of the block has the gradient

    $$\frac{d\ell_s}{d\theta} = \sum_{r \le s} v_r I_r + v_0 J_0, \qquad
      J_0 \leftarrow \Phi_0 J_0 + \sum_r \Phi_r I_r, \quad \Phi_r = D_S \cdots D_{r+1}$$

    the fold on the right once a block. Each $D_r$, $I_r$ is taken at the parameters of its own step, so the
    result is the textbook recursion's also when the parameters are updated at every step. The fold is paid at
    the first step that no longer fits into the block; as many steps as a block, or more, at the same parameters have
    one sweep, one read of J and one fold for all of them.

    [Schmidhuber (1992)][schmidhuber1992], Neural Computation 4(2), has the idea for parameters that stay constant in a
    block.
    """

    size: int = eqx.field(static=True)

    def init(self, cell: AbstractDenseCell, state: State, *, key: PRNGKeyArray | None = None) -> BlockMemory:
        one = jax.eval_shape(lambda: cell.linearise(state, cell.example_input())[1])
        steps = standstill(jax.tree.map(lambda a: jnp.zeros((self.size, *a.shape), a.dtype), one))
        weight_hh = jnp.zeros_like(recurrent_weights(cell), shape=(self.size, *recurrent_weights(cell).shape))
        return BlockMemory(first_influence(cell, state), steps, Shared(weight_hh), Shared(jnp.zeros((), int)))

    def forward(
        self,
        cell: AbstractDenseCell,
        state: State,
        xs: Input,
        memory: BlockMemory,
        reset: Bool[Array, " time"] | None = None,
    ) -> tuple[State, NewSteps]:
        # The fold comes first: what follows then depends on it, and XLA need not copy J.
        memory = _emptied(memory, largest(memory.filled.value) + count(xs, reset) > self.size)
        state, memory, reset = self.begin(cell, state, memory, reset)
        states, steps = linearisations(cell, state, xs, reset)
        return states, NewSteps(memory, steps, reset)

    def backward(self, cell: AbstractDenseCell, residual: NewSteps, vs: State) -> tuple[Params, Input, BlockMemory]:
        memory, steps, reset = residual
        parts, weight_hh = jnp.stack(jax.tree.leaves(vs), axis=1), recurrent_weights(cell)
        if (fits := len(parts) < self.size) and reset is None:
            memory = _written(memory, steps, weight_hh)
            gradient, visited = _of_block(memory, parts)
            return masked(cell, gradient), _below(cell, steps, visited), memory
        v, v_initial, visited = _sweep(parts, steps, weight_hh, reset)
        past = _of_block(memory, v[None])[0] if fits else pull_back(list(v), memory.influence)
        gradient = add(immediate_gradient(steps, visited), past)
        if reset is not None:
            fresh = first_influence(cell, cell.initial_state())
            gradient = add(gradient, pull_back(list(v_initial), fresh))
            memory, steps = _forgotten(memory, steps, reset, fresh)
        memory = (_written if fits else _folded)(memory, steps, weight_hh)
        return masked(cell, gradient), _below(cell, steps, visited), memory


def _written(memory: BlockMemory, steps: Linearisation, weight_hh: Float[Array, "gates n n"]) -> BlockMemory:
    """The memory with these steps behind the others of the block."""
    filled, k = largest(memory.filled.value), len(steps.alpha)

    def write(kept: Array, now: Array) -> Array:
        return jax.lax.dynamic_update_slice_in_dim(kept, now.astype(kept.dtype), filled, 0)

    steps = jax.tree.map(write, memory.steps, steps)
    weights = write(memory.weight_hh.value, jnp.broadcast_to(weight_hh, (k, *weight_hh.shape)))
    return BlockMemory(memory.influence, steps, Shared(weights), Shared(filled + k))


def _of_block(memory: BlockMemory, parts: Float[Array, "new parts n"]) -> tuple[Params, Float[Array, "new parts n"]]:
    """The gradient from the cotangents of the block's last steps, and what reaches the states of these."""
    block = memory.steps.alpha, memory.steps.betas[0], memory.weight_hh.value
    filled = jnp.maximum(largest(memory.filled.value), len(parts))  # slots that are not filled change nothing
    begin = filled - len(parts)
    arriving = jnp.zeros((len(block[0]), *parts.shape[1:]), parts.dtype)
    arriving = jax.lax.dynamic_update_slice_in_dim(arriving, parts, begin, 0)
    v, visited = _sweep_block(arriving, block, filled)
    gradient = add(immediate_gradient(memory.steps, visited), pull_back(list(v), memory.influence))
    return gradient, jax.lax.dynamic_slice_in_dim(visited, begin, len(parts), 0)


def _below(cell: Any, steps: Linearisation, visited: Float[Array, "time parts n"]) -> Float[Array, "time inputs"]:
    """What reaches the inputs of steps, from what reaches their states."""
    return jnp.einsum("rki,rkgi,gij->rj", visited, steps.betas[-1], cell.weights()[-1])


def linearisations(
    cell: Any, state: State, xs: Input, reset: Bool[Array, " time"] | None
) -> tuple[State, Linearisation]:
    """The states after each of several steps and the local derivatives of each; one step needs no loop."""

    def step(state: State, at: tuple[Input, Any]) -> tuple[State, tuple[State, Linearisation]]:
        following = cell.linearise(begun(cell, state, at[1]), at[0])
        return following[0], following

    if count(xs, reset) > 1:
        return jax.lax.scan(step, state, (xs, reset))[1]
    return jax.tree.map(lambda a: a[None], cell.linearise(state, xs[0]))


def standstill(steps: Linearisation) -> Linearisation:
    """Steps that change nothing, in place of these: α is the identity, nothing else has an effect."""
    nothing = jax.tree.map(jnp.zeros_like, steps)
    identity = jnp.eye(steps.alpha.shape[1], dtype=steps.alpha.dtype)[None, ..., None]
    return eqx.tree_at(lambda s: s.alpha, nothing, jnp.broadcast_to(identity, steps.alpha.shape))


def since_reset(steps: Linearisation, reset: Bool[Array, " time"]) -> Linearisation:
    """The steps with those before the last reset standing still."""
    forgotten = jnp.cumsum(reset[::-1])[::-1] - reset > 0
    return jax.tree.map(
        lambda still, step: jnp.where(forgotten.reshape(-1, *[1] * (step.ndim - 1)), still, step),
        standstill(steps),
        steps,
    )


def to_initial(reset: Bool[Array, ""] | None, before: Array, v_initial: Array) -> tuple[Array, Array]:
    """What a step's start hands to the step before, and to the initial state where the stream began anew."""
    if reset is None:
        return before, v_initial
    return jnp.where(reset, 0, before), v_initial + jnp.where(reset, before, 0)


def _emptied(memory: BlockMemory, when: Bool[Array, ""]) -> BlockMemory:
    """The memory with its steps folded into J, if it is time to."""
    influence, steps, filled = jax.lax.cond(
        when,
        lambda: (
            _fold(memory.influence, memory.steps, memory.weight_hh.value),
            standstill(memory.steps),
            jnp.zeros_like(memory.filled.value),
        ),
        lambda: (memory.influence, memory.steps, memory.filled.value),
    )
    return BlockMemory(influence, steps, memory.weight_hh, Shared(filled))


def _folded(memory: BlockMemory, steps: Linearisation, weight_hh: Float[Array, "gates n n"]) -> BlockMemory:
    """The memory with these steps folded into J."""
    influence = _fold(memory.influence, steps, weight_hh)
    return BlockMemory(influence, memory.steps, memory.weight_hh, memory.filled)


def _forgotten(
    memory: BlockMemory, steps: Linearisation, reset: Bool[Array, " time"], fresh: Influence
) -> tuple[BlockMemory, Linearisation]:
    """J and the steps without what came before the last reset, if there was one."""
    begun = reset.any()
    influence, kept = jax.tree.map(
        lambda new, old: jnp.where(begun, new, old),
        (fresh, standstill(memory.steps)),
        (memory.influence, memory.steps),
    )
    return BlockMemory(influence, kept, memory.weight_hh, memory.filled), since_reset(steps, reset)


def _sweep(
    parts: Float[Array, "steps parts n"],
    steps: Linearisation,
    weight_hh: Float[Array, "gates n n"],
    reset: Bool[Array, " time"] | None,
) -> tuple[Float[Array, "parts n"], Float[Array, "parts n"], Float[Array, "steps parts n"]]:
    """Cotangents back through steps: what reaches the state before them, initial states, and the state after each."""

    def earlier(carry: tuple[Array, Array], step: tuple) -> tuple[tuple[Array, Array], Array]:
        (v, v_initial), (v_here, alpha, beta, reset) = carry, step
        v = v + v_here
        before = _before(v, alpha, beta, weight_hh)
        return to_initial(reset, before, v_initial), v

    zero = jnp.zeros_like(parts[0])
    steps_back = (parts, steps.alpha, steps.betas[0], reset)
    if len(parts) == 1:
        (v, v_initial), visited = earlier((zero, zero), jax.tree.map(lambda a: a[0], steps_back))
        return v, v_initial, visited[None]
    (v, v_initial), visited = jax.lax.scan(earlier, (zero, zero), steps_back, reverse=True)
    return v, v_initial, visited


@jax.custom_jvp
def _sweep_block(
    arriving: Float[Array, "size parts n"], steps: Any, filled: Int[Array, ""]
) -> tuple[Float[Array, "parts n"], Float[Array, "size parts n"]]:
    """Cotangents back through the filled steps of the block, as (α, β, W), to its start, and after each step."""
    over = functools.partial(_over_all, unroll=UNROLLED) if many_at_once() else _over_filled
    return over(arriving, steps, filled)


def _over_filled(arriving: Array, steps: Any, filled: Array) -> tuple[Array, Array]:
    def earlier(back: Any, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        v, visited = carry
        r = filled - 1 - back
        v = v + visited[r]
        return _before(v, *(a[r] for a in steps)), visited.at[r].set(v)

    return jax.lax.fori_loop(0, filled, earlier, (jnp.zeros_like(arriving[0]), arriving))


def _over_all(arriving: Array, steps: Any, filled: Array, *, unroll: int = 1) -> tuple[Array, Array]:
    """A loop whose length is known beforehand: an accelerator runs it without asking the host at every turn."""

    def earlier(carry: tuple[Array, Array], slot: tuple) -> tuple[tuple[Array, Array], None]:
        (v, visited), (r, step) = carry, slot
        v = v + visited[r]
        return (jnp.where(r < filled, _before(v, *step), v), visited.at[r].set(v)), None

    # What is visited is carried as in the loop above, so that under `vmap` both have the networks' axis first.
    slots = jnp.arange(len(arriving)), steps
    return jax.lax.scan(earlier, (jnp.zeros_like(arriving[0]), arriving), slots, reverse=True, unroll=unroll)[0]


@_sweep_block.defjvp
def _sweep_block_derivative(primals: Any, tangents: Any) -> Any:
    """A loop whose length only the run knows has no reverse derivative; one over all slots has, and is slower."""
    filled = primals[2]
    return jax.jvp(lambda arriving, steps: _over_all(arriving, steps, filled), primals[:2], tangents[:2])


def _before(
    v: Float[Array, "*rows parts n"],
    alpha: Float[Array, "parts parts n"],
    beta: Float[Array, "parts gates n"],
    weight_hh: Float[Array, "gates n n"],
) -> Float[Array, "*rows parts n"]:
    """The product v D, without building D."""
    through_weights = jnp.einsum("...gi,gij->...j", jnp.einsum("...ki,kgi->...gi", v, beta), weight_hh)
    return jnp.einsum("...ki,kli->...li", v, alpha).at[..., 0, :].add(through_weights)


def immediate_gradient(steps: Linearisation, visited: Float[Array, "steps parts n"]) -> Params:
    """Σ v_r I_r over several steps, from the cotangent v_r of each one's state."""
    weights = [
        jnp.einsum("rgi,rj->gij", jnp.einsum("rki,rkgi->rgi", visited, beta), z)
        for beta, z in zip(steps.betas, steps.factors, strict=True)
    ]
    units = jax.tree.map(lambda unit: jnp.einsum("rki,rk...i->...i", visited, unit), steps.units)
    return with_weights(units, weights)


def _fold(influence: Influence, steps: Linearisation, weight_hh: Float[Array, "*steps gates n n"]) -> Influence:
    """J at the end of the block from J at its start, in place, a few units' columns at a time."""
    parts, n = steps.alpha.shape[-2:]

    def earlier(phi, step):
        alpha, beta, *weights = step
        return _before(phi, alpha, beta, *(weights or [weight_hh])), phi

    each_step = [weight_hh] if weight_hh.ndim == 4 else []
    identity = jnp.eye(parts * n, dtype=weight_hh.dtype).reshape(parts * n, parts, n)
    phi, suffixes = jax.lax.scan(earlier, identity, (steps.alpha, steps.betas[0], *each_step), reverse=True)
    phi = phi.reshape(parts * n, parts * n)
    units = jax.tree.map(
        lambda j, unit: jnp.tensordot(phi, j, 1) + jnp.einsum("raki,rk...i->a...i", suffixes, unit),
        without_weights(influence),
        steps.units,
    )
    weights = map_weights(
        lambda j, beta, z: _fold_weight(j, phi, suffixes, beta, z), influence, steps.betas, steps.factors
    )
    return with_weights(units, weights)


def _fold_weight(
    j: Float[Array, "states gates n width"],
    phi: Float[Array, "states states"],
    suffixes: Float[Array, "steps states parts n"],
    beta: Float[Array, "steps parts gates n"],
    z: Float[Array, "steps width"],
) -> Float[Array, "states gates n width"]:
    size = _chunk(j)

    def fold(chunk, j):
        begin = chunk * size
        suffix, coefficient = (jax.lax.dynamic_slice_in_dim(a, begin, size, -1) for a in (suffixes, beta))
        old = jax.lax.dynamic_slice_in_dim(j, begin, size, 2)
        columns = jnp.einsum("raki,rkgi->ragi", suffix, coefficient)
        new = jnp.einsum("ab,bgij->agij", phi, old) + jnp.einsum("ragi,rj->agij", columns, z)
        return jax.lax.dynamic_update_slice_in_dim(j, new, begin, 2)

    return jax.lax.fori_loop(0, j.shape[2] // size, fold, j)


def _chunk(j: Array) -> int:
    """The largest divisor of n with at most `CHUNK_BYTES` in the columns of that many units, or 1."""
    n = j.shape[2]
    wanted = max(1, CHUNK_BYTES * n // (j.size * j.dtype.itemsize))
    return max(d for d in range(1, n + 1) if n % d == 0 and d <= wanted)


def best_size(cell: AbstractCell) -> int | None:
    """The number of steps between folds that was the fastest where we measured; none for small cells.

    An accelerator folds faster than it sweeps back: its blocks are shorter.
    """
    states = sum(part.size for part in jax.tree.leaves(cell.initial_state()))
    return None if states < 32 else max(8, states // 16) if many_at_once() else states // 4
