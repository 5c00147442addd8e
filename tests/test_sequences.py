"""Data sets of sequences as streams, against sequences that are learned one by one."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import rtrl

LENGTHS = np.array([4, 1, 3, 2, 4])
XS = np.random.default_rng(0).normal(size=(5, 4, 3))
YS = np.random.default_rng(1).normal(size=(5, 4, 2))


def squared_error(prediction, target):
    return jnp.sum((prediction - target) ** 2)


def make():
    cell_key, readout_key = jax.random.split(jax.random.key(0))
    return rtrl.Model(rtrl.GRUCell(3, 4, key=cell_key), eqx.nn.Linear(4, 2, key=readout_key))


@pytest.mark.parametrize("batch_size", [None, 2, 5])
def test_the_gradient_is_the_sum_over_sequences_that_each_begin_anew(batch_size):
    xs, ys, reset, weight = rtrl.from_sequences(XS, YS, LENGTHS, batch_size=batch_size)
    if batch_size is None:
        xs, ys, reset, weight = (a[:, None] for a in (xs, ys, reset, weight))
    streams = [
        rtrl.sequence_gradient(
            rtrl.RTRL(), make(), squared_error, xs[:, b], ys[:, b], reset=reset[:, b], weight=weight[:, b]
        )
        for b in range(xs.shape[1])
    ]
    value, gradient = jax.tree.map(lambda *a: sum(a), *streams)

    params, static = eqx.partition(make(), eqx.is_array)

    @jax.value_and_grad
    def total(params):
        model, loss = eqx.combine(params, static), 0.0
        for x, y, length in zip(XS, YS, LENGTHS, strict=True):
            h = jnp.zeros(4)
            for t in range(length):
                h = model.cell(h, x[t])
                loss += squared_error(model.readout(h), y[t])
        return loss

    expected, reference = total(params)
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    for one, other in zip(jax.tree.leaves(gradient), jax.tree.leaves(reference), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)


def test_a_label_of_a_whole_sequence_counts_at_its_last_step():
    xs, ys, reset, weight = rtrl.from_sequences(XS, np.arange(5), LENGTHS)
    last = np.cumsum(LENGTHS) - 1
    assert xs.shape == (LENGTHS.sum(), 3)
    np.testing.assert_array_equal(np.flatnonzero(weight), last)
    np.testing.assert_array_equal(ys[last], np.arange(5))
    np.testing.assert_array_equal(np.flatnonzero(reset), last - LENGTHS + 1)


def test_what_fills_up_a_batch_has_no_weight_and_changes_nothing():
    learner = rtrl.Learner(squared_error, rtrl.RTRL(), optax.sgd(0.1))
    xs, ys, reset, weight = rtrl.from_sequences(XS, YS, LENGTHS, batch_size=3)
    assert xs.shape == (8, 3, 3)
    assert weight.sum() == LENGTHS.sum()
    state, out = learner.run(learner.init(make(), batch_size=3), xs, ys, reset=reset, weight=weight)
    garbage = jnp.where(weight[..., None] == 0, jnp.nan, ys)
    other, _ = learner.run(learner.init(make(), batch_size=3), xs, garbage, reset=reset, weight=weight)
    assert out.finite.all()
    for a, b in zip(jax.tree.leaves(state.model), jax.tree.leaves(other.model), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((XS, YS, [4, 1, 3, 2, 5]), r"lengths: expected 5 integers from 1 to 4, .* got int64\[5\] up to 5"),
        ((XS.swapaxes(0, 1), YS.swapaxes(0, 1), LENGTHS), "if the time axis of xs comes first, swap the axes"),
        ((XS, YS[:3], LENGTHS), r"ys: expected 5 sequences, as in xs, got shapes that begin with \[\(3, 4\)\]"),
        ((XS[0, 0], YS, LENGTHS), r"xs: expected arrays with axes \(sequences, time, …\)"),
    ],
)
def test_axes_in_another_order_get_one_line(arguments, message):
    with pytest.raises(ValueError, match=message) as caught:
        rtrl.from_sequences(*arguments)
    assert "\n" not in str(caught.value)
