"""Every estimator's gradient against plain loops, leaf by leaf."""

import functools
import re

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from cells import CELLS, STACKS, forms, make_model, make_stream, one_step, weighted_loss
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import assert_same_leaves, is_frozen, without_frozen

import rtrl

STEPS = 13
INPUT, WIDTH = 7, 11


def split(sequence):
    """A (targets, weights) stream as a list of pairs."""
    return list(zip(*sequence, strict=True))


EXACT = [(cell, estimator) for cell in CELLS for estimator in forms(cell)]
OTHERS = [(cell, e) for cell in CELLS for e in (rtrl.TBPTT(STEPS), rtrl.BPTT())]
OTHERS += [(cell, rtrl.TBPTT(STEPS + 7)) for cell in ("elman", "lru")]


@pytest.mark.parametrize(("cell", "estimator"), EXACT + OTHERS, ids=str)
def test_exact_estimators_equal_backpropagation_through_a_plain_loop(cell, estimator):
    model, (xs, ys) = make_model(cell), make_stream(STEPS)
    value, estimate = rtrl.sequence_gradient(estimator, model, weighted_loss, xs, ys)
    expected, reference = loop_gradient(cell)
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    assert_same_leaves(estimate, reference, rtol=1e-10)


@functools.cache
def loop_gradient(cell):
    model, (xs, ys) = make_model(cell), make_stream(STEPS)
    params, rest = eqx.partition(model, eqx.is_inexact_array, is_leaf=is_frozen)

    @jax.jit
    def total(params):
        whole = eqx.combine(params, rest, is_leaf=is_frozen)
        return oracles.loop_loss(whole, weighted_loss, xs, ys)

    return jax.value_and_grad(total)(params)


@pytest.mark.parametrize("cell", STACKS)
def test_the_layer_local_form_drops_what_lower_layers_did_at_earlier_times(cell):
    """Backpropagation with every layer's input cut from the past, and kept at the time of the loss."""
    model, (xs, ys) = make_model(cell), make_stream(7)
    _, estimate = rtrl.sequence_gradient(rtrl.LayerLocalRTRL(), model, weighted_loss, xs, ys)
    _, exact = rtrl.sequence_gradient(rtrl.BPTT(), model, weighted_loss, xs, ys)

    def cut_loss(model):
        frozen, total = make_model(cell), 0.0
        below, layers = frozen.cell.initial_state(), model.cell.initial_state()
        for x, y in zip(xs, split(ys), strict=True):
            below = frozen.cell(below, x)
            held = [frozen.cell.entering(x, below[:k]) for k in range(len(below))]
            now = []
            for k, layer in enumerate(model.cell.layers):
                now.append(layer(layers[k], model.cell.entering(x, now)))
            total += weighted_loss(model.predict(tuple(now), x), y)
            layers = [layer(old, u) for layer, old, u in zip(model.cell.layers, layers, held, strict=True)]
        return total

    reference = without_frozen(eqx.filter_jit(eqx.filter_grad(cut_loss))(model))
    assert_same_leaves(estimate, reference, rtol=1e-10)
    lowest, exact_lowest = estimate.cell.layers[0].nu_log, exact.cell.layers[0].nu_log
    assert np.abs(lowest - exact_lowest).max() > 1e-3 * np.abs(exact_lowest).max()


