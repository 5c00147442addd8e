"""Every gradient is that of a plain loop, or the pair of cell and estimator is refused in one line."""

import contextlib
import functools
import os
import subprocess
import sys
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import optax
import pandas
import pytest
from cells import ComplexCell
from oracles import assert_same_leaves, is_frozen

import rtrl

KEY = jax.random.key(0)
M, N, STEPS = 2, 4, 8
RING = np.roll(np.eye(N, dtype=bool), 1, axis=1)
EXACT_DENSE = [rtrl.RTRL(block_size=None), rtrl.RTRL(block_size=3), rtrl.TBPTT(STEPS), rtrl.BPTT()]
EXACT_DIAGONAL = [rtrl.RTRL(), rtrl.SnAp(1), rtrl.EProp(), rtrl.TBPTT(STEPS)]
ON_DENSE = [rtrl.RTRL(), rtrl.RTRL(block_size=None), rtrl.RTRL(block_size=2), rtrl.SnAp(1), rtrl.SnAp(2), rtrl.EProp(),
            rtrl.KFRTRL(), rtrl.OK(1), rtrl.RFLO(), rtrl.SketchedRTRL(2)]  # fmt: skip
ON_DIAGONAL = [rtrl.RTRL(), rtrl.SnAp(1), rtrl.SnAp(2), rtrl.EProp()]


def squared(prediction, target):
    return jnp.sum((prediction - target) ** 2)


def loop(model, xs, ys, resets=()):
    """The summed loss, by a Python loop over time."""
    model = model() if isinstance(model, eqx.nn.Shared) else model
    h, total = model.cell.initial_state(), 0.0
    for t, y in enumerate(ys):
        x = jax.tree.map(lambda a, t=t: a[t], xs)
        h = model.cell(model.cell.initial_state() if t in resets else h, x)
        total = total + squared(model.readout(model.cell.output(h, x)), y)
    return total


def loop_gradient(model, xs, ys, resets=()):
    kept = jax.tree.map(lambda node: not is_frozen(node) and eqx.is_inexact_array(node), model, is_leaf=is_frozen)
    params, rest = eqx.partition(model, kept)
    return jax.jit(jax.grad(lambda p: loop(eqx.combine(p, rest), xs, ys, resets)))(params)


def gradient(estimator, model, xs, ys, **options):
    return rtrl.sequence_gradient(estimator, model, squared, xs, ys, **options)[1]


def stream(outputs, inputs=M, steps=STEPS, batch=()):
    a, b = jax.random.split(jax.random.key(7))
    return jax.random.normal(a, (steps, *batch, inputs)), jax.random.normal(b, (steps, *batch, outputs))


def with_readout(cell, outputs=2):
    width = sum(leaf.size for leaf in jax.tree.leaves(cell.output(cell.initial_state(), cell.example_input())))
    return rtrl.Model(cell, eqx.nn.Linear(width, outputs, key=jax.random.key(3)))


def parameters(state):
    return np.concatenate([np.ravel(a) for a in jax.tree.leaves(eqx.filter(state.model, eqx.is_inexact_array))])


class Extended(rtrl.ElmanCell):
    """An Elman cell with one more leaf, and a mask for estimators that need one."""

    extra: Any

    def __init__(self, extra=None):
        super().__init__(M, N, key=KEY, mask=RING)
        self.extra = extra


def elman(gate, extra=None):
    """A subclass with another gate: a function of the cell, its state and its pre-activation."""

    class Changed(Extended):
        def gate(self, h, recurrent, inputs):
            return gate(self, h, recurrent[0] + inputs[0] + self.bias)

    return Changed(extra)


class Overridden(Extended):
    def __call__(self, state, x):
        return 0.5 * state + super().__call__(state, x)


class Mixed(rtrl.ELSTMCell):
    def gate(self, h, inputs):
        return super().gate(h, inputs) - 0.1 * h.mean()


ORDER = np.array([1, 0, 3, 2])
NOT_PER_UNIT = {
    "a mean over units": lambda: elman(lambda self, h, a: jnp.tanh(a - h.mean())),
    "a normalisation": lambda: elman(lambda self, h, a: jnp.tanh(self.extra(a)), eqx.nn.LayerNorm(N)),
    "a trained scalar": lambda: elman(lambda self, h, a: jnp.tanh(a * self.extra), jnp.ones(())),
    "several numbers a unit": lambda: elman(lambda self, h, a: jnp.tanh(a * self.extra[:, 0]), jnp.ones((N, 3))),
    "a matrix": lambda: elman(lambda self, h, a: jnp.tanh(a + self.extra @ h), jnp.ones((N, N)) / N),
    "a permutation": lambda: elman(lambda self, h, a: jnp.tanh(a + h[ORDER])),
    "a step of its own": Overridden,
}


