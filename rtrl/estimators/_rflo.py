"""Random feedback local online learning."""

import jax
from jaxtyping import PRNGKeyArray

from rtrl._types import Input, Pullback, State
from rtrl.cells import AbstractCell, AbstractGatedCell
from rtrl.estimators._base import AbstractEstimator, check_dense
from rtrl.estimators._diagonal import OwnInfluence, first_own_influence, step_within_units


class RFLO(AbstractEstimator):
    r"""Random feedback local online learning of leaky units.

    $$p_{ab} \leftarrow \left(1 - \tfrac{1}{\tau_a}\right) p_{ab} + \tfrac{1}{\tau_a} \phi'(u_a) z_b, \qquad
      \frac{d\ell_t}{dW_{ab}} \approx v_a p_{ab}$$

    for units of one number with one pre-activation u: `CTRNNCell` (time steps in the units of τ) and
    `ElmanCell` (no leak, τ = 1). The paper's v is a random projection of the error: put `rtrl.RandomFeedback`
    around the readout; without it v is the true derivative. Time and memory O(P).

    [Murray (2019)][murray2019], "Local online learning in recurrent networks with random feedback", eLife 8:e43299,
    equations 5 and 6.

    **Raises:** `TypeError` for another cell.

    **Example:**

    ```python
    leaky = rtrl.Model(rtrl.CTRNNCell(3, 16, key=key), rtrl.RandomFeedback(eqx.nn.Linear(16, 1, key=key), key=key))
    learner = rtrl.Learner(loss, rtrl.RFLO(), optax.adam(1e-3))
    state = learner.init(leaky)
    ```
    """

    def init(self, cell: AbstractCell, state: State, *, key: PRNGKeyArray | None = None) -> OwnInfluence:
        gated = check_dense(self, cell)
        parts, gates = len(jax.tree.leaves(state)), gated.weight_ih.shape[0]
        if (parts, gates) != (1, 1):
            raise TypeError(
                f"cell: expected leaky units of one number with one pre-activation for RFLO, such as CTRNNCell, got "
                f"{type(gated).__name__} with {parts} numbers and {gates} pre-activations a unit; EProp() serves it"
            )
        return first_own_influence(gated)

    def step(
        self, cell: AbstractGatedCell, state: State, x: Input, memory: OwnInfluence
    ) -> tuple[State, Pullback, OwnInfluence]:
        return step_within_units(cell, state, x, memory)