@settings(max_examples=10, deadline=None)
@given(st.data())
def test_the_arbitrary_form_is_exact_for_random_cells(data):
    """Random states (nested, several shapes), random nonlinearities and weights."""
    shapes = data.draw(st.lists(st.sampled_from([(), (2,), (3,), (2, 2)]), min_size=1, max_size=3))
    functions = data.draw(st.lists(st.sampled_from([jnp.tanh, jnp.sin, jax.nn.softplus]), min_size=3, max_size=3))
    keys = iter(jax.random.split(jax.random.key(data.draw(st.integers(0, 10**6))), 20))
    sizes = [int(np.prod(shape)) for shape in shapes]

    class Random(rtrl.AbstractCell):
        mixing: dict
        gain: jax.Array

        def __call__(self, state, x):
            flat = jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(state)])
            parts = [
                (f(self.mixing[str(i)] @ flat + x[0] * self.gain[i]) * self.gain[i]).reshape(shape)
                for i, (shape, f) in enumerate(zip(shapes, functions, strict=False))
            ]
            return {"first": parts[0], "others": tuple(parts[1:])}

        def initial_state(self):
            parts = [jnp.full(shape, 0.1) for shape in shapes]
            return {"first": parts[0], "others": tuple(parts[1:])}

        def output(self, state, x):
            return jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(state)])

    mixing = {str(i): jax.random.normal(next(keys), (size, sum(sizes))) for i, size in enumerate(sizes)}
    model = rtrl.Model(Random(mixing, jax.random.normal(next(keys), (3,))), lambda h: h)
    xs, ys = jax.random.normal(next(keys), (9, 1)), jax.random.normal(next(keys), (9, sum(sizes)))
    _, estimate = rtrl.sequence_gradient(rtrl.RTRL(), model, squared_error, xs, ys)
    reference = eqx.filter_grad(oracles.loop_loss)(model, squared_error, xs, ys)
    np.testing.assert_allclose(ravel(estimate), ravel(reference), rtol=1e-9, atol=1e-11)


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 4), st.integers(1, 6), st.integers(1, 12), st.integers(0, 10**6), st.floats(0.1, 3.0))
def test_rtrl_is_exact_for_any_size_length_and_weight_scale(inputs, units, steps, seed, scale):
    keys = jax.random.split(jax.random.key(seed), 4)
    cell = jax.tree.map(lambda p: scale * p, rtrl.GRUCell(inputs, units, key=keys[0]))
    model = rtrl.Model(cell, eqx.nn.Linear(units, 1, key=keys[1]))
    xs, ys = jax.random.normal(keys[2], (steps, inputs)), jax.random.normal(keys[3], (steps, 1))
    _, estimate = rtrl.sequence_gradient(rtrl.RTRL(), model, squared_error, xs, ys)
    reference = eqx.filter_grad(oracles.loop_loss)(model, squared_error, xs, ys)
    np.testing.assert_allclose(ravel(estimate), ravel(reference), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("cell", ["gru", "lstm", "lru", "elstm", "deep residual stack", "user"])
def test_rtrl_agrees_with_finite_differences(cell):
    model, (xs, ys) = make_model(cell), make_stream(STEPS)
    params, rest = eqx.partition(model, eqx.is_inexact_array, is_leaf=is_frozen)
    theta, rebuild = jax.flatten_util.ravel_pytree(params)
    _, estimate = rtrl.sequence_gradient(rtrl.RTRL(), model, weighted_loss, xs, ys)

    @jax.jit
    def loss(theta):
        whole = eqx.combine(rebuild(theta), rest, is_leaf=is_frozen)
        return oracles.loop_loss(whole, weighted_loss, xs, ys)

    for i in range(0, theta.size, 7):
        step = 1e-6 * np.eye(theta.size)[i]
        difference = (loss(theta + step) - loss(theta - step)) / 2e-6
        np.testing.assert_allclose(ravel(estimate)[i], difference, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("horizon", [1, 2, 7])
def test_tbptt_is_the_sum_over_its_window(horizon):
    """Backpropagation with the gradient cut where each window begins."""
    model, (xs, ys) = make_model("gru"), make_stream(STEPS)
    _, estimate = rtrl.sequence_gradient(rtrl.TBPTT(horizon), model, weighted_loss, xs, ys)

    def windowed(model):
        states = [model.cell.initial_state()]
        for x in xs:
            states.append(jax.lax.stop_gradient(model.cell(states[-1], x)))
        total = 0.0
        for t, target in enumerate(split(ys)):
            begin = max(0, t + 1 - horizon)
            h = states[begin]
            for x in xs[begin : t + 1]:
                h = model.cell(h, x)
            total += weighted_loss(model.readout(h), target)
        return total

    assert_same_leaves(estimate, eqx.filter_grad(windowed)(model), rtol=1e-10)


def test_horizon_bias_of_a_linear_cell_falls_with_the_spectral_radius():
    """For h' = a h + x the missing part of ds/da after a long constant drive is of order a^h."""
    cell = rtrl.ElmanCell(1, 1, key=jax.random.key(0), activation=lambda a: a)
    cell = eqx.tree_at(
        lambda c: (c.weight_hh, c.weight_ih, c.bias),
        cell,
        (jnp.full((1, 1, 1), 0.8), jnp.ones((1, 1, 1)), jnp.zeros(1)),
    )
    for horizon in (1, 3, 10):
        state, estimator = jnp.array([5.0]), rtrl.TBPTT(horizon)
        memory = estimator.init(cell, state)
        for _ in range(horizon):
            state, gradient, memory = one_step(estimator, cell, state, jnp.ones(1), memory, jnp.ones(1))
        exact, kept = 5.0 / (1 - 0.8), gradient.weight_hh[0, 0, 0]
        np.testing.assert_allclose((exact - kept) / exact, 0.8**horizon, rtol=1e-12)


def test_tbptt_never_looks_at_states_before_the_stream():
    """A cell that is not differentiable at zero, where an empty window would be."""

    class Normalised(rtrl.AbstractCell):
        weight: jax.Array

        def __call__(self, state, x):
            return self.weight * state / jnp.linalg.norm(state) + x / jnp.linalg.norm(x)

        def initial_state(self):
            return jnp.ones(2)

        def example_input(self):
            return jnp.zeros(2)

    model = rtrl.Model(Normalised(jnp.array([0.7, 1.3])), lambda h: h)
    xs, ys = jax.random.normal(jax.random.key(0), (2, 4, 2))
    _, reference = rtrl.sequence_gradient(rtrl.BPTT(), model, squared_error, xs, ys)
    _, estimate = rtrl.sequence_gradient(rtrl.TBPTT(6), model, squared_error, xs, ys)
    np.testing.assert_allclose(estimate.cell.weight, reference.cell.weight, rtol=1e-11)


def test_the_initial_state_is_a_constant_for_every_estimator():
    class Learned(rtrl.AbstractCell):
        start: jax.Array

        def __call__(self, state, x):
            return jnp.tanh(state * self.start + x)

        def initial_state(self):
            return 2 * self.start

        def example_input(self):
            return jnp.zeros(2)

    model = rtrl.Model(Learned(jnp.array([0.7, -0.3])), lambda h: h)
    xs, ys = jax.random.normal(jax.random.key(0), (2, 4, 2))
    estimates = [
        rtrl.sequence_gradient(e, model, squared_error, xs, ys)[1].cell.start
        for e in (rtrl.BPTT(), rtrl.RTRL(), rtrl.TBPTT(4))
    ]
    np.testing.assert_allclose(estimates[1:], [estimates[0]] * 2, rtol=1e-12)


def test_gated_and_arbitrary_forms_agree():
    class Hidden(rtrl.AbstractCell):
        inner: rtrl.GRUCell

        def __call__(self, state, x):
            return self.inner(state, x)

        def initial_state(self):
            return self.inner.initial_state()

    model, (xs, ys) = make_model("gru"), make_stream(STEPS)
    disguised = rtrl.Model(Hidden(model.cell), model.readout)
    _, gated = rtrl.sequence_gradient(rtrl.RTRL(), model, weighted_loss, xs, ys)
    _, arbitrary = rtrl.sequence_gradient(rtrl.RTRL(), disguised, weighted_loss, xs, ys)
    np.testing.assert_allclose(ravel(gated), ravel(arbitrary), rtol=1e-11, atol=1e-13)


def test_immediate_jacobian_is_never_built_as_states_by_parameters():
    cell = rtrl.GRUCell(INPUT, WIDTH, key=jax.random.key(0))
    parameters = sum(leaf.size for leaf in jax.tree.leaves(cell))
    jaxpr = jax.make_jaxpr(lambda h, x: jax.tree.leaves(cell.linearise(h, x)))(jnp.zeros(WIDTH), jnp.zeros(INPUT))
    sizes = [v.aval.size for eqn in jaxpr.eqns for v in eqn.outvars]
    assert max(sizes) <= parameters
    largest_leaf = max(leaf.size for leaf in jax.tree.leaves(cell))
    step = jax.make_jaxpr(lambda h, x, j: jax.tree.leaves(one_step(rtrl.RTRL(), cell, h, x, j, h)[2]))
    influence = rtrl.RTRL().init(cell, jnp.zeros(WIDTH))
    full = [v.aval for eqn in step(jnp.zeros(WIDTH), jnp.zeros(INPUT), influence).eqns for v in eqn.outvars]
    made = [a for a in full if a.size >= WIDTH * largest_leaf]
    assert len(made) <= 4  # product and in-place sum of the largest leaf, and their reshapes


def test_a_block_step_builds_nothing_of_three_units_axes():
    """The largest array of the compiled step is the influence matrix itself."""
    cell = rtrl.ElmanCell(INPUT, WIDTH, key=jax.random.key(0))
    state, estimator = cell.initial_state(), rtrl.RTRL(block_size=5)
    memory = estimator.init(cell, state)

    step = functools.partial(one_step, estimator)
    compiled = jax.jit(step).lower(cell, state, jnp.zeros(INPUT), memory, state).compile()
    shapes = re.findall(r"f64\[([\d,]+)\]", compiled.as_text())
    largest = max(int(np.prod([int(d) for d in shape.split(",")])) for shape in shapes)
    assert largest == WIDTH**3


def test_mixed_precision_keeps_the_dtype_of_every_parameter():
    model = make_model("complex")
    low = eqx.tree_at(
        lambda m: (m.cell.drive, m.cell.gain),
        model,
        replace_fn=lambda a: a.astype(jnp.complex64 if jnp.iscomplexobj(a) else jnp.float32),
    )
    xs, ys = make_stream(STEPS)
    _, estimate = rtrl.sequence_gradient(rtrl.RTRL(), low, weighted_loss, xs, ys)
    _, reference = rtrl.sequence_gradient(rtrl.BPTT(), low, weighted_loss, xs, ys)
    assert [a.dtype for a in jax.tree.leaves(estimate)] == [a.dtype for a in jax.tree.leaves(reference)]
    assert_same_leaves(estimate, reference, rtol=1e-4)


def test_float32_stays_float32():
    model = jax.tree.map(lambda p: p.astype(jnp.float32), make_model("gru"))
    xs, ys = jax.tree.map(lambda a: a.astype(jnp.float32), make_stream(5))
    for estimator in (rtrl.RTRL(), rtrl.RTRL(block_size=2), rtrl.TBPTT(3), rtrl.BPTT()):
        _, estimate = rtrl.sequence_gradient(estimator, model, weighted_loss, xs, ys)
        assert {leaf.dtype for leaf in jax.tree.leaves(estimate)} == {jnp.dtype("float32")}


def test_gradients_vectorise_over_seeds():
    def one(seed):
        model = make_model("elman")
        model = jax.tree.map(lambda p: p * (1 + 0.1 * seed), model)
        return ravel(rtrl.sequence_gradient(rtrl.RTRL(), model, weighted_loss, *make_stream(7))[1])

    np.testing.assert_allclose(jax.vmap(one)(jnp.arange(3.0))[2], one(2.0), rtol=1e-12)


def test_mapped_networks_fold_once_a_block():
    """Under vmap the fold stays a branch: mapped conditions would compute it at every step."""
    estimator = rtrl.RTRL(block_size=5)
    cells = eqx.filter_vmap(lambda key: rtrl.ElmanCell(INPUT, WIDTH, key=key))(jax.random.split(jax.random.key(0), 3))
    memory = eqx.filter_vmap(lambda cell: estimator.init(cell, cell.initial_state()))(cells)
    step = jax.vmap(lambda cell, h, m: one_step(estimator, cell, h, jnp.zeros(INPUT), m, h)[2], in_axes=(0, None, 0))
    assert "cond[" in str(jax.make_jaxpr(step)(cells, jnp.zeros(WIDTH), memory))


def squared_error(prediction, target):
    return jnp.sum((prediction - target) ** 2)


def ravel(tree):
    return jax.flatten_util.ravel_pytree(tree)[0]
