"""Layers of cells, each fed by the one below."""

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, PRNGKeyArray, PyTree

from rtrl._trained import Frozen, is_frozen
from rtrl._types import Input, State
from rtrl.cells._base import AbstractCell, check_kept


class StackedCell(AbstractCell):
    r"""Cells on top of each other, with optional normalisation, MLPs and residual connections between them.

    $$s^\ell_t = \mathrm{cell}_\ell(s^\ell_{t-1}, \mathrm{norm}_\ell(x^\ell_t)), \qquad
      x^{\ell+1}_t = [x^\ell_t +] \; \mathrm{mlp}_\ell(\mathrm{output}_\ell(s^\ell_t, \mathrm{norm}_\ell(x^\ell_t)))$$

    with $x^1_t$ the input; the output is $x^{L+1}_t$. A layer that is not a cell but any other callable module
    (`eqx.nn.Embedding`, `LayerNorm`, `MLP`, …) has no state, $x^{\ell+1}_t = \mathrm{layer}_\ell(x^\ell_t)$; the lowest
    one may take integers. State: (s¹, …, s^L), with () for a layer without state. `normalise` puts a layer
    normalisation before each cell, `mlp_width` an MLP with one hidden layer (GELU) of that width after each, back to
    the width of its cell's input; `residual` adds the cell's input to what comes out, as in online LRU ([Zucchet et al.
    (2023)][zucchet2023], arXiv 2305.15947). `example` is an input, needed where the lowest layer is neither a cell nor
    an embedding and a window of inputs is kept. Every cell must define `example_input`.

    **Raises:** `ValueError` if there is no layer, if the widths of neighbours differ, or if `mlp_width` is given
    without a key, `TypeError` if a layer is not callable.

    **Example:**

    ```python
    layers = [rtrl.ELSTMCell(3, 16, key=key), rtrl.ELSTMCell(16, 16, key=key)]
    cell = rtrl.StackedCell(layers, normalise=True)
    lower, upper = cell(cell.initial_state(), jnp.ones(3))
    ```
    """

    layers: tuple[Callable, ...]
    norms: tuple[Callable, ...]
    mlps: tuple[Callable, ...]
    residual: bool = eqx.field(static=True)
    example: Frozen

    def __init__(
        self,
        layers: Sequence[Callable],
        *,
        residual: bool = False,
        normalise: bool = False,
        mlp_width: int | None = None,
        key: PRNGKeyArray | None = None,
        example: PyTree = None,
    ):
        if not layers:
            raise ValueError("layers: expected at least one cell, got none")
        for layer in layers:
            if not callable(layer) or is_frozen(layer):
                raise TypeError(
                    f"layers: expected cells or callable modules, got {type(layer).__name__}"
                    + "; freeze their arrays with eqx.tree_at" * is_frozen(layer)
                )
        if mlp_width is not None and key is None:
            raise ValueError("key: expected a key with mlp_width, whose weights are drawn at random; got none")
        self.layers, self.residual = tuple(layers), residual
        self.norms = tuple(_norm(layer) if normalise else eqx.nn.Identity() for layer in layers)
        self.mlps = tuple(eqx.nn.Identity() for _ in layers)
        self.example = Frozen(_example(self.layers[0]) if example is None else example)
        self._check_widths(with_mlp=mlp_width is not None)
        if mlp_width is not None and key is not None:
            keys = jax.random.split(key, len(layers))
            widths = self._output_widths()
            self.mlps = tuple(
                _mlp(layer, out, mlp_width, key) for layer, out, key in zip(layers, widths, keys, strict=True)
            )

    def __check_init__(self):
        check_kept(self, StackedCell, "__call__ trajectory output arriving entering stream leaving", "a layer")

    def __call__(self, state: State, x: Input) -> State:
        states, stream = [], x
        for k, old in enumerate(state):
            states.append(self._advanced(k, old, self.norms[k](stream)))
            stream = self.leaving(k, stream, states[-1])
        return tuple(states)

    def trajectory(self, state: State, xs: Input, reset: Bool[Array, " time"] | None = None) -> State:
        states, stream = [], xs
        for k, old in enumerate(state):
            layer = self.layers[k]
            arrives = self.arriving(k, stream)
            states.append(layer.trajectory(old, arrives, reset) if isinstance(layer, AbstractCell) else ())
            stream = jax.vmap(lambda entered, s, k=k: self.leaving(k, entered, s))(stream, states[-1])
        return tuple(states)

    def initial_state(self) -> State:
        return tuple(layer.initial_state() if isinstance(layer, AbstractCell) else () for layer in self.layers)

    def example_input(self) -> Input:
        if self.example.value is None and not isinstance(self.layers[0], AbstractCell):
            raise TypeError(
                f"example: expected an example of an input for a window of past inputs, since the lowest layer is "
                f"{type(self.layers[0]).__name__}; got none"
            )
        return self.example.value

    def output(self, state: State, x: Input) -> PyTree:
        return self.stream(x, state)

    def arriving(self, k: int, streams: Any) -> Any:
        """What layer k receives at several steps, from the stream below it; nothing, if there is no input."""
        return jax.vmap(self.norms[k])(streams) if jax.tree.leaves(streams) else streams

    def entering(self, x: Input, below: Sequence[State]) -> Any:
        """What the layer above these states receives."""
        return self.norms[len(below)](self.stream(x, below))

    def stream(self, x: Input, states: Sequence[State]) -> Any:
        """What leaves the highest of these layers."""
        for k, state in enumerate(states):
            x = self.leaving(k, x, state)
        return x

    def leaving(self, k: int, entered: Any, state: State) -> Array:
        """The stream above layer k, from the stream below it and the layer's state."""
        layer = self.layers[k]
        if not isinstance(layer, AbstractCell):
            return layer(self.norms[k](entered))
        out = self.mlps[k](layer.output(state, self.norms[k](entered)))
        return entered + out if self.residual else out

    def _advanced(self, k: int, state: State, arrives: Any) -> State:
        layer = self.layers[k]
        return layer(state, arrives) if isinstance(layer, AbstractCell) else ()

    def _output_widths(self) -> list[int]:
        return [
            _shape_out(layer, _example(layer)).size if isinstance(layer, AbstractCell) else 0 for layer in self.layers
        ]

    def _check_widths(self, with_mlp: bool) -> None:
        arrives = self.example.value
        for k, layer in enumerate(self.layers):
            if isinstance(layer, AbstractCell):
                expected = layer.example_input()
                if k and arrives is not None and _size(arrives) != _size(expected):
                    raise ValueError(
                        f"layers: expected layer {k} to take the {_size(arrives)} entries that layer {k - 1} gives, "
                        f"got an input size of {_size(expected)}"
                    )
                arrives = expected
            out = None if arrives is None else _shape_out(layer, arrives, f"layer {k}")
            if isinstance(layer, AbstractCell):
                out = arrives if with_mlp else out
                if self.residual and _size(out) != _size(arrives):
                    raise ValueError(
                        f"residual: expected the output of layer {k} to have its input's {_size(arrives)} entries, "
                        f"got {_size(out)}; mlp_width brings it back"
                    )
            arrives = out


