"""Gated cells: an elementwise gate applied to affine pre-activations."""

import abc
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from rtrl._recurrence import linear_recurrence, many_at_once, through
from rtrl._trained import is_frozen, join, split, thawed
from rtrl._types import Input, Params, State
from rtrl.cells._base import AbstractCell, begun, recurrence, recurrent_parameters
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
    r"""A cell whose step is an elementwise gate over affine maps of state and input: a dense or a diagonal one.

    The state is a pytree of (n,) arrays, a unit's parts; $W_{ih}$ has shape (gates, n, m). Every other array is
    per-unit, its last axis runs over the n units (biases, time constants), or in one of the `output_fields`, or
    `rtrl.Frozen`; a trained initial state is per-unit, too. A subclass gives the gate; its derivatives come from
    automatic differentiation, never from a hand-written chain. Estimators check at `init` that the gate is
    elementwise (`check_gate`).
    """

    weight_ih: eqx.AbstractVar[Float[Array, "gates n m"]]

    @abc.abstractmethod
    def gate(self, h: State, *preactivations: Float[Array, "gates n"]) -> State:
        """The next state, elementwise over units."""

    @abc.abstractmethod
    def weights(self) -> tuple[Array, ...]:
        """The weights that make the pre-activations, as the step uses them."""

    @abc.abstractmethod
    def factors(self, state: State, x: Input) -> tuple:
        """The vectors z that the weights are multiplied with."""

    @property
    def input_size(self) -> int:
        """m, the number of input features."""
        return self.weight_ih.shape[2]

    @property
    def hidden_size(self) -> int:
        """n, the number of units."""
        return self.weight_ih.shape[1]

    def __call__(self, state: State, x: Input) -> State:
        return self.gate(state, *self.preactivations(state, x))

    def initial_state(self) -> State:
        return jnp.zeros(self.hidden_size, self.weight_ih.dtype)

    def example_input(self) -> Float[Array, " m"]:
        return jnp.zeros(self.input_size, self.weight_ih.dtype)

    def preactivations(self, state: State, x: Input) -> tuple[Array, ...]:
        """A = W z for each weight. Raises `ValueError` if the input does not fit."""
        self._check_input(x)
        return tuple(w @ z for w, z in zip(self.weights(), self.factors(state, x), strict=True))

    def linearise(self, state: State, x: Input) -> tuple[State, Linearisation]:
        """The next state and the local derivatives at (state, x)."""
        following, alpha, betas, units = self.gate_derivatives(state, self.preactivations(state, x))
        return following, Linearisation(alpha, betas, self.factors(state, x), units)

    def gate_derivatives(self, state: State, preactivations: tuple[Array, ...]) -> tuple[State, Array, Any, Params]:
        """The gate's value, α, β and the derivatives by per-unit parameters.

        A sum over all units of one part of the next state has, because the gate is elementwise, each unit's own
        derivatives as its gradient.
        """
        units, rest = split(with_weights(recurrence(self), [None] * len(weights_of(self))))

        def gate(units: Params, h: State, preactivations: tuple[Array, ...]) -> State:
            return join(units, rest).gate(h, *preactivations)

        following, vjp = jax.vjp(gate, units, state, preactivations)
        units, alpha, betas = of_each_part(vjp, following)
        return following, jnp.stack(jax.tree.leaves(alpha), axis=1), betas, units

    def _check_input(self, x: Any) -> None:
        for kind, expected, got in (
            ("shape", self.weight_ih.shape[-1:], getattr(x, "shape", None)),
            ("dtype", self.weight_ih.dtype, getattr(x, "dtype", None)),
        ):
            if got != expected:
                got = type(x).__name__ if got is None else got
                raise ValueError(f"x: expected {kind} {expected} for {type(self).__name__}, got {got}")


class AbstractDenseCell(AbstractGatedCell):
    r"""A gated cell whose units act on each other: $h_t = \mathrm{gate}(h_{t-1}, W_{hh} h_{t-1}, W_{ih} x_t)$.

    $W_{hh}$, of shape (gates, n, n), sees the first part of the state. `mask` says which recurrent weights exist
    (`None`: all); the others count as zero.
    """

    weight_hh: eqx.AbstractVar[Float[Array, "gates n n"]]
    mask: eqx.AbstractVar[Mask | None]

    def weights(self) -> tuple[Array, ...]:
        return recurrent_weights(self), thawed(self.weight_ih)

    def factors(self, state: State, x: Input) -> tuple:
        return jax.tree.leaves(state)[0], x


