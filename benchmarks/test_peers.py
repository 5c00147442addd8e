"""The peer that can be installed beside the package: `pip install braintrace`; without it these are skipped.

Its SnAp(n=2) keeps the whole influence matrix of a dense cell; its D_RTRL keeps the diagonal part of the recurrence.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import INPUTS, Case, floor, squared_error

import rtrl

braintrace = pytest.importorskip("braintrace", reason="optional peer, install it with: pip install braintrace")
brainstate = pytest.importorskip("brainstate")

FROZEN = jax.random.normal(jax.random.key(3), (40, INPUTS)), jnp.zeros((40, 1))
LEARNING_RATE = 1e-4


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("n", [64, 128, 256])
@pytest.mark.parametrize("rule", ["SnAp", "D_RTRL"])
def test_time_per_step_of_braintrace(benchmark, rule, n):
    case = Case("ElmanCell", "textbook", n)
    model = case.start(case.learner).model
    network, learner = counterpart(model, rule)
    xs, ys = case.stream(max(6, case.steps // 4))
    run = brainstate.transform.jit(lambda xs, ys: brainstate.transform.for_loop(trained(network, learner), xs, ys))
    jax.block_until_ready(run(xs, ys))
    benchmark.pedantic(lambda: jax.block_until_ready(run(xs, ys)), rounds=3)
    benchmark.extra_info |= {
        "case": f"ElmanCell-braintrace {rule}-{n}",
        "cell": "ElmanCell",
        "form": f"braintrace {rule}",
        "n": n,
        "batch": 1,
        "layers": 1,
        "update_every": 1,
        "parameters": case.parameters,
        "trained": case.trained,
        "steps": len(xs),
        "floor_us": floor(*case.influence) if rule == "SnAp" and case.influence else None,
        "gradient_error": gradient_error(model, rule),
        "rtrl_error": gradient_error(model, "RTRL"),
    }


def counterpart(model: rtrl.Model, rule: str):
    """Their vanilla network with the weights of ours, and their learner."""

    class Network(brainstate.nn.Module):
        def __init__(self):
            super().__init__()
            cell, readout = model.cell, model.readout
            self.rnn = braintrace.nn.ValinaRNNCell(INPUTS, len(cell.bias), activation=jnp.tanh)
            self.out = braintrace.nn.Linear(len(cell.bias), 1)
            self.rnn.W.weight.value = {"weight": stacked(cell), "bias": cell.bias}
            self.out.weight.value = {"weight": readout.weight.T, "bias": readout.bias}

        def update(self, x):
            return self.out(self.rnn(x))

    options = {"n": 2} if rule == "SnAp" else {}
    network = Network()
    return network, braintrace.compile(network, getattr(braintrace, rule), jnp.zeros(INPUTS), **options)


def trained(network, learner):
    """One step of online gradient descent, as their users write it."""
    weights = network.states(brainstate.ParamState)

    def step(x, y):
        gradient = brainstate.transform.grad(lambda: squared_error(learner(x), y), weights, return_value=True)
        gradients, loss = gradient()
        for name, weight in weights.items():
            weight.value = jax.tree.map(lambda w, g: w - LEARNING_RATE * g, weight.value, gradients[name])
        return loss

    return step


def gradient_error(model: rtrl.Model, rule: str) -> float:
    """Relative error of the recurrent layer's gradient at frozen parameters, against backpropagation in float32."""
    _, exact = rtrl.sequence_gradient(rtrl.BPTT(), model, squared_error, *FROZEN)
    if rule == "RTRL":
        estimate = stacked(rtrl.sequence_gradient(rtrl.RTRL(), model, squared_error, *FROZEN)[1].cell)
    else:
        _, learner = counterpart(model, rule)
        mean = learner.etrace_grad(*FROZEN, step_fn=lambda x, y: squared_error(learner(x), y))
        estimate = len(FROZEN[0]) * mean["rnn", "W", "weight"]["weight"]
    return float(np.linalg.norm(estimate - stacked(exact.cell)) / np.linalg.norm(stacked(exact.cell)))


def stacked(cell):
    return jnp.concatenate([cell.weight_ih[0].T, cell.weight_hh[0].T])
