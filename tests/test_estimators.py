"""Approximate estimators, each tested for what it claims, against plain NumPy recursions and exact gradients."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import oracles
import pytest
from cells import INPUTS, OUTPUTS, UNITS, make_model, make_stream, weighted_loss

import rtrl

STEPS = 12
DENSE = {"elman": rtrl.ElmanCell, "ctrnn": rtrl.CTRNNCell, "gru": rtrl.GRUCell, "lstm": rtrl.LSTMCell}
RING = np.eye(UNITS, dtype=bool)[:, np.roll(np.arange(UNITS), 1)] | (np.arange(UNITS) == 2)[:, None]
"""Each unit is acted on by its neighbour, one by all: from the farthest a signal takes UNITS - 1 steps or fewer."""


def large(cell, mask=None, seed=0):
    """A model whose past matters: weights one and a half times as large as usual."""
    cell_key, readout_key = jax.random.split(jax.random.key(seed))
    made = jax.tree.map(lambda a: 1.5 * a, DENSE[cell](INPUTS, UNITS, key=cell_key, mask=mask))
    return rtrl.Model(made, eqx.nn.Linear(UNITS, OUTPUTS, key=readout_key))


def gradient(estimator, model, key=None):
    """The gradient of the cell, all of it in one vector, every entry in an order of its own."""
    _, estimate = rtrl.sequence_gradient(estimator, model, weighted_loss, *make_stream(STEPS), key=key)
    return jax.flatten_util.ravel_pytree(estimate.cell)[0]


def relative_error(estimator, model, key=None):
    exact = gradient(rtrl.BPTT(), model)
    return float(jnp.linalg.norm(gradient(estimator, model, key) - exact) / jnp.linalg.norm(exact))


@pytest.mark.parametrize("cell", DENSE)
@pytest.mark.parametrize("estimator", [rtrl.UORO(), rtrl.KFRTRL(), rtrl.OK(2)], ids=str)
def test_random_estimators_are_unbiased(cell, estimator):
    """The mean over 4096 keys is within four standard errors of the exact gradient, component by component."""
    model = large(cell)
    exact = gradient(rtrl.BPTT(), model)
    some = jax.jit(jax.vmap(lambda key: gradient(estimator, model, key)))
    keys = jax.random.split(jax.random.key(11), (64, 64))
    draws = np.concatenate([some(chunk) for chunk in keys])
    standard_error = draws.std(axis=0, ddof=1) / np.sqrt(len(draws))
    assert np.linalg.norm(standard_error) > 1e-3 * np.linalg.norm(exact)
    assert np.all(np.abs(draws.mean(axis=0) - exact) <= 4 * standard_error + 1e-10 * np.abs(exact).max())


def test_optimal_sums_are_less_noisy_than_kronecker_products_and_these_than_rank_one():
    model = large("gru")
    exact = gradient(rtrl.BPTT(), model)
    keys = jax.random.split(jax.random.key(5), 64)

    def noise(estimator):
        draws = jax.vmap(lambda key: gradient(estimator, model, key))(keys)
        return float(jnp.sqrt(jnp.mean(jnp.sum((draws - exact[None]) ** 2, axis=1))))

    noises = [noise(e) for e in (rtrl.OK(4), rtrl.OK(2), rtrl.OK(1), rtrl.KFRTRL(), rtrl.UORO())]
    assert noises == sorted(noises)


@pytest.mark.parametrize("cell", DENSE)
def test_full_rank_is_exact(cell):
    model = large(cell)
    states = sum(part.size for part in jax.tree.leaves(model.cell.initial_state()))
    assert relative_error(rtrl.OK(UNITS), model, jax.random.key(1)) < 1e-10
    assert relative_error(rtrl.SketchedRTRL(states), model) < 1e-10
    assert relative_error(rtrl.SketchedRTRL(states - 1), model) > 1e-3


@pytest.mark.parametrize("cell", ["user", "complex"])
def test_a_sketch_of_full_rank_is_exact_for_any_cell(cell):
    model = make_model(cell)
    states = sum(part.size * (1 + jnp.iscomplexobj(part)) for part in jax.tree.leaves(model.cell.initial_state()))
    assert relative_error(rtrl.SketchedRTRL(states), model) < 1e-10
    assert 1e-6 < relative_error(rtrl.SketchedRTRL(states - 1), model) < 1


@pytest.mark.parametrize("cell", DENSE)
@pytest.mark.parametrize("estimator", [rtrl.RTRL(block_size=None), rtrl.RTRL(block_size=5), rtrl.TBPTT(STEPS)], ids=str)
def test_exact_estimators_are_exact_for_sparse_weights(cell, estimator):
    model = large(cell, mask=RING)
    assert relative_error(estimator, model) < 1e-10
    _, estimate = rtrl.sequence_gradient(estimator, model, weighted_loss, *make_stream(STEPS))
    assert np.all(estimate.cell.weight_hh[:, ~RING] == 0)
    assert np.all(np.abs(estimate.cell.weight_hh[:, RING]).max(axis=0) > 0)


@pytest.mark.parametrize("cell", DENSE)
@pytest.mark.parametrize("order", [1, 2, 3])
def test_snap_is_the_textbook_recursion_with_entries_removed(cell, order):
    model = large(cell, mask=RING)
    _, estimate = rtrl.sequence_gradient(rtrl.SnAp(order), model, weighted_loss, *make_stream(STEPS))
    expected = oracles.masked_recursion(model, weighted_loss, *make_stream(STEPS), order)
    for leaf, other in zip(jax.tree.leaves(estimate.cell), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(leaf, other, rtol=0, atol=1e-10 * np.abs(other).max())


@pytest.mark.parametrize("cell", DENSE)
def test_snap_is_exact_from_the_diameter_on(cell):
    model = large(cell, mask=RING)
    errors = [relative_error(rtrl.SnAp(order), model) for order in range(1, UNITS + 3)]
    assert errors[0] > 1e-2
    assert errors[-3:] == pytest.approx([0, 0, 0], abs=1e-10)


def test_snap_keeps_only_the_entries_of_its_pattern():
    """Twice the units with as many weights each: twice the memory, not eight times as for the whole matrix."""

    def kept(n):
        cell = rtrl.GRUCell(2, n, key=jax.random.key(0), mask=chain(n))
        return sum(leaf.size for leaf in jax.tree.leaves(rtrl.SnAp(2).init(cell, cell.initial_state())))

    def chain(n):
        return np.eye(n, dtype=bool)[:, np.roll(np.arange(n), 1)]

    assert kept(64) == 2 * kept(32) == 64 * 2 * (3 * 1 + 3 * 2 + 6)


@pytest.mark.parametrize("cell", ["lru", "rtu", "nonlinear rtu", "elstm"])
@pytest.mark.parametrize("estimator", [rtrl.SnAp(1), rtrl.SnAp(3), rtrl.EProp()], ids=str)
def test_estimators_within_units_are_exact_for_diagonal_cells(cell, estimator):
    assert relative_error(estimator, make_model(cell)) < 1e-10


def test_rflo_is_its_published_recursion():
    """Three leaky units: Murray's equations in plain NumPy, unit by unit and weight by weight; `leak` is his 1/τ."""
    cell = rtrl.CTRNNCell(INPUTS, 3, key=jax.random.key(0), time_step=1.0)
    model = rtrl.Model(cell, eqx.nn.Linear(3, OUTPUTS, key=jax.random.key(1)))
    xs, ys = make_stream(STEPS)
    W, U, b, rate = (np.array(a) for a in (cell.weight_hh[0], cell.weight_ih[0], cell.bias, -cell.log_tau))
    leak = 1 - np.exp(-np.exp(rate))
    h, p, q = np.zeros(3), np.zeros((3, 3)), np.zeros((3, INPUTS))
    expected_w, expected_u = np.zeros((3, 3)), np.zeros((3, INPUTS))
    for t in range(STEPS):
        u = W @ h + U @ xs[t] + b
        slope = 1 - np.tanh(u) ** 2
        for a in range(3):
            p[a] = (1 - leak[a]) * p[a] + leak[a] * slope[a] * h
            q[a] = (1 - leak[a]) * q[a] + leak[a] * slope[a] * xs[t]
        h = h + leak * (np.tanh(u) - h)
        error = 2 * ys[1][t] * (np.array(model.readout.weight) @ h + model.readout.bias - ys[0][t])
        v = error @ np.array(model.readout.weight)
        expected_w += v[:, None] * p
        expected_u += v[:, None] * q
    _, estimate = rtrl.sequence_gradient(rtrl.RFLO(), model, weighted_loss, xs, ys)
    np.testing.assert_allclose(estimate.cell.weight_hh[0], expected_w, rtol=1e-10)
    np.testing.assert_allclose(estimate.cell.weight_ih[0], expected_u, rtol=1e-10)


