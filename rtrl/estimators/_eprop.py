"""Eligibility propagation."""

from jaxtyping import PRNGKeyArray

from rtrl._types import Input, Pullback, State
from rtrl.cells import AbstractCell, AbstractGatedCell
from rtrl.estimators._base import AbstractEstimator, check_gated
from rtrl.estimators._diagonal import OwnInfluence, first_own_influence, step_within_units


class EProp(AbstractEstimator):
    r"""What a parameter did to its own unit, handed on by that unit's memory alone: eligibility traces.

    $$e_k \leftarrow \sum_l \alpha_{kl} e_l + I_k, \qquad \frac{d\ell_t}{d\theta} \approx \sum_k v_k e_k$$

    with α the derivative of a unit's state by its own at fixed pre-activations: an LSTM's forget gate, a leak.
    Everything that goes through recurrent weights at later steps is dropped, so it is exact for diagonal
    couplings, where there are none. v is the true derivative of the loss by the state ("symmetric" e-prop); with
    `rtrl.RandomFeedback` around the readout it is a random projection of the error. Time and memory O(P).

    [Bellec et al. (2020)][bellec2020], "A solution to the learning dilemma for recurrent networks of spiking neurons",
    Nature Communications 11:3625, equations 1 and 3.

    **Raises:** `TypeError` for a cell that is not gated.

    **Example:**

    ```python
    learner = rtrl.Learner(loss, rtrl.EProp(), optax.adam(1e-3))
    state = learner.init(model)
    ```
    """

    def init(self, cell: AbstractCell, state: State, *, key: PRNGKeyArray | None = None) -> OwnInfluence:
        gated = check_gated(self, cell)
        return first_own_influence(gated)

    def step(
        self, cell: AbstractGatedCell, state: State, x: Input, memory: OwnInfluence
    ) -> tuple[State, Pullback, OwnInfluence]:
        return step_within_units(cell, state, x, memory)
