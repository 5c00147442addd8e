"""Gated cells: an elementwise gate applied to affine pre-activations."""

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from rtrl._trained import trained
from rtrl._types import Input, Params, State
from rtrl.cells._base import AbstractCell, Coupling, recurrence
from rtrl.cells._mask import Mask


class Linearisation(eqx.Module):
    r"""The local derivatives of one step of a gated cell, without any array of size n×P.

    Unit $i$ of the next state sees only its own state, its own pre-activations and its own parameters:

    $$\alpha_{kl} = \frac{\partial h'_k}{\partial h_l}, \quad
      \beta_{kg} = \frac{\partial h'_k}{\partial a_g}, \quad
      D = \mathrm{diag}(\alpha) + \sum_g \mathrm{diag}(\beta_g) W_g, \quad
      I = \sum_g \mathrm{diag}(\beta_g) \otimes z$$

    for the parts k and l of a unit's state and the pre-activations $a = W z$. `betas` and `factors` hold β and
    z for each weight of the cell, recurrent weights first; `units` the immediate
    derivatives of the per-unit parameters, `parts` first.
    """

    alpha: Float[Array, "parts _parts n"]
    betas: tuple[Float[Array, "parts _gates n"], ...]
    factors: tuple[Float[Array, " _width"], ...]
    units: Params

    def immediate(self) -> Params:
        """I in the shape of the parameters, `parts` first: every parameter belongs to one unit."""
        outer = [jnp.multiply.outer(beta, z) for beta, z in zip(self.betas, self.factors, strict=True)]
        return with_weights(self.units, outer)

    def of_part(self, k: int) -> "Linearisation":
        """The derivatives of one part of the next state."""
        alpha, betas, units = jax.tree.map(lambda a: a[k : k + 1], (self.alpha, self.betas, self.units))
        return Linearisation(alpha, betas, self.factors, units)

    def dynamics(self, weight_hh: Float[Array, "gates n n"]) -> Float[Array, "states states"]:
        r"""The dynamics Jacobian $D = \partial h_t / \partial h_{t-1}$; states are ordered by part, then unit."""
        parts, n = self.alpha.shape[0], self.alpha.shape[-1]
        unit = jnp.arange(n)
        blocks = jnp.zeros((parts, n, parts, n), self.alpha.dtype)
        blocks = blocks.at[:, :, 0].set(jnp.einsum("kgi,gij->kij", self.betas[0], weight_hh))
        blocks = blocks.at[:, unit, :, unit].add(jnp.moveaxis(self.alpha, -1, 0))
        return blocks.reshape(parts * n, parts * n)