def test_eprop_of_an_lstm_remembers_by_its_forget_gate():
    """The trace of the cell's c alone: e ← f e + ∂c/∂W at fixed h (Bellec et al., supplementary note 2)."""
    model, (xs, ys) = large("lstm"), make_stream(STEPS)
    cell, h, c = model.cell, np.zeros(UNITS), np.zeros(UNITS)
    sigmoid = lambda a: 1 / (1 + np.exp(-a))  # noqa: E731
    e, expected = np.zeros((UNITS, INPUTS)), np.zeros((UNITS, INPUTS))
    for t in range(STEPS):
        a = cell.weight_hh @ h + cell.weight_ih @ xs[t] + cell.bias_hh + cell.bias_ih
        i, f, g, o = sigmoid(a[0]), sigmoid(a[1]), np.tanh(a[2]), sigmoid(a[3])
        e = f[:, None] * e + np.outer(i * (1 - g**2), xs[t])
        c = f * c + i * g
        h = o * np.tanh(c)
        error = 2 * ys[1][t] * (model.readout.weight @ h + model.readout.bias - ys[0][t])
        expected += ((error @ model.readout.weight) * o * (1 - np.tanh(c) ** 2))[:, None] * e
    _, estimate = rtrl.sequence_gradient(rtrl.EProp(), model, weighted_loss, xs, ys)
    np.testing.assert_allclose(estimate.cell.weight_ih[2], expected, rtol=1e-10)