@contextlib.contextmanager
def one_line(kind, *parts):
    with pytest.raises(kind) as caught:
        yield
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.parametrize("what", NOT_PER_UNIT)
def test_a_gate_that_is_not_per_unit_is_refused_by_all_that_would_be_wrong(what):
    cell = NOT_PER_UNIT[what]()
    for estimator in ON_DENSE:
        with one_line(TypeError, "cell: expected", type(cell).__name__):
            estimator.init(cell, cell.initial_state(), key=KEY)
    inits = lambda cell: rtrl.RTRL().init(cell, cell.initial_state())  # noqa: E731
    with one_line(TypeError, "cell: expected"):
        eqx.filter_jit(inits)(cell)
    with one_line(TypeError, "cell: expected"):
        eqx.filter_vmap(inits)(jax.tree.map(lambda a: jnp.stack([a, a]) if eqx.is_array(a) else a, cell))


def test_a_diagonal_cell_whose_units_mix_is_refused_alone_and_in_a_stack():
    cell = Mixed(M, N, key=KEY)
    for estimator in ON_DIAGONAL:
        with one_line(TypeError, "cell: expected the gate of Mixed to be elementwise"):
            estimator.init(cell, cell.initial_state())
    stack = rtrl.StackedCell([cell])
    for estimator in (rtrl.RTRL(), rtrl.LayerLocalRTRL()):
        with one_line(TypeError, "cell: expected the gate of Mixed to be elementwise"):
            estimator.init(stack, stack.initial_state())
    model, (xs, ys) = with_readout(cell), stream(2)
    assert_same_leaves(gradient(rtrl.TBPTT(STEPS), model, xs, ys), loop_gradient(model, xs, ys), 1e-10)


def test_a_sum_over_what_is_frozen_is_right():
    table = rtrl.Frozen(jnp.arange(1.0, N + 1) / N)
    cell = elman(lambda self, h, a: jnp.tanh(a) * self.extra.value.sum() / 3, table)
    model, (xs, ys) = with_readout(cell), stream(2)
    expected = loop_gradient(model, xs, ys)
    for estimator in EXACT_DENSE:
        assert_same_leaves(gradient(estimator, model, xs, ys), expected, 1e-10)


def starting(kind, parts, state, **options):
    """A cell of this kind whose initial state is trained."""

    class Starting(kind):
        start: jax.Array

        def __init__(self, inputs=M):
            super().__init__(inputs, N, key=KEY, **options)
            self.start = jax.random.normal(jax.random.key(5), (*parts, N))

        def initial_state(self):
            return state(self.start)

    return Starting


class UserCell(rtrl.AbstractCell):
    weight: jax.Array
    start: jax.Array

    def __call__(self, state, x):
        return {"h": jnp.tanh(self.weight @ state["h"] + x.sum()), "z": state["z"] * state["h"][:2] + 0.5 * self.start}

    def initial_state(self):
        return {"h": jnp.sin(self.weight.sum(axis=0)), "z": self.start**2}

    def output(self, state, x):
        return jnp.concatenate([state["h"], state["z"].real, state["z"].imag])

    def example_input(self):
        return jnp.zeros(M)


StartingGRU = starting(rtrl.GRUCell, (), jnp.tanh)
StartingELSTM = starting(rtrl.ELSTMCell, (), jnp.sin)
STARTING = {
    "gru": (StartingGRU, [*EXACT_DENSE, rtrl.OK(N), rtrl.SketchedRTRL(N)]),
    "lstm": (starting(rtrl.LSTMCell, (2,), tuple, mask=RING), [*EXACT_DENSE[:2], rtrl.SnAp(N)]),
    "elstm": (StartingELSTM, EXACT_DIAGONAL),
    "lru": (starting(rtrl.LRUCell, (2,), tuple), EXACT_DIAGONAL),
    "user": (
        lambda: UserCell(jax.random.normal(KEY, (3, 3)) / 2, jnp.array([0.5 + 0.2j, -0.3j])),
        [rtrl.RTRL(), rtrl.TBPTT(STEPS), rtrl.BPTT(), rtrl.SketchedRTRL(7)],
    ),
    "stack": (lambda: rtrl.StackedCell([StartingELSTM(), eqx.nn.LayerNorm(N), StartingGRU(N)]), EXACT_DENSE),
}


