"""Layers of cells, each fed by the one below."""

from collections.abc import Callable, Sequence

import equinox as eqx
import jax
from jaxtyping import Array, PRNGKeyArray

from rtrl._types import Input, State
from rtrl.cells._base import AbstractCell, Coupling


class StackedCell(AbstractCell):
    r"""Cells on top of each other, with optional normalisation, MLPs and residual connections between them.

    $$s^\ell_t = \mathrm{cell}_\ell(s^\ell_{t-1}, \mathrm{norm}_\ell(x^\ell_t)), \qquad
      x^{\ell+1}_t = [x^\ell_t +] \; \mathrm{mlp}_\ell(\mathrm{output}_\ell(s^\ell_t))$$

    with $x^1_t$ the input; the output is $x^{L+1}_t$. State: (input, (s¹, …, s^L)): the last input is kept
    because the residual stream starts from it. `normalise` puts a layer normalisation before each cell,
    `mlp_width` an MLP with one hidden layer (GELU) of that width after each, back to the width of its cell's
    input; `residual` adds the cell's input to what comes out, as in online LRU (Zucchet et al. 2023,
    arXiv 2305.15947). Every cell must define `example_input`. Raises `ValueError` if there is no layer, if
    the widths of neighbours differ, or if `mlp_width` is given without a key.
    """

    layers: tuple[AbstractCell, ...]
    norms: tuple[Callable, ...]
    mlps: tuple[Callable, ...]
    residual: bool = eqx.field(static=True)

    def __init__(
        self,
        layers: Sequence[AbstractCell],
        *,
        residual: bool = False,
        normalise: bool = False,
        mlp_width: int | None = None,
        key: PRNGKeyArray | None = None,
    ):
        if not layers:
            raise ValueError("layers: expected at least one cell, got none")
        if mlp_width is not None and key is None:
            raise ValueError("key: expected a key with mlp_width, whose weights are drawn at random; got none")
        self.layers = tuple(layers)
        widths = [cell.example_input().size for cell in layers]
        self.norms = tuple(eqx.nn.LayerNorm(w) if normalise else eqx.nn.Identity() for w in widths)
        if mlp_width is None or key is None:
            self.mlps = tuple(eqx.nn.Identity() for _ in layers)
        else:
            keys = jax.random.split(key, len(layers))
            self.mlps = tuple(_mlp(cell, mlp_width, key) for cell, key in zip(layers, keys, strict=True))
        self.residual = residual
        self._check_widths(widths)

    def __call__(self, state: State, x: Input) -> State:
        stream, states = x, []
        for layer, old in enumerate(state[1]):
            states.append(self.layers[layer](old, self.norms[layer](stream)))
            stream = self.leaving(layer, stream, states[-1])
        return x, tuple(states)

    def trajectory(self, state: State, xs: Input) -> State:
        states: tuple[State, ...] = ()
        for layer, old in enumerate(state[1]):
            arrives = jax.vmap(self.entering)(xs, states)
            states = (*states, self.layers[layer].trajectory(old, arrives))
        return xs, states

    def initial_state(self) -> State:
        return self.example_input(), tuple(cell.initial_state() for cell in self.layers)

    def example_input(self) -> Input:
        return self.layers[0].example_input()

    def output(self, state: State) -> State:
        return self.stream(state[0], state[1])

    @property
    def coupling(self) -> Coupling:
        return "layered"

    def entering(self, x: Input, below: Sequence[State]) -> Array:
        """What the layer above these states receives."""
        return self.norms[len(below)](self.stream(x, below))

    def stream(self, x: Input, states: Sequence[State]) -> Array:
        """What leaves the highest of these layers."""
        for layer, state in enumerate(states):
            x = self.leaving(layer, x, state)
        return x

    def leaving(self, layer: int, entered: Array, state: State) -> Array:
        """The stream above a layer, from the stream below it and the layer's state."""
        out = self.mlps[layer](self.layers[layer].output(state))
        return entered + out if self.residual else out

    def _check_widths(self, widths: list[int]) -> None:
        for layer, cell in enumerate(self.layers):
            out = jax.eval_shape(lambda cell=cell, layer=layer: self.mlps[layer](cell.output(cell.initial_state())))
            if self.residual and out.size != widths[layer]:
                raise ValueError(
                    f"residual: expected the output of layer {layer} to have its input's {widths[layer]} entries, "
                    f"got {out.size}; mlp_width brings it back"
                )
            if layer + 1 < len(widths) and out.size != widths[layer + 1]:
                raise ValueError(
                    f"layers: expected layer {layer + 1} to take the {out.size} entries that layer {layer} gives, "
                    f"got an input size of {widths[layer + 1]}"
                )


def _mlp(cell: AbstractCell, width: int, key: PRNGKeyArray) -> eqx.nn.MLP:
    out = jax.eval_shape(lambda: cell.output(cell.initial_state()))
    return eqx.nn.MLP(out.size, cell.example_input().size, width, depth=1, activation=jax.nn.gelu, key=key)