class AbstractGatedCell(AbstractCell):
    r"""A cell whose step is an elementwise gate over affine maps of state and input.

    $$h_t = \mathrm{gate}(h_{t-1},\; W_{hh} h_{t-1},\; W_{ih} x_t;\; \varphi)$$

    The recurrent state is a pytree of (n,) arrays, a unit's parts; $W_{hh}$, of shape (gates, n, n), sees the
    first of them, $W_{ih}$ has shape (gates, n, m). A cell without a `weight_hh` has a diagonal coupling, and
    its gate receives no recurrent pre-activations. Every other array is per-unit, its last axis runs over the
    n units (biases, time constants), or in one of the `output_fields`. A subclass gives the gate; its
    derivatives come from automatic differentiation of the gate of one unit, never from a hand-written chain.
    A static field `mask`, where a cell has one, says which recurrent weights exist; the others count as zero.
    """

    weight_ih: eqx.AbstractVar[Float[Array, "gates n m"]]

    @abc.abstractmethod
    def gate(self, h: PyTree[Array], *preactivations: Float[Array, "gates *n"]) -> PyTree[Array]:
        """The next recurrent state, elementwise over units; also called with a single unit's scalars."""

    def __call__(self, state: State, x: Input) -> State:
        core = self.recurrent(state)
        return self.assemble(self.gate(core, *self._preactivations(core, x)), x)

    def trajectory(self, state: State, xs: Input) -> State:
        if self.coupling == "dense":
            return super().trajectory(state, xs)
        core = self.recurrent(state)  # without recurrent weights, one matrix product serves all inputs
        preactivations = jax.vmap(lambda x: self._preactivations(core, x))(xs)
        _, cores = jax.lax.scan(lambda h, a: (self.gate(h, *a),) * 2, core, preactivations)
        return jax.vmap(self.assemble)(cores, xs)

    def initial_state(self) -> State:
        return jnp.zeros(self.weight_ih.shape[1], self.weight_ih.dtype)

    def example_input(self) -> Float[Array, " m"]:
        return jnp.zeros(self.weight_ih.shape[-1], self.weight_ih.dtype)

    def recurrent(self, state: State) -> PyTree[Array]:
        """The part of the state that the next step depends on; all of it unless a cell says otherwise."""
        return state

    def assemble(self, core: PyTree[Array], x: Float[Array, " m"]) -> State:
        """The state from its recurrent part and the input that a cell's output may need beside it."""
        return core

    @property
    def coupling(self) -> Coupling:
        return "dense" if hasattr(self, "weight_hh") else "diagonal"

    def linearise(self, state: State, x: Input) -> tuple[State, Linearisation]:
        """The next state and the local derivatives at (state, x)."""
        units, rest = eqx.partition(
            with_weights(recurrence(self), [None] * len(weights_of(self))), eqx.is_inexact_array
        )

        def one_unit(unit, h, preactivations):
            following = eqx.combine(unit, rest).gate(h, *preactivations)
            return jnp.stack(jax.tree.leaves(following)), following

        core = self.recurrent(state)
        derivatives = jax.jacrev(one_unit, argnums=(0, 1, 2), has_aux=True)
        over_units = jax.vmap(derivatives, in_axes=-1, out_axes=-1)
        (units, alpha, betas), following = over_units(units, core, self._preactivations(core, x))
        alpha = jnp.stack(jax.tree.leaves(alpha), axis=1)
        return self.assemble(following, x), Linearisation(alpha, betas, self._factors(core, x), trained(units))

    def _factors(self, core, x) -> tuple[Array, ...]:
        """z: what each weight is multiplied with."""
        hidden = jax.tree.leaves(core)[0]
        return (hidden, x) if self.coupling == "dense" else (x,)

    def _preactivations(self, core, x) -> tuple[Array, ...]:
        self._check_input(x)
        weights = (recurrent_weights(self), self.weight_ih) if self.coupling == "dense" else (self.weight_ih,)
        return tuple(w @ z for w, z in zip(weights, self._factors(core, x), strict=True))

    def _check_input(self, x: Any) -> None:
        for kind, expected, got in (
            ("shape", self.weight_ih.shape[-1:], x.shape),
            ("dtype", self.weight_ih.dtype, x.dtype),
        ):
            if got != expected:
                raise ValueError(f"x: expected {kind} {expected} for {type(self).__name__}, got {got}")


def weights_of(cell: Any) -> tuple:
    """The weights that make the pre-activations, the recurrent ones (if any) first; of a cell or its like."""
    return (cell.weight_hh, cell.weight_ih) if hasattr(cell, "weight_hh") else (cell.weight_ih,)


def with_weights(cell: Any, weights: Any) -> Any:
    """A cell, or anything of its shape, with other leaves in place of its weights."""
    return eqx.tree_at(weights_of, cell, tuple(weights), is_leaf=lambda leaf: leaf is None)


def recurrent_weights(cell: Any) -> Float[Array, "gates n n"]:
    """The recurrent weights as the cell's step uses them: zero where its mask, if it has one, keeps none."""
    mask = getattr(cell, "mask", None)
    return cell.weight_hh if mask is None else jnp.where(mask.kept[None], cell.weight_hh, 0)


def masked(cell: Any, gradient: Params) -> Params:
    """A gradient without entries for recurrent weights that the cell's mask does not keep; leading axes may be more."""
    if getattr(cell, "mask", None) is None:
        return gradient
    kept = jnp.broadcast_to(cell.mask.kept, gradient.weight_hh.shape)
    return eqx.tree_at(lambda g: g.weight_hh, gradient, jnp.where(kept, gradient.weight_hh, 0))


def sparse(weight_hh: Float[Array, "gates n n"], mask: Any) -> tuple[Float[Array, "gates n n"], Mask | None]:
    """Recurrent weights with zeros outside the mask, the others larger by as much as sums have fewer terms."""
    if mask is None:
        return weight_hh, None
    kept = Mask(mask, weight_hh.shape[-1])
    density = max(kept.kept.mean(), 1 / kept.kept.size)
    return jnp.where(kept.kept[None], weight_hh / density**0.5, 0), kept


def uniform_weights(key: PRNGKeyArray, hidden_size: int, *shapes: tuple[int, ...]) -> list[Array]:
    r"""Arrays drawn from $U(-1/\sqrt{n}, 1/\sqrt{n})$, PyTorch's initialisation of recurrent cells."""
    bound = hidden_size**-0.5
    keys = jax.random.split(key, len(shapes))
    return [jax.random.uniform(k, shape, minval=-bound, maxval=bound) for k, shape in zip(keys, shapes, strict=True)]
