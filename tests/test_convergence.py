"""What the notebooks on convergence and cost measure with, against what it must give."""

import equinox as eqx
import jax
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import rtrl
from artifact.convergence.long_run import falling_steps, gradients_along, models_along, norm_and_error
from artifact.convergence.one_pass import log_ratio_ahead
from artifact.convergence.powers import factor_per_step, power
from artifact.convergence.ring import ring_stream_of, squared_error, student
from artifact.cost.break_even import break_even, break_even_range
from artifact.labels import label_ends

STREAM = ring_stream_of(4)


def test_models_along_a_run_are_those_of_the_learner_alone():
    keys = jax.random.split(jax.random.key(0), 2)
    data = jax.vmap(lambda key: STREAM(key, 40))(keys)
    learner = rtrl.Learner(squared_error, rtrl.RTRL(), falling_steps(0.03, 1.0))
    models = models_along(learner, student, keys, data, [10, 30], piece=10)
    model = student(jax.random.split(keys[1])[0])
    state, _ = learner.run(learner.init(model), data[0][1, :30], data[1][1, :30])
    np.testing.assert_allclose(models.cell.weight_hh[1, 1], state.model.cell.weight_hh, rtol=1e-5)


def test_step_sizes_are_the_same_for_a_datum_with_an_update_every_few_steps():
    single, summed = falling_steps(0.1, 1.0), falling_steps(0.1, 1.0, every=20)
    at = {"weight": jax.numpy.ones(())}
    first, _ = single.update(at, single.init(at))
    mean_of_twenty, _ = summed.update(at, summed.init(at))
    np.testing.assert_allclose(20 * first["weight"], mean_of_twenty["weight"])


def test_the_gradient_along_a_run_is_that_of_the_whole_stream_without_burn_in():
    model, (xs, ys) = student(jax.random.key(1)), STREAM(jax.random.key(2), 30)
    models = jax.tree.map(lambda a: a[None, None] if eqx.is_array(a) else a, model)
    ours = gradients_along(squared_error, models, xs[None], ys[None], 0)[0, 0, 0]
    _, gradient = rtrl.sequence_gradient(rtrl.BPTT(), model, squared_error, xs, ys)
    by_leaf = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(gradient)]) / 30
    np.testing.assert_allclose(ours, by_leaf, rtol=1e-4, atol=1e-6)


def test_the_sampling_error_of_a_norm_falls_with_the_streams():
    gradients = np.random.default_rng(0).normal(size=(1000, 25, 4))
    norm, error = norm_and_error(gradients)
    np.testing.assert_allclose(np.sqrt((np.asarray(norm) ** 2).mean()), np.sqrt(4 / 25), rtol=0.05)
    np.testing.assert_allclose(np.mean(error), np.sqrt(4 / 25), rtol=0.05)


def test_a_power_and_a_factor_are_found_again():
    x = np.array([1.0, 10.0, 100.0])
    slope, (low, high) = power(x, np.outer([1.0, 2.0, 3.0], x**-0.5))
    np.testing.assert_allclose([slope, low, high], -0.5)
    steps = np.arange(8)
    np.testing.assert_allclose(factor_per_step(steps, 3 * 0.8**steps), 0.8)
    assert np.isnan(factor_per_step(steps[:4], 0.8 ** steps[:4]))


@pytest.mark.parametrize(("ours", "horizon"), [(3.0, 5.5), (1.0, 1.0), (26.0, 120.0), (13.0, 55.0)])
def test_the_break_even_horizon_lies_where_the_lines_cross(ours, horizon):
    costs = {"RTRL": ours, "TBPTT(1)": 2.0, "TBPTT(10)": 4.0, "TBPTT(100)": 22.0}
    np.testing.assert_allclose(break_even(costs, [1, 10, 100]), horizon)


def test_the_range_of_a_break_even_horizon_holds_it():
    methods = ["RTRL", "TBPTT(1)", "TBPTT(10)"]
    rows = pd.DataFrame({"method": methods, "us": [5.0, 2.0, 11.0], "low": [4.0, 1.9, 10.0], "high": [6.0, 2.1, 12.0]})
    at, low, high = break_even_range(rows, [1, 10], "us", "low", "high")
    assert low < at < high
    np.testing.assert_allclose(at, 4.0)


def test_who_is_ahead_is_read_where_the_cheaper_one_has_finished():
    steps, losses = np.array([1.0, 10.0, 100.0]), {("cell", "ours"): np.array([[1.0], [0.1], [0.01]])}
    losses["cell", "rival"] = losses["cell", "ours"]
    cost = {("cell", "ours"): 10.0, ("cell", "rival"): 1.0}
    ratio = log_ratio_ahead("cell", "ours", "rival", cost, losses, steps)
    np.testing.assert_allclose(ratio, np.log(0.01 / 0.1))


def test_names_at_the_ends_of_lines_do_not_overlap():
    figure, ax = plt.subplots()
    ax.set(xlim=(0, 1), ylim=(0, 1))
    ends = {"a": (1.0, 0.5), "b": (1.0, 0.5), "c": (1.0, 0.51), "lost": (1.0, np.nan)}
    label_ends(ax, ends, dict.fromkeys(ends, "black"))
    places = sorted(text.xyann[1] for text in ax.texts)
    assert len(places) == 3
    assert np.diff(places).min() > 0.03
    plt.close(figure)