@pytest.mark.parametrize("name", STARTING)
def test_a_trained_initial_state_has_the_gradient_of_a_plain_loop_also_after_resets(name):
    make, estimators = STARTING[name]
    model, (xs, ys) = with_readout(make()), stream(2)
    for resets, every in (((), 1), ((3, 6), 1), ((4, 5), 3)):  # as flags throughout: two programs an estimator
        reset = jnp.isin(jnp.arange(STEPS), jnp.array(resets, int))
        expected = loop_gradient(model, xs, ys, resets)
        for estimator in estimators:
            found = gradient(estimator, model, xs, ys, reset=reset, update_every=every, key=KEY)
            assert_same_leaves(found, expected, 1e-9)


class Field(eqx.Module):
    weight: jax.Array
    bias: jax.Array

    def __call__(self, t, y, args):
        return jnp.tanh(self.weight @ y + self.bias * args[0])


def ode():
    field = Field(jax.random.normal(KEY, (N, N)), jnp.ones(N))
    return rtrl.ODECell(field, 0.1 * jnp.arange(1.0, N + 1), time_step=0.3, substeps=2, example_args=jnp.zeros(M))


def sde():
    drift, diffusion = (Field(jax.random.normal(key, (N, N)), jnp.ones(N)) for key in jax.random.split(KEY))
    return rtrl.SDECell(drift, diffusion, 0.1 * jnp.ones(N), time_step=0.3, substeps=2, example_args=jnp.zeros(M))


def observer():
    return rtrl.ObserverCell(ode(), eqx.nn.Linear(N, 2, key=KEY), 0.1 * jnp.ones((N, 2)))


def inputs_of(cell, xs):
    """A stream for a cell, with the noise or the observations that it takes beside."""
    if isinstance(cell, rtrl.SDECell):
        return cell.increments(KEY, len(xs)), xs
    return (jax.random.normal(KEY, (len(xs), 2)), xs) if isinstance(cell, rtrl.ObserverCell) else xs


LIBRARY = {
    "elman": (lambda: rtrl.ElmanCell(M, N, key=KEY), EXACT_DENSE[:2]),
    "ctrnn": (lambda: rtrl.CTRNNCell(M, N, key=KEY), EXACT_DENSE[:2]),
    "gru": (lambda: rtrl.GRUCell(M, N, key=KEY), EXACT_DENSE[:3]),
    "lstm": (lambda: rtrl.LSTMCell(M, N, key=KEY), EXACT_DENSE[:2]),
    "lru": (lambda: rtrl.LRUCell(M, N, key=KEY), [rtrl.RTRL()]),
    "rtu": (lambda: rtrl.RTUCell(M, N, key=KEY), [rtrl.RTRL()]),
    "elstm": (lambda: rtrl.ELSTMCell(M, N, key=KEY), [rtrl.RTRL(), rtrl.TBPTT(STEPS)]),
    "ode": (ode, [rtrl.RTRL()]),
    "sde": (sde, [rtrl.RTRL()]),
    "observer": (observer, [rtrl.RTRL()]),
    "stack": (lambda: rtrl.StackedCell([rtrl.ELSTMCell(M, 3, key=KEY), rtrl.ElmanCell(3, 2, key=KEY)]), [rtrl.RTRL()]),
}


def at(model, path):
    """The leaf of a model's cell at a path."""
    node = model.cell
    for key in path:
        node = getattr(node, key.name) if hasattr(key, "name") else node[key.idx]
    return node


def frozen_one_by_one(model):
    """For each trained array of the cell: the model with it frozen, and the same of a gradient."""
    trained = eqx.filter(model.cell, lambda node: not is_frozen(node) and eqx.is_inexact_array(node), is_leaf=is_frozen)
    for path, _ in jax.tree.leaves_with_path(trained):
        where = functools.partial(at, path=path)
        yield (
            eqx.tree_at(where, model, replace_fn=rtrl.Frozen),
            functools.partial(eqx.tree_at, where, replace=rtrl.Frozen(None)),
        )


@pytest.mark.parametrize("name", LIBRARY)
def test_with_any_leaf_frozen_the_others_have_the_gradient_of_a_plain_loop(name):
    make, estimators = LIBRARY[name]
    model, (xs, ys) = with_readout(make()), stream(2)
    xs = inputs_of(model.cell, xs)
    everything = loop_gradient(model, xs, ys)
    for frozen, without in frozen_one_by_one(model):
        for estimator in estimators:
            assert_same_leaves(gradient(estimator, frozen, xs, ys), without(everything), 1e-10)


