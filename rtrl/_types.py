"""The shape vocabulary of the package, shared by every signature.

Axis names: `time` the steps of a stream, `n` the units of a layer, `m` the input features,
`gates` the pre-activations of a unit.
"""

from typing import TypeAlias

from jaxtyping import Array, Float, PyTree

State: TypeAlias = PyTree
"""What a cell carries from step to step: any pytree of real floating-point arrays."""

Input: TypeAlias = PyTree
"""What a cell receives at one step: any pytree of arrays."""

Target: TypeAlias = PyTree
"""What the loss compares a prediction with at one step."""

Params: TypeAlias = PyTree
"""A module of which only the trained arrays are kept (the rest is `None`); gradients share this structure."""

Influence: TypeAlias = PyTree
"""J = dh/dθ: shaped like `Params`, every leaf with a leading axis over the entries of the state."""

Memory: TypeAlias = PyTree
"""What an estimator carries from step to step."""

Scalar: TypeAlias = Float[Array, ""]
"""A loss, in the units of the user's loss function (nats for cross-entropies)."""