def test_random_feedback_replaces_the_way_back_only():
    readout = eqx.nn.Linear(UNITS, OUTPUTS, key=jax.random.key(0))
    random = rtrl.RandomFeedback(readout, key=jax.random.key(1))
    h = jnp.arange(1.0, UNITS + 1)
    np.testing.assert_array_equal(random(h), readout(h))
    np.testing.assert_allclose(jax.jacobian(random)(h), random.feedback.value, rtol=1e-12)
    through = lambda model: model(h).sum()  # noqa: E731
    np.testing.assert_array_equal(
        eqx.filter_grad(through)(random).readout.weight, eqx.filter_grad(through)(readout).weight
    )
    learner = rtrl.Learner(weighted_loss, rtrl.EProp(), optax.sgd(0.1))
    start = learner.init(rtrl.Model(rtrl.GRUCell(INPUTS, UNITS, key=jax.random.key(2)), random))
    end, _ = learner.run(start, *make_stream(STEPS))
    np.testing.assert_array_equal(end.model.readout.feedback.value, random.feedback.value)
    assert np.abs(end.model.cell.weight_hh - start.model.cell.weight_hh).max() > 0


@pytest.mark.parametrize(
    "estimator",
    [*map(rtrl.SnAp, (1, 2)), rtrl.UORO(), rtrl.KFRTRL(), rtrl.OK(2), rtrl.EProp(), rtrl.RFLO(), rtrl.SketchedRTRL(2)],
    ids=str,
)
def test_every_estimator_learns_online_in_batches_and_float32(estimator):
    model = jax.tree.map(lambda p: p.astype(jnp.float32), large("ctrnn", mask=RING))
    learner = rtrl.Learner(weighted_loss, estimator, optax.adam(1e-3))
    xs, ys = jax.tree.map(lambda a: a.astype(jnp.float32), make_stream(STEPS, batch=(4,)))
    state, out = learner.run(learner.init(model, batch_size=4, key=jax.random.key(0)), xs, ys)
    assert out.finite.all()
    assert {leaf.dtype for leaf in jax.tree.leaves(eqx.filter(state.model, eqx.is_array))} == {jnp.dtype("float32")}
    moved = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), state.model.cell, model.cell)
    assert min(jax.tree.leaves(moved)) > 0