def _size(shaped: PyTree) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(shaped))


def _shape_out(layer: Callable, arrives: PyTree, name: str = "a layer") -> Any:
    """The shape of what a layer gives; raises `ValueError` if a layer without state does not take what arrives."""
    if isinstance(layer, AbstractCell):
        return eqx.filter_eval_shape(lambda cell, x: cell.output(cell.initial_state(), x), layer, arrives)
    try:
        return eqx.filter_eval_shape(lambda layer, x: layer(x), layer, arrives)
    except (TypeError, ValueError, RuntimeError) as error:
        got = f"{type(layer).__name__}, which raises {type(error).__name__}: {str(error).partition(chr(10))[0]}"
        advice = "; what is random belongs in the readout, which is given keys" * ("requires a key" in str(error))
        raise ValueError(
            f"layers: expected {name} to take an input of shape {_shapes(arrives)}, got {got}{advice}"
        ) from error


def _shapes(arrives: PyTree) -> str:
    return ", ".join(str(leaf.shape) for leaf in jax.tree.leaves(arrives))


def _example(layer: Callable) -> PyTree:
    """An input of a lowest layer, if it is known."""
    if isinstance(layer, AbstractCell):
        return layer.example_input()
    return jnp.zeros((), int) if isinstance(layer, eqx.nn.Embedding) else None


def _norm(layer: Callable) -> Callable:
    return eqx.nn.LayerNorm(_size(layer.example_input())) if isinstance(layer, AbstractCell) else eqx.nn.Identity()


def _mlp(layer: Callable, output_width: int, width: int, key: PRNGKeyArray) -> Callable:
    if not isinstance(layer, AbstractCell):
        return eqx.nn.Identity()
    return eqx.nn.MLP(output_width, _size(layer.example_input()), width, depth=1, activation=jax.nn.gelu, key=key)