@pytest.mark.parametrize("estimator", [*ON_DENSE[3:], rtrl.UORO()], ids=str)
def test_estimators_that_are_not_exact_leave_what_is_frozen_and_give_the_rest_as_before(estimator):
    model, (xs, ys) = with_readout(rtrl.ElmanCell(M, N, key=KEY, mask=RING)), stream(2, steps=4)
    everything = gradient(estimator, model, xs, ys, key=KEY)
    for frozen, without in frozen_one_by_one(model):
        found = gradient(estimator, frozen, xs, ys, key=KEY)
        if isinstance(estimator, rtrl.SketchedRTRL | rtrl.UORO):  # in these all parameters share one approximation
            assert jax.tree.structure(found) == jax.tree.structure(without(everything))
            assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found))
        else:
            assert_same_leaves(found, without(everything), 1e-10)
        learner = rtrl.Learner(squared, estimator, optax.adamw(0.1))
        state, _ = learner.step(learner.init(frozen, key=KEY), xs[0], ys[0])
        (kept,) = (node.value for node in jax.tree.leaves(state.model, is_leaf=is_frozen) if is_frozen(node))
        (given,) = (node.value for node in jax.tree.leaves(frozen, is_leaf=is_frozen) if is_frozen(node))
        np.testing.assert_array_equal(kept, given)


@pytest.mark.parametrize("estimator", EXACT_DENSE[:3], ids=str)
def test_an_array_that_cell_and_readout_share_is_trained_as_one(estimator):
    model = with_readout(rtrl.ElmanCell(M, N, key=KEY))
    shared = eqx.nn.Shared(model, lambda m: m.readout.weight, lambda m: m.cell.weight_ih[0].T)
    xs, ys = stream(2)
    expected = eqx.filter_jit(eqx.filter_grad(loop))(shared, xs, ys)
    assert_same_leaves(gradient(estimator, shared, xs, ys), expected, 1e-10)
    learner = rtrl.Learner(squared, estimator, optax.sgd(0.1), update_every=STEPS)
    state, _ = learner.run(learner.init(shared), xs, ys)
    before, after = shared().cell.weight_ih, state.model().cell.weight_ih
    np.testing.assert_allclose(after, before - 0.1 * expected.pytree.cell.weight_ih / STEPS, rtol=1e-9)
    np.testing.assert_array_equal(state.model().readout.weight, after[0].T)


class Dropping(eqx.Module):
    """Half of the state, another half at every step, through a linear layer; tells which half."""

    linear: eqx.nn.Linear

    def __call__(self, h, *, key):
        kept = jax.random.bernoulli(key, 0.5, h.shape)
        return self.linear(jnp.where(kept, h, 0)), kept


def loss_of_kept(prediction, y):
    return squared(prediction[0], y)


