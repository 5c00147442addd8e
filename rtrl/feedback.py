"""Readouts whose errors go back through random weights."""

import equinox as eqx
import jax
from jaxtyping import Array, Float, PRNGKeyArray

from rtrl._trained import Frozen


class RandomFeedback(eqx.Module):
    r"""A linear readout that hands errors back through fixed random weights B instead of its own.

    $$\hat y = W h + b, \qquad v = \frac{\partial \ell}{\partial \hat y} B \quad
      \text{in place of} \quad \frac{\partial \ell}{\partial \hat y} W$$

    The readout itself learns from its true gradient. B has the shape of W, independent entries drawn from
    $U(-1/\sqrt{n}, 1/\sqrt{n})$ like those of W, and is never trained.

    [Lillicrap et al. (2016)][lillicrap2016], "Random synaptic feedback weights support error backpropagation for deep
    learning", Nature Communications 7; in recurrent networks [Murray (2019)][murray2019], eLife 8:e43299.
    """

    readout: eqx.nn.Linear
    feedback: Frozen

    def __init__(self, readout: eqx.nn.Linear, *, key: PRNGKeyArray):
        bound = readout.weight.shape[1] ** -0.5
        weights = jax.random.uniform(key, readout.weight.shape, readout.weight.dtype, -bound, bound)
        self.readout, self.feedback = readout, Frozen(weights)

    def __call__(self, h: Float[Array, " n"]) -> Float[Array, " outputs"]:
        way_back = self.feedback.value @ h
        return self.readout(jax.lax.stop_gradient(h)) + (way_back - jax.lax.stop_gradient(way_back))
