"""The shape vocabulary of the package, shared by every signature.

Axis names: `time` the steps of a stream, `n` the units of a layer, `m` the input features,
`gates` the pre-activations of a unit, `parts` the numbers that make up a unit's state (an LSTM's h and c).
"""

from collections.abc import Callable
from typing import TypeAlias

from jaxtyping import Array, Float, PyTree

State: TypeAlias = PyTree
"""What a cell carries from step to step: any pytree of floating-point or complex arrays."""

Input: TypeAlias = PyTree
"""What a cell receives at one step: any pytree of arrays."""

Target: TypeAlias = PyTree
"""What the loss compares a prediction with at one step."""

Params: TypeAlias = PyTree
"""A module of which only the trained arrays are kept (the rest is `None`); gradients share this structure."""

Influence: TypeAlias = PyTree
"""J = dh/dθ: shaped like `Params`, every leaf with a leading axis over the entries of the state.

With a diagonal coupling a unit touches its own parameters only, and the leading axis runs over its parts.
"""

Memory: TypeAlias = PyTree
"""What an estimator carries from step to step."""

Pullback: TypeAlias = Callable[[State], Params]
"""From the cotangent v = ∂ℓ/∂h of a state to the gradient v dh/dθ."""

"""From the states of several steps (leading time axis) to ∂ℓ/∂h of each, and whatever else came with the losses."""

Scalar: TypeAlias = Float[Array, ""]
"""A loss, in the units of the user's loss function (nats for cross-entropies)."""