@pytest.mark.parametrize("estimator", [rtrl.RTRL(), rtrl.ChunkedBPTT()], ids=str)
def test_a_random_readout_has_the_gradient_of_a_plain_loop_that_drops_the_same(estimator):
    model = rtrl.Model(rtrl.ElmanCell(M, N, key=KEY), Dropping(eqx.nn.Linear(N, 1, key=KEY)))
    xs, ys = stream(5, steps=8)
    learner = rtrl.Learner(loss_of_kept, estimator, optax.sgd(0.1), update_every=8)
    once, out = learner.run(learner.init(model, key=KEY), xs, ys)
    kept = np.asarray(out.prediction[1])
    assert len({tuple(row) for row in kept}) > 2

    def plain(model):
        h, total = model.cell.initial_state(), 0.0
        for x, y, keep in zip(xs, ys, kept, strict=True):
            h = model.cell(h, x)
            total += squared(model.readout.linear(keep * h), y)
        return total / 8

    expected = eqx.apply_updates(model, jax.tree.map(lambda g: -0.1 * g, eqx.filter_grad(plain)(model)))
    for new, wanted in zip(jax.tree.leaves(once.model), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(new, wanted, rtol=1e-10, atol=1e-12)
    cut, first = learner.run(learner.init(model, key=KEY), xs[:3], ys[:3])
    _, second = learner.run(cut, xs[3:], ys[3:])
    np.testing.assert_array_equal(np.concatenate([first.prediction[1], second.prediction[1]]), kept)


def test_a_random_readout_without_a_key_is_refused_in_one_line():
    readout = eqx.nn.Sequential([eqx.nn.Dropout(0.5), eqx.nn.Linear(N, 1, key=KEY)])
    model, (xs, ys) = rtrl.Model(rtrl.ElmanCell(M, N, key=KEY), readout), stream(2, steps=4)
    learner = rtrl.Learner(squared, rtrl.RTRL(), optax.sgd(0.1))
    for attempt in (
        lambda: learner.run(learner.init(model), xs, ys),
        lambda: rtrl.sequence_gradient(rtrl.RTRL(), model, squared, xs, ys),
    ):
        with pytest.raises(ValueError, match="key") as caught:
            attempt()
        expected = "key: expected one, because the readout is random, got None; init(model, key=key)"
        assert str(caught.value) == expected


def test_optimizers_that_want_the_loss_get_it():
    model, (xs, ys) = with_readout(rtrl.GRUCell(M, N, key=KEY)), stream(2)
    learner = rtrl.Learner(squared, rtrl.RTRL(), optax.polyak_sgd(max_learning_rate=10.0))
    state, out = learner.step(learner.init(model), xs[0], ys[0])
    slope = jax.flatten_util.ravel_pytree(loop_gradient(model, xs[:1], ys[:1]))[0]
    expected = parameters(learner.init(model)) - out.loss * slope / (slope @ slope)
    np.testing.assert_allclose(parameters(state), expected, rtol=1e-9)
    plateau = optax.chain(optax.sgd(0.1), optax.contrib.reduce_on_plateau(factor=0.5, patience=1))
    learner = rtrl.Learner(lambda p, y: 1 + 0 * p.sum(), rtrl.RTRL(), plateau)
    state, _ = learner.run(learner.init(model), xs, ys)
    assert 0 < float(optax.tree_utils.tree_get(state.optimizer, "scale")) < 0.2


def test_masks_and_labels_shaped_like_the_model_serve_one_with_frozen_arrays():
    model, (xs, ys) = with_readout(rtrl.GRUCell(M, N, key=KEY)), stream(2)
    model = eqx.tree_at(lambda m: m.cell.bias_hh, model, replace_fn=rtrl.Frozen)
    everywhere = jax.tree.map(lambda _: True, eqx.filter(model, eqx.is_inexact_array))
    labels = eqx.tree_at(lambda m: m.readout, jax.tree.map(lambda _: "on", everywhere), replace_fn=lambda _: "off")
    split = optax.multi_transform({"on": optax.sgd(0.1), "off": optax.set_to_zero()}, labels)
    ran = {}
    for name, optimizer in (
        ("plain", optax.sgd(0.1)), ("masked", optax.masked(optax.sgd(0.1), everywhere)), ("labels", split)
    ):  # fmt: skip
        learner = rtrl.Learner(squared, rtrl.RTRL(), optimizer)
        ran[name] = learner.run(learner.init(model), xs[:1], ys[:1])[0].model
    assert eqx.tree_equal(ran["masked"], ran["plain"])
    assert eqx.tree_equal(ran["labels"].cell, ran["plain"].cell)
    assert eqx.tree_equal(ran["labels"].readout, model.readout)


class Autonomous(rtrl.AbstractCell):
    weight: jax.Array

    def __call__(self, state, x):
        return jnp.tanh(self.weight @ state)

    def initial_state(self):
        return jnp.ones(3)

    def example_input(self):
        return None


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("estimator", [rtrl.RTRL(), rtrl.TBPTT(STEPS), rtrl.ChunkedBPTT()], ids=str)
def test_a_cell_without_input_learns_from_targets_alone(estimator, every):
    model, (_, ys) = with_readout(Autonomous(jax.random.normal(KEY, (3, 3)))), stream(2)
    learner = rtrl.Learner(squared, estimator, optax.sgd(0.1), update_every=every)
    if not isinstance(estimator, rtrl.ChunkedBPTT):
        found = gradient(estimator, model, None, ys, update_every=every)
        assert_same_leaves(found, loop_gradient(model, None, ys), 1e-10)
    first, _ = learner.run(learner.init(model), None, ys[:every])
    slope = jax.flatten_util.ravel_pytree(loop_gradient(model, None, ys[:every]))[0]
    np.testing.assert_allclose(parameters(first), parameters(learner.init(model)) - 0.1 * slope / every, rtol=1e-9)
    stepped = learner.init(model)
    for y in ys:
        stepped, _ = learner.step(stepped, None, y)
    ran, _ = learner.run(learner.init(model), None, ys)
    np.testing.assert_allclose(parameters(ran), parameters(stepped), rtol=1e-9)


@pytest.mark.parametrize("estimator", [rtrl.OK(N), rtrl.SketchedRTRL(N)], ids=str)
def test_full_rank_in_half_precision_is_exact_to_its_digits(estimator):
    model, (xs, ys) = with_readout(rtrl.GRUCell(M, N, key=KEY)), stream(2)
    exact = jax.flatten_util.ravel_pytree(loop_gradient(model, xs, ys))[0]
    low, xs, ys = jax.tree.map(lambda a: a.astype(jnp.bfloat16), (model, xs, ys))
    found = gradient(estimator, low, xs, ys, key=KEY)
    assert {leaf.dtype for leaf in jax.tree.leaves(found)} == {jnp.dtype(jnp.bfloat16)}
    found = jax.flatten_util.ravel_pytree(found)[0].astype(float)
    assert jnp.linalg.norm(found - exact) < 0.05 * jnp.linalg.norm(exact)


@pytest.mark.parametrize(
    ("kind", "estimator"),
    [
        (rtrl.GRUCell, rtrl.RTRL(block_size=None)),
        (rtrl.GRUCell, rtrl.RTRL(block_size=3)),
        (rtrl.ELSTMCell, rtrl.RTRL()),
    ],
    ids=str,
)
def test_learning_can_be_differentiated_by_its_rate(kind, estimator):
    model, (xs, ys) = with_readout(kind(M, N, key=KEY)), stream(2)
    learner = rtrl.Learner(squared, estimator, optax.inject_hyperparams(optax.sgd)(learning_rate=0.1))

    def total(rate):
        state = rtrl.set_hyperparameters(learner.init(model), learning_rate=rate)
        return learner.run(state, xs, ys)[1].loss.sum()

    difference = (total(0.1 + 1e-5) - total(0.1 - 1e-5)) / 2e-5
    np.testing.assert_allclose(jax.grad(total)(0.1), difference, rtol=1e-6)


class Weighted(eqx.Module):
    """A loss with an array of its own."""

    weights: jax.Array

    def __call__(self, prediction, target):
        return jnp.sum(self.weights * (prediction - target) ** 2)


@pytest.mark.parametrize("name", ["lstm", "lru", "rtu", "ode", "stack"])
def test_donation_changes_no_number_and_takes_the_given_state_only(name):
    model, (xs, ys) = with_readout(LIBRARY[name][0]()), stream(2)
    loss, ends = Weighted(jnp.array([1.0, 2.0])), []
    for donate in (False, True):
        learner = rtrl.Learner(loss, rtrl.RTRL(), optax.adam(0.01), donate=donate)
        state = learner.init(model)
        for t in range(3):
            given, (state, _) = state, learner.step(state, xs[t], ys[t])
            assert any(a.is_deleted() for a in jax.tree.leaves(eqx.filter(given.model, eqx.is_array))) == donate
        for _ in range(2):
            state, _ = learner.run(state, xs[3:], ys[3:])
        ends.append(state)
        assert not any(a.is_deleted() for a in jax.tree.leaves((model, xs, ys, loss)) if eqx.is_array(a))
    for one, other in zip(*(jax.tree.leaves(eqx.filter(end, eqx.is_array)) for end in ends), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)


@pytest.mark.parametrize(
    ("kind", "estimator"),
    [(rtrl.GRUCell, rtrl.RTRL(block_size=None)), (rtrl.GRUCell, rtrl.RTRL(block_size=3)),
     (rtrl.ELSTMCell, rtrl.RTRL()), (rtrl.GRUCell, rtrl.TBPTT(3))],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("every", [1, 3])
def test_one_input_that_is_not_a_number_ends_no_other_stream(kind, estimator, every):
    """As if that stream had had no weight in that window, and had begun anew after it."""
    model, (xs, ys) = with_readout(kind(M, N, key=KEY)), stream(2, steps=9, batch=(3,))
    broken = xs.at[4, 1].set(jnp.nan)
    window = slice(4 // every * every, 4 // every * every + every)
    ignored = jnp.ones((9, 3)).at[window, 1].set(0)
    anew = jnp.zeros((9, 3), bool).at[window.stop, 1].set(True)
    restarting = rtrl.Learner(squared, estimator, optax.sgd(0.05), update_every=every, nonfinite="restart")
    plain = rtrl.Learner(squared, estimator, optax.sgd(0.05), update_every=every)
    found, out = restarting.run(restarting.init(model, batch_size=3), broken, ys)
    expected, _ = plain.run(plain.init(model, batch_size=3), xs, ys, weight=ignored, reset=anew)
    np.testing.assert_allclose(parameters(found), parameters(expected), rtol=1e-9, atol=1e-12)
    assert not out.finite[4]
    assert out.finite[window.stop :].all()


def test_raising_works_outside_under_jit_and_under_vmap():
    model, (xs, ys) = with_readout(rtrl.GRUCell(M, N, key=KEY)), stream(2)
    broken = xs.at[5].set(jnp.nan)
    learner = rtrl.Learner(squared, rtrl.RTRL(), optax.sgd(0.1), nonfinite="raise")
    state = learner.init(model)
    with pytest.raises(rtrl.NonFiniteError, match="at step 5;") as caught:
        learner.run(state, broken, ys)
    assert caught.value.step == 5
    np.testing.assert_allclose(parameters(caught.value.state), parameters(learner.run(state, xs[:5], ys[:5])[0]))
    with pytest.raises(eqx.EquinoxRuntimeError, match="expected finite losses"):
        eqx.filter_jit(learner.run)(state, broken, ys)
    with pytest.raises(eqx.EquinoxRuntimeError, match="expected finite losses"):
        eqx.filter_vmap(learner.run, in_axes=(None, 0, None))(state, jnp.stack([xs, broken]), ys)


@pytest.mark.parametrize("nonfinite", ["report", "raise", "restart"])
def test_a_step_can_be_exported_whatever_becomes_of_what_is_not_finite(nonfinite):
    model, (xs, ys) = with_readout(rtrl.GRUCell(M, N, key=KEY)), stream(2)
    learner = rtrl.Learner(squared, rtrl.RTRL(), optax.sgd(0.1), nonfinite=nonfinite)
    state = learner.init(model)
    step = jax.export.deserialize(bytearray(rtrl.export_step(learner, state, xs[0], ys[0]))).call
    _, loss, _ = step(rtrl.state_arrays(state), xs[0], ys[0])
    np.testing.assert_allclose(loss, learner.step(state, xs[0], ys[0])[1].loss, rtol=1e-12)


class Many(rtrl.AbstractCell):
    """A state of two hundred arrays, one of which grows."""

    def __call__(self, state, x):
        return {**state, "leaf 7": jnp.zeros(2)}

    def initial_state(self):
        return {f"leaf {i}": jnp.zeros(1) for i in range(200)}


@functools.cache
def bad_calls():
    model, (xs, ys) = with_readout(rtrl.GRUCell(M, N, key=KEY)), stream(2)
    learner = rtrl.Learner(squared, rtrl.RTRL(), optax.sgd(0.1))
    run = lambda xs, ys, loss=squared, model=model, **options: (  # noqa: E731
        rtrl.Learner(loss, rtrl.RTRL(), optax.sgd(0.1)).run(learner.init(model, **options), xs, ys)
    )
    return {
        "loss: expected one real JAX number for each step, got float 1.0": lambda: run(xs, ys, lambda p, y: 1.0),
        "xs: expected JAX or NumPy arrays with a leading time axis, got DataFrame; give .to_numpy()": (
            lambda: run(pandas.DataFrame(np.asarray(xs)), ys)
        ),
        "xs: expected JAX or NumPy arrays with a leading time axis, got float; numpy.asarray": (
            lambda: run([[0.0, 1.0]] * STEPS, ys)
        ),
        "update_every: expected an integer of at least 1, got '4'": (
            lambda: rtrl.Learner(squared, rtrl.RTRL(), optax.sgd(0.1), update_every="4")  # pyright: ignore
        ),
        "horizon: expected an integer of at least 1, got 2.5": lambda: rtrl.TBPTT(2.5),  # pyright: ignore
        "block_size: expected 'auto', None or an integer of at least 1, got 'Auto'": (
            lambda: rtrl.RTRL(block_size="Auto")  # pyright: ignore
        ),
        "optimizer: expected an optax one such as optax.adam(1e-3), got None": (
            lambda: rtrl.Learner(squared, rtrl.RTRL(), None)  # pyright: ignore
        ),
        "inner: expected rtrl.RTRL(), got SnAp(order=1)": lambda: rtrl.LayerLocalRTRL(rtrl.SnAp(1)),  # pyright: ignore
        "cell: expected Many to keep the state's structure, shapes and dtypes, float64[1] at ['leaf 7']; a step gave": (
            lambda: run(xs, ys, model=rtrl.Model(Many(), lambda h: h["leaf 0"]))
        ),
        "xs, ys: expected axes (time, 3 streams, …) in every array, got shapes that begin with [(3, 8)]": (
            lambda: run(*stream(2, steps=3, batch=(STEPS,)), batch_size=3)
        ),
    }


@pytest.mark.parametrize("message", bad_calls())
def test_what_a_user_gets_wrong_is_said_in_one_line(message, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as users run it: without run-time type checks
    with one_line((TypeError, ValueError), message):
        bad_calls()[message]()


def test_an_influence_that_does_not_fit_is_refused_before_it_is_made(monkeypatch):
    monkeypatch.setattr("rtrl.memory._device_bytes", lambda: 2**21)
    model = with_readout(rtrl.ElmanCell(4, 64, key=KEY))
    learner = rtrl.Learner(squared, rtrl.RTRL(block_size=None), optax.sgd(0.1))
    needed = 64 * (64 * 64 + 64 * 4 + 64) * 8 / 2**20
    with one_line(MemoryError, "an influence that fits into 1 MiB, half of the", f"got {needed:.0f} MiB", "EProp() "):
        learner.init(model)
    monkeypatch.setattr("rtrl.memory._device_bytes", lambda: 2**30)
    learner.init(model)
    with one_line(MemoryError, "estimator: expected an influence that fits into"):
        learner.init(model, batch_size=1000)


def test_a_state_does_not_go_on_under_other_settings(tmp_path):
    xs, ys = stream(2)
    one, other = (with_readout(rtrl.GRUCell(M, N, key=KEY, mask=mask)) for mask in (RING, RING.T))
    learner = rtrl.Learner(squared, rtrl.RTRL(), optax.sgd(0.1))
    eqx.tree_serialise_leaves(tmp_path / "state.eqx", learner.init(one))
    learner.run(eqx.tree_deserialise_leaves(tmp_path / "state.eqx", learner.init(one)), xs, ys)
    loaded = eqx.tree_deserialise_leaves(tmp_path / "state.eqx", learner.init(other))
    with one_line(ValueError, "state: expected one that belongs to this learner"):
        learner.run(loaded, xs, ys)
    for before, after in ((rtrl.RTRL(block_size=4), rtrl.RTRL(block_size=5)), (rtrl.TBPTT(3), rtrl.TBPTT(5))):
        state = rtrl.Learner(squared, before, optax.sgd(0.1)).init(one)
        changed = rtrl.Learner(squared, after, optax.sgd(0.1))
        with one_line(ValueError, "state: expected one that belongs to this learner", repr(after)):
            changed.run(state, xs, ys)
        with one_line(ValueError, "state: expected one that belongs to this learner", repr(after)):
            changed.step(state, xs[0], ys[0])


IN_FLOAT32 = """
import test_right_or_refused as t, jax, rtrl
from oracles import assert_same_leaves
assert jax.numpy.ones(1).dtype == "float32"
for make, estimators in map(t.LIBRARY.get, ("gru", "elstm", "lru", "stack")):
    model, (xs, ys) = t.with_readout(make()), t.stream(2)
    expected = t.loop_gradient(model, xs, ys)
    for estimator in estimators:
        assert_same_leaves(t.gradient(estimator, model, xs, ys), expected, 1e-4)
"""


def test_gradients_are_right_in_float32_where_there_is_no_float64():
    here, package = os.path.dirname(__file__), os.path.dirname(os.path.dirname(rtrl.__file__))
    env = {**os.environ, "JAX_ENABLE_X64": "0", "PYTHONPATH": os.pathsep.join([here, package])}
    subprocess.run([sys.executable, "-c", IN_FLOAT32], check=True, env=env)


def test_uoro_is_unbiased_on_a_complex_cell():
    model, (xs, ys) = with_readout(ComplexCell(KEY)), stream(2, inputs=3, steps=5)
    flat = lambda g: jnp.concatenate([a.ravel().view(float) for a in jax.tree.leaves(g.cell)])  # noqa: E731
    exact = flat(loop_gradient(model, xs, ys))
    draws = jax.vmap(lambda key: flat(gradient(rtrl.UORO(), model, xs, ys, key=key)))(jax.random.split(KEY, 4096))
    error = draws.std(axis=0, ddof=1) / 64
    assert jnp.linalg.norm(error) > 1e-3 * jnp.linalg.norm(exact)
    assert np.all(np.abs(draws.mean(axis=0) - exact) <= 4 * error + 1e-10 * np.abs(exact).max())
