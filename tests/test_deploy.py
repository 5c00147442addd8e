"""An exported step does what the learner's step does, in a process that has never heard of the package."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from cells import make_model, make_stream, weighted_loss

import rtrl

STEPS = 12

ELSEWHERE = """
import sys, numpy as np, jax
from jax import export
jax.config.update("jax_enable_x64", True)
assert "rtrl" not in sys.modules
given, folder = np.load(sys.argv[2]), sys.argv[1]
arrays = [given[f"state{i}"] for i in range(sum(name.startswith("state") for name in given))]
step = jax.jit(export.deserialize(bytearray(open(folder, "rb").read())).call)
for x, y, weight in zip(given["x"], given["y"], given["weight"]):
    arrays, loss, prediction = step(arrays, x, (y, weight))
np.savez(sys.argv[3], *arrays, loss=loss, prediction=prediction)
assert "rtrl" not in sys.modules
"""


@pytest.mark.parametrize(
    ("cell", "estimator"),
    [("gru", rtrl.RTRL(block_size=5)), ("rtu", rtrl.RTRL()), ("stack", rtrl.LayerLocalRTRL()), ("gru", rtrl.TBPTT(3))],
    ids=["block", "diagonal", "stack", "window"],
)
def test_an_exported_step_gives_the_same_numbers_in_another_process(cell, estimator, tmp_path):
    learner = rtrl.Learner(weighted_loss, estimator, optax.adam(1e-2))
    state, (xs, (targets, weights)) = learner.init(make_model(cell)), make_stream(STEPS)
    weights = jnp.ones_like(weights)
    exported = rtrl.export_step(learner, state, xs[0], (targets[0], weights[0]))
    (tmp_path / "step").write_bytes(exported)
    arrays = {f"state{i}": np.asarray(a) for i, a in enumerate(rtrl.state_arrays(state))}
    np.savez(tmp_path / "given.npz", x=xs, y=targets, weight=weights, **arrays)
    files = [tmp_path / name for name in ("step", "given.npz", "result.npz")]
    subprocess.run([sys.executable, "-c", ELSEWHERE, *map(str, files)], check=True, cwd=tmp_path)
    for t in range(STEPS):
        state, output = learner.step(state, xs[t], (targets[t], weights[t]))
    result = np.load(tmp_path / "result.npz")
    np.testing.assert_allclose(result["loss"], output.loss, rtol=1e-12)
    np.testing.assert_allclose(result["prediction"], output.prediction, rtol=1e-12)
    for i, expected in enumerate(rtrl.state_arrays(state)):
        np.testing.assert_allclose(result[f"arr_{i}"], expected, rtol=1e-11, atol=1e-14)


def test_an_exported_step_takes_the_random_numbers_along():
    learner = rtrl.Learner(weighted_loss, rtrl.UORO(), optax.sgd(1e-2))
    state, (xs, (targets, weights)) = learner.init(make_model("gru"), key=jax.random.key(3)), make_stream(STEPS)
    step = jax.export.deserialize(bytearray(rtrl.export_step(learner, state, xs[0], (targets[0], weights[0])))).call
    arrays = rtrl.state_arrays(state)
    for t in range(STEPS):
        state, output = learner.step(state, xs[t], (targets[t], weights[t]))
        arrays, loss, _ = step(arrays, xs[t], (targets[t], weights[t]))
    np.testing.assert_allclose(loss, output.loss, rtol=1e-12)
