"""The peer that can be installed beside the package: `pip install braintrace`; without it these are skipped.

Its SnAp(n=2) keeps the whole influence matrix of a dense cell; its D_RTRL keeps the diagonal part of the recurrence.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import INPUTS, Case, squared_error

import rtrl

braintrace = pytest.importorskip("braintrace", reason="optional peer, install it with: pip install braintrace")
brainstate = pytest.importorskip("brainstate")

FROZEN_STEPS = 40
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
        "steps": len(xs),
        "gradient_error": gradient_error(model, rule),
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
    """Relative error of the recurrent layer's weight gradient at frozen parameters, float32; theirs is a mean over time."""
    xs = jax.random.normal(jax.random.key(3), (FROZEN_STEPS, INPUTS))
    ys = jnp.zeros((FROZEN_STEPS, 1))
    _, learner = counterpart(model, rule)
    theirs = learner.etrace_grad(xs, ys, step_fn=lambda x, y: squared_error(learner(x), y))
    _, exact = eqx.filter_jit(rtrl.sequence_gradient)(rtrl.BPTT(), model, squared_error, xs, ys)
    difference = FROZEN_STEPS * theirs["rnn", "W", "weight"]["weight"] - stacked(exact.cell)
    return float(np.linalg.norm(difference) / np.linalg.norm(stacked(exact.cell)))


def stacked(cell):
    return jnp.concatenate([cell.weight_ih[0].T, cell.weight_hh[0].T])