def test_a_saved_learner_with_random_signs_goes_on_as_if_nothing_happened(tmp_path):
    learner = rtrl.Learner(weighted_loss, rtrl.UORO(), optax.sgd(1e-3))
    xs, ys = make_stream(STEPS)
    state, _ = learner.run(learner.init(large("gru"), key=jax.random.key(0)), xs, ys)
    eqx.tree_serialise_leaves(tmp_path / "state.eqx", state)
    fresh = learner.init(large("gru", seed=1), key=jax.random.key(9))
    again = eqx.tree_deserialise_leaves(tmp_path / "state.eqx", fresh)
    for one, other in zip(*(jax.tree.leaves(learner.run(s, xs, ys)[0].model) for s in (state, again)), strict=True):
        np.testing.assert_array_equal(one, other)


@functools.cache
def refusals():
    key, gru, user = jax.random.key(0), large("gru"), make_model("user")
    start = lambda estimator, model, **key: lambda: estimator.init(model.cell, model.cell.initial_state(), **key)  # noqa: E731
    gated = "expected a gated cell (rtrl.AbstractGatedCell) for {}, got OscillatorCell; RTRL(), UORO()"
    dense = "expected a gated cell with recurrent weights (rtrl.AbstractDenseCell) for {}, got LRUCell; RTRL(), UORO()"
    return {
        **{gated.format(type(e).__name__): start(e, user, key=key)
           for e in (rtrl.SnAp(1), rtrl.KFRTRL(), rtrl.OK(1), rtrl.RFLO(), rtrl.EProp())},
        **{dense.format(type(e).__name__): start(e, make_model("lru"), key=key)
           for e in (rtrl.KFRTRL(), rtrl.OK(1), rtrl.RFLO(), rtrl.SketchedRTRL(1))},
        "expected leaky units of one number with one pre-activation for RFLO, such as CTRNNCell, got LSTMCell":
            start(rtrl.RFLO(), large("lstm")),
        "cell: expected a mask of recurrent weights for SnAp(2), got GRUCell without one": start(rtrl.SnAp(2), gru),
        "key: expected a key for UORO(), which draws random signs; got none": start(rtrl.UORO(), gru),
        "order: expected an integer of at least 1, got 0": lambda: rtrl.SnAp(0),
        "rank: expected an integer of at least 1, got 0": lambda: rtrl.OK(0),
        "rank: expected at most 5, the size of the state, got 6": start(rtrl.SketchedRTRL(6), gru),
        "mask: expected a boolean array of shape (5, 5), got float64(5, 5)": lambda: large("gru", mask=np.ones((5, 5))),
        "sparsity: expected 0 <= sparsity < 1, got 1.0": lambda: rtrl.random_mask(key, 4, 1.0),
    }  # fmt: skip


@pytest.mark.parametrize("message", refusals())
def test_an_estimator_says_which_property_a_cell_lacks(message):
    with pytest.raises((ValueError, TypeError)) as caught:
        refusals()[message]()
    assert message in str(caught.value)


@pytest.mark.parametrize("sparsity", [0.75, 0.9, 0.97])
def test_random_masks_give_every_unit_as_many_inputs(sparsity):
    mask = rtrl.random_mask(jax.random.key(0), 128, sparsity)
    assert set(mask.sum(axis=1)) == {round((1 - sparsity) * 128)}
    assert mask.mean() == pytest.approx(1 - sparsity, abs=0.01)