class AbstractDiagonalCell(AbstractGatedCell):
    r"""A gated cell whose units act on themselves only: $h_t = \mathrm{gate}(h_{t-1}, W_{ih} x_t)$.

    Its exact influence costs O(P) time and memory for P parameters: [Mozer (1989)][mozer1989], "A focused
    backpropagation algorithm for temporal pattern recognition"; [Zucchet et al. (2023)][zucchet2023], "Online learning
    of long-range dependencies", equation 4.
    """

    @property
    def is_linear(self) -> bool:
        """Whether the next state is α h + u with the same α at all steps, so that these can be taken at once."""
        return False

    def weights(self) -> tuple[Array, ...]:
        return (thawed(self.weight_ih),)

    def factors(self, state: State, x: Input) -> tuple:
        return (x,)

    def trajectory(self, state: State, xs: Array, reset: Bool[Array, " time"] | None = None) -> State:
        """One matrix product serves the inputs of all steps."""
        preactivations = jax.vmap(lambda x: self.preactivations(state, x))(xs)
        if self.is_linear and many_at_once():
            return self._all_at_once(state, preactivations, reset)

        def step(h: State, at: tuple[Any, Any]) -> tuple[State, State]:
            h = self.gate(begun(self, h, at[1]), *at[0])
            return h, h

        return jax.lax.scan(step, state, (preactivations, reset))[1]

    def _all_at_once(self, state: State, preactivations: tuple[Array, ...], reset: Any) -> State:
        zero, nothing = jax.tree.map(jnp.zeros_like, (state, jax.tree.map(lambda a: a.sum(axis=0), preactivations)))
        alpha = self.gate_derivatives(zero, nothing)[1].swapaxes(0, 1)
        driven = jax.vmap(lambda a: self.gate(zero, *a))(preactivations)
        drive = jnp.stack(jax.tree.leaves(driven), axis=1)[:, None]
        begins = jnp.arange(len(drive)) == 0
        origin = jnp.broadcast_to(jnp.stack(jax.tree.leaves(state)), drive.shape)
        if reset is not None:
            begins, at = begins | reset, reset[:, None, None, None]
            origin = jnp.where(at, jnp.stack(jax.tree.leaves(self.initial_state())), origin)
        drive = jnp.where(begins[:, None, None, None], through(origin, alpha[None]) + drive, drive)
        states = linear_recurrence(jnp.broadcast_to(alpha, (len(drive), *alpha.shape)), drive, begins)[:, 0]
        return jax.tree.unflatten(jax.tree.structure(state), [states[:, k] for k in range(states.shape[1])])


def of_each_part(vjp: Callable, state: State) -> Any:
    """A vector-Jacobian product for each part of the state, with ones for all units; the parts' axis comes first."""
    parts, structure = jax.tree.flatten(state)
    ones = [[jnp.full_like(part, j == k) for j, part in enumerate(parts)] for k in range(len(parts))]
    each = [vjp(jax.tree.unflatten(structure, v)) for v in ones]
    return jax.tree.map(lambda *a: jnp.stack(a), *each)


def initial_influence(cell: AbstractGatedCell) -> Params:
    """dh₀/dθ of each unit by its own parameters, `parts` first; zero where the initial state is a constant."""
    params, rest = split(cell)

    def initial(recurrent: Params) -> State:
        return join(recurrent, join(params, rest)).initial_state()

    state, vjp = jax.vjp(initial, recurrent_parameters(cell))
    return of_each_part(lambda v: vjp(v)[0], state)


def weights_of(cell: Any) -> tuple:
    """The weights that make the pre-activations, the recurrent ones (if any) first; of a cell or its like."""
    return (cell.weight_hh, cell.weight_ih) if isinstance(cell, AbstractDenseCell) else (cell.weight_ih,)


def with_weights(cell: Any, weights: Any) -> Any:
    """A cell, or anything of its shape, with other leaves in place of its weights; frozen ones stay."""
    new = tuple(old if is_frozen(old) else w for old, w in zip(weights_of(cell), weights, strict=True))
    return eqx.tree_at(weights_of, cell, new, is_leaf=lambda leaf: leaf is None or is_frozen(leaf))


def map_weights(function: Callable, cell: Any, *others: Any) -> list:
    """What `function(weight, …)` gives for each weight of a cell or its like; `None` for a frozen one."""
    return [None if is_frozen(w) else function(w, *rest) for w, *rest in zip(weights_of(cell), *others, strict=True)]


def recurrent_weights(cell: AbstractDenseCell) -> Float[Array, "gates n n"]:
    """The recurrent weights as the cell's step uses them: zero where its mask, if it has one, keeps none."""
    weight_hh = thawed(cell.weight_hh)
    return weight_hh if cell.mask is None else jnp.where(cell.mask.kept[None], weight_hh, 0)


def masked(cell: AbstractGatedCell, gradient: Params) -> Params:
    """A gradient without entries for recurrent weights that the cell's mask does not keep; leading axes may be more."""
    if not isinstance(cell, AbstractDenseCell) or cell.mask is None or is_frozen(cell.weight_hh):
        return gradient
    kept = jnp.broadcast_to(cell.mask.kept, gradient.weight_hh.shape)
    return eqx.tree_at(lambda g: g.weight_hh, gradient, jnp.where(kept, gradient.weight_hh, 0))


def sparse(weight_hh: Float[Array, "gates n n"], mask: Any) -> tuple[Float[Array, "gates n n"], Mask | None]:
    """Recurrent weights with zeros outside the mask, the others larger by as much as sums have fewer terms."""
    if mask is None:
        return weight_hh, None
    kept = Mask(mask, weight_hh.shape[-1])
    density = float(max(kept.kept.mean(), 1 / kept.kept.size))  # a NumPy number would change the dtype
    return jnp.where(kept.kept[None], weight_hh / density**0.5, 0), kept


def uniform_weights(key: PRNGKeyArray, hidden_size: int, *shapes: tuple[int, ...], dtype: Any = None) -> list[Array]:
    r"""Arrays drawn from $U(-1/\sqrt{n}, 1/\sqrt{n})$, PyTorch's initialisation of recurrent cells."""
    bound = hidden_size**-0.5
    keys = jax.random.split(key, len(shapes))
    return [jax.random.uniform(k, shape, dtype or float, -bound, bound) for k, shape in zip(keys, shapes, strict=True)]


def biased(preactivation: Array, *biases: Any) -> Array:
    """The sum with those biases that there are."""
    for bias in biases:
        preactivation = preactivation if bias is None else preactivation + bias
    return preactivation
