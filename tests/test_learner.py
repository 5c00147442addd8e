"""Online learning: the trajectory of the parameters, batches, and what a user gets wrong."""

import dataclasses
import functools
import resource

import equinox as eqx
import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import optax
import oracles
import pytest
from cells import STACKS, OscillatorCell, forms, make_model, make_stream, weighted_loss

import rtrl


def streams_of(xs, ys, batch):
    """Plain lists of (x, (target, weight)), one for each stream of a batch."""
    if not batch:
        return [list(zip(xs, zip(*ys, strict=True), strict=True))]
    return [streams_of(xs[:, b], jax.tree.map(lambda a, b=b: a[:, b], ys), ())[0] for b in range(batch[0])]


def assert_descended(before, gradient, after):
    """One step of plain gradient descent with rate 1, in every parameter."""
    expected = eqx.apply_updates(before, jax.tree.map(jnp.negative, gradient))
    for a, b in zip(*(jax.tree.leaves(eqx.filter(m, eqx.is_array)) for m in (after, expected)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


def parameters(state):
    return jax.flatten_util.ravel_pytree((state.model.cell, state.model.readout))[0]


@pytest.mark.parametrize("batch", [(), (4,)], ids=["one stream", "batch"])
@pytest.mark.parametrize("cell", ["elman", "ctrnn", "gru", "lstm", "rtu"])
def test_updates_at_every_step_follow_the_textbook_recursion_for_500_steps(cell, batch):
    """With Adam at every step, whatever the form; block sizes that do not divide the stream."""
    model, (xs, (targets, _)) = make_model(cell), make_stream(500, batch=batch)
    ys = targets, jnp.ones((500, *batch))
    visited = oracles.textbook_training(
        model.cell, model.readout, weighted_loss, optax.adam(0.01), streams_of(xs, ys, batch)
    )
    for estimator in forms(cell):
        learner = rtrl.Learner(weighted_loss, estimator, optax.adam(0.01))
        state = learner.init(model, batch_size=batch[0] if batch else None)
        for end in (125, 250, 375, 500):
            piece = jax.tree.map(lambda a, end=end: a[end - 125 : end], (xs, ys))
            state, _ = learner.run(state, *piece)
            np.testing.assert_allclose(parameters(state), visited[end - 1], rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("batch", [(), (4,)], ids=["one stream", "batch"])
def test_update_every_averages_gradients_taken_at_the_same_parameters(batch):
    """That it does so however the stream is cut is one of the laws."""
    model, (xs, (targets, _)) = make_model("gru"), make_stream(23, batch=batch)
    ys = targets, jnp.ones((23, *batch))
    visited = oracles.textbook_training(
        model.cell, model.readout, weighted_loss, optax.adam(0.01), streams_of(xs, ys, batch), every=5
    )
    for estimator in forms("gru"):
        learner = rtrl.Learner(weighted_loss, estimator, optax.adam(0.01), update_every=5)
        ran, _ = learner.run(learner.init(model, batch_size=batch[0] if batch else None), xs, ys)
        np.testing.assert_allclose(parameters(ran), visited[-1], rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("estimator", [rtrl.RTRL(), rtrl.RTRL(block_size=5), rtrl.TBPTT(4)], ids=str)
def test_run_is_step_repeated(estimator):
    model, (xs, ys) = make_model("gru"), make_stream(12)
    learner = rtrl.Learner(weighted_loss, estimator, optax.adam(0.01))
    stepped, losses = learner.init(model), []
    for t in range(12):
        stepped, output = learner.step(stepped, xs[t], (ys[0][t], ys[1][t]))
        losses.append(output.loss)
    ran, outputs = learner.run(learner.init(model), xs, ys)
    np.testing.assert_allclose(outputs.loss, jnp.stack(losses), rtol=1e-12)
    for a, b in zip(jax.tree.leaves(ran), jax.tree.leaves(stepped), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("ages", [(0, 0, 0), (0, 2, 6)], ids=["same age", "different ages"])
def test_networks_of_any_age_map_together(ages):
    """Each network trains as it would alone, also where their blocks do not begin at the same step."""
    learner = rtrl.Learner(weighted_loss, rtrl.RTRL(block_size=7), optax.adam(1e-2))
    xs, ys = make_stream(23)
    cut = lambda begin, end=None: jax.tree.map(lambda a: a[begin:end], (xs, ys))  # noqa: E731
    started = [learner.init(make_model("gru", seed)) for seed in range(len(ages))]
    aged = [learner.run(s, *cut(0, age))[0] if age else s for s, age in zip(started, ages, strict=True)]
    alone = [parameters(learner.run(s, *cut(6))[0]) for s in aged]
    together = jax.tree.map(lambda *leaves: jnp.stack(leaves), *aged)
    mapped = eqx.filter_vmap(learner.run, in_axes=(eqx.if_array(0), None, None))(together, *cut(6))[0]
    np.testing.assert_allclose(jax.vmap(parameters)(mapped), alone, rtol=1e-8)


def test_a_batch_averages_the_gradients_of_its_streams():
    """One SGD update after a window, at frozen parameters before it: four streams by plain loops."""
    model, (xs, ys) = make_model("gru"), make_stream(9, batch=(4,))
    only_last = (ys[0], jnp.zeros((9, 4)).at[-1].set(1.0))
    learner = rtrl.Learner(weighted_loss, rtrl.RTRL(), optax.sgd(1.0))
    state, outputs = learner.run(learner.init(model, batch_size=4), xs, only_last)
    assert outputs.prediction.shape == (9, 4, 2)

    def mean_loss(model):
        of = lambda b: oracles.loop_loss(model, weighted_loss, *jax.tree.map(lambda a: a[:, b], (xs, only_last)))  # noqa: E731
        return sum(map(of, range(4))) / 4

    value, gradient = eqx.filter_value_and_grad(mean_loss)(model)
    np.testing.assert_allclose(outputs.loss[-1], value, rtol=1e-12)
    assert_descended(model, gradient, state.model)


@pytest.mark.parametrize("cell", STACKS)
def test_in_a_window_layers_send_credit_to_each_other(cell):
    """Backpropagation through the window; before it every layer's input is cut, its own recursion is not."""
    model, (xs, (targets, _)) = make_model(cell), make_stream(14)
    ys = (targets, jnp.ones(14))
    learner = rtrl.Learner(weighted_loss, rtrl.LayerLocalRTRL(), optax.sgd(1.0), update_every=7)
    part = lambda begin, end: (xs[begin:end], jax.tree.map(lambda y: y[begin:end], ys))  # noqa: E731
    before, _ = learner.run(learner.init(model), *part(0, 7))
    before = eqx.tree_at(lambda s: s.model, before, model)  # as if the first update had not been
    after, outputs = learner.run(before, *part(7, 14))

    def mean_loss(model):
        held, total = make_model(cell).cell, 0.0
        below, state = held.initial_state(), model.cell.initial_state()
        for x in xs[:7]:
            below = held(below, x)
            arrives = [held.entering(x, below[:k]) for k in range(len(below))]
            state = tuple(layer(s, u) for layer, s, u in zip(model.cell.layers, state, arrives, strict=True))
        for x, y in zip(xs[7:], targets[7:], strict=True):
            state = model.cell(state, x)
            total += jnp.sum((model.predict(state, x) - y) ** 2)
        return total / 7

    value, gradient = eqx.filter_jit(eqx.filter_value_and_grad(mean_loss))(model)
    np.testing.assert_allclose(outputs.loss.mean(), value, rtol=1e-12)
    assert_descended(model, gradient, after.model)


def test_under_vmap_and_jit_windows_begin_where_they_do_outside():
    """What `run` cannot see there before the program runs: how many steps the open window has."""
    model, (xs, (targets, _)) = make_model("gru"), make_stream(14)
    ys = (targets, jnp.ones(14))
    learner = rtrl.Learner(weighted_loss, rtrl.ChunkedBPTT(), optax.sgd(0.1), update_every=7)
    alone, _ = learner.run(learner.init(model), xs, ys)
    pair = jax.tree.map(lambda a: jnp.stack([a, a]) if eqx.is_array(a) else a, learner.init(model))
    mapped, _ = eqx.filter_vmap(lambda state: learner.run(state, xs, ys))(pair)
    np.testing.assert_allclose(jax.vmap(parameters)(mapped)[1], parameters(alone), rtol=1e-9)
    middle, _ = learner.step(alone, xs[0], (targets[0], jnp.ones(())))
    outside, _ = learner.run(middle, xs, ys)
    inside, _ = eqx.filter_jit(lambda state: learner.run(state, xs, ys))(middle)
    np.testing.assert_allclose(parameters(inside), parameters(outside), rtol=1e-9)


@pytest.mark.parametrize("cell", ["gru", "elstm", "deep residual stack"])
def test_chunked_backpropagation_stops_where_its_window_begins(cell):
    model, (xs, (targets, _)) = make_model(cell), make_stream(14)
    ys = (targets, jnp.ones(14))
    learner = rtrl.Learner(weighted_loss, rtrl.ChunkedBPTT(), optax.sgd(1.0), update_every=7)
    middle, _ = learner.run(learner.init(model), xs[:7], jax.tree.map(lambda y: y[:7], ys))
    after, outputs = learner.run(middle, xs[7:], jax.tree.map(lambda y: y[7:], ys))

    def mean_loss(model):
        state, total = middle.stream.cell, 0.0
        for x, y in zip(xs[7:], targets[7:], strict=True):
            state = model.cell(state, x)
            total += jnp.sum((model.predict(state, x) - y) ** 2)
        return total / 7

    value, gradient = eqx.filter_jit(eqx.filter_value_and_grad(mean_loss))(middle.model)
    np.testing.assert_allclose(outputs.loss.mean(), value, rtol=1e-12)
    assert_descended(middle.model, gradient, after.model)


def test_a_user_cell_learns():
    key = jax.random.key(0)
    model = rtrl.Model(OscillatorCell(key), eqx.nn.Linear(4, 2, key=key))
    xs, (targets, _) = make_stream(400)
    learner = rtrl.Learner(weighted_loss, rtrl.RTRL(), optax.adam(0.01))
    targets = jnp.cumsum(xs[:, :2], axis=0) * 0.05
    _, outputs = learner.run(learner.init(model), xs, (targets, jnp.ones(400)))
    assert outputs.loss[-100:].mean() < 0.5 * outputs.loss[:100].mean()


def test_states_that_are_given_away_go_on():
    """A learner that takes over its states' memory: many calls in a row, the losses of one that does not."""
    model, (xs, ys) = make_model("gru"), make_stream(12)
    losses = []
    for donate in (False, True):
        learner = rtrl.Learner(weighted_loss, rtrl.RTRL(), optax.sgd(0.1), donate=donate)
        state, first = learner.run(learner.init(model), xs[:9], jax.tree.map(lambda y: y[:9], ys))
        rest = []
        for t in range(9, 12):
            state, output = learner.step(state, xs[t], jax.tree.map(lambda y, t=t: y[t], ys))
            rest.append(output.loss)
        losses.append([*first.loss, *rest])
    np.testing.assert_allclose(*losses, rtol=1e-12)


@pytest.mark.parametrize("every", [1, 3])
def test_a_run_leaves_the_types_that_it_found_so_that_the_next_is_not_compiled_again(every):
    """Parameters made of Python's numbers are weakly typed; a state's are not, from the start."""
    model = eqx.tree_at(lambda m: m.cell.bias_ih, make_model("gru"), replace_fn=lambda b: jnp.full(b.shape, 0.5))
    assert model.cell.bias_ih.weak_type
    learner, (xs, ys) = rtrl.Learner(weighted_loss, rtrl.RTRL(), optax.adam(0.01), update_every=every), make_stream(6)
    before = learner.init(model)
    after, _ = learner.run(before, xs, ys)
    types = [[a.aval for a in jax.tree.leaves(eqx.filter(state, eqx.is_array))] for state in (before, after)]
    assert types[0] == types[1]


def test_chunks_continue_the_stream():
    model, (xs, ys) = make_model("elman"), make_stream(10)
    learner = rtrl.Learner(weighted_loss, rtrl.RTRL(), optax.adam(0.01))
    whole, _ = learner.run(learner.init(model), xs, ys)
    state = learner.init(model)
    for piece in (slice(0, 3), slice(3, 10)):
        state, _ = learner.run(state, xs[piece], jax.tree.map(lambda a, piece=piece: a[piece], ys))
    for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(whole), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("when", [0, 3, 8])
@pytest.mark.parametrize("every", [1, 3])
def test_a_non_finite_loss_is_flagged_and_raised_with_the_last_finite_state(when, every):
    model, (xs, ys) = make_model("gru"), make_stream(9)
    ys = ys[0], jnp.ones(9)
    bad = ys[0].at[when].set(jnp.inf), ys[1]
    quiet = rtrl.Learner(weighted_loss, rtrl.RTRL(), optax.sgd(0.01), update_every=every)
    _, outputs = quiet.run(quiet.init(model), xs, bad)
    assert int(jnp.argmin(outputs.finite)) <= when
    loud = dataclasses.replace(quiet, nonfinite="raise")
    with pytest.raises(rtrl.NonFiniteError, match=r"expected finite losses and gradients") as caught:
        loud.run(loud.init(model), xs, bad)
    step, state = caught.value.step, caught.value.state
    assert when - every < step <= when
    expected = quiet.init(model)
    for t in range(step):
        expected, _ = quiet.step(expected, *jax.tree.map(lambda a, t=t: a[t], (xs, ys)))
    np.testing.assert_allclose(parameters(state), parameters(expected), rtol=1e-9)
    _, outputs = loud.run(state, xs[step:], jax.tree.map(lambda a: a[step:], ys))
    assert outputs.finite.all()


def test_an_influence_that_overflows_is_flagged():
    """A linear cell with a growing mode: the loss weighs nothing, the influence still overflows."""
    cell = rtrl.ElmanCell(1, 2, key=jax.random.key(0), activation=lambda a: a)
    cell = eqx.tree_at(lambda c: c.weight_hh, cell, 1e30 * jnp.ones((1, 2, 2)))
    learner = rtrl.Learner(lambda p, y: 0.0 * p.sum(), rtrl.RTRL(), optax.sgd(0.1))
    _, outputs = learner.run(learner.init(rtrl.Model(cell, lambda h: h)), jnp.ones((30, 1)), jnp.zeros(30))
    assert outputs.finite[0]
    assert not outputs.finite[-1]


def test_frozen_arrays_stay_and_complex_parameters_descend():
    model, (xs, (targets, _)) = make_model("complex"), make_stream(600)
    targets = 0.1 * jnp.cumsum(xs[:, :2], axis=0) % 1.0
    learner = rtrl.Learner(weighted_loss, rtrl.RTRL(), optax.sgd(0.01))
    state, outputs = learner.run(learner.init(model), xs, (targets, jnp.ones(600)))
    np.testing.assert_array_equal(state.model.cell.mask.value, model.cell.mask.value)
    assert np.abs(state.model.cell.rotation - model.cell.rotation).max() > 1e-3
    assert outputs.loss[-200:].mean() < outputs.loss[:100].mean()


def test_a_frozen_readout_is_called_but_not_trained():
    model, (xs, ys) = make_model("gru"), make_stream(9)
    model = rtrl.Model(model.cell, rtrl.Frozen(model.readout))
    learner = rtrl.Learner(weighted_loss, rtrl.RTRL(), optax.adamw(0.1))
    state, _ = learner.run(learner.init(model), xs, ys)
    np.testing.assert_array_equal(state.model.readout.value.weight, model.readout.value.weight)
    assert np.abs(state.model.cell.bias_ih - model.cell.bias_ih).max() > 1e-3


def test_memory_stays_flat_over_a_million_steps():
    """Chunk by chunk, from a generator: what lives after the first chunks is all that ever lives."""
    learner = rtrl.Learner(lambda p, y: (p[0] - y) ** 2, rtrl.RTRL(block_size=8), optax.sgd(1e-3))
    state = learner.init(rtrl.Model(rtrl.ElmanCell(1, 4, key=jax.random.key(0)), lambda h: h))
    living, resident = [], []
    for chunk in range(20):
        xs = jnp.sin(0.1 * jnp.arange(50_000.0)[:, None] + chunk)
        state, outputs = learner.run(state, xs, xs[:, 0])
        del xs
        assert outputs.finite.all()
        living.append(sum(array.nbytes for array in jax.live_arrays()))
        resident.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    assert len(set(living[1:])) == 1
    assert resident[-1] - resident[3] < 50_000  # kilobytes


def test_the_working_memory_of_a_compiled_run_does_not_grow_with_the_stream():
    """XLA's own account of its temporary buffers; a whole sequence's may keep its losses, 8 bytes a step."""
    model, loss = make_model("gru"), weighted_loss
    learner = rtrl.Learner(loss, rtrl.RTRL(), optax.sgd(0.1))
    state = learner.init(model)
    programs = {
        0: lambda xs, ys: learner.run(state, xs, ys)[0].stream.memory,
        8: lambda xs, ys: rtrl.sequence_gradient(rtrl.RTRL(), model, loss, xs, ys),
    }
    for per_step, program in programs.items():
        short, long = (
            jax.jit(program).lower(*make_stream(steps)).compile().memory_analysis().temp_size_in_bytes
            for steps in (1_000, 10_000)
        )
        assert long <= short + 9_000 * per_step


class Nameless(rtrl.AbstractCell):
    def __call__(self, state, x):
        return state + x

    def initial_state(self):
        return jnp.zeros(2)


class Counting(Nameless):
    def initial_state(self):
        return {"steps": jnp.zeros((), int), "h": jnp.zeros(2)}


class Growing(Nameless):
    def __call__(self, state, x):
        return jnp.concatenate([state, x])


class Doubled(rtrl.Model):
    """A model with a way of its own to the prediction."""

    def predict(self, state, x, *, key=None):
        return 2 * super().predict(state, x, key=key)


class Table(Nameless):
    table: jax.Array


@functools.cache
def bad_calls():
    model, (xs, ys) = make_model("gru"), make_stream(6)
    learner = rtrl.Learner(weighted_loss, rtrl.RTRL(), optax.sgd(0.1))
    key = jax.random.key(0)
    return {
        "horizon: expected an integer of at least 1, got 0": lambda: rtrl.TBPTT(0),
        "batch_size: expected an integer of at least 1, got 0": lambda: learner.init(model, batch_size=0),
        "estimator: expected one with an online step, got BPTT()": lambda: rtrl.Learner(
            weighted_loss, rtrl.BPTT(), optax.sgd(0.1)
        ).init(model),
        r"x: expected shape (3,) for GRUCell, got (4,)": lambda: learner.step(
            learner.init(model), jnp.zeros(4), (ys[0][0], ys[1][0])
        ),
        "xs, ys: expected the same number of steps in every array, got [5, 6]": lambda: learner.run(
            learner.init(model), xs[:5], ys
        ),
        "hidden_size: expected an integer of at least 1, got 0": lambda: rtrl.GRUCell(1, 0, key=key),
        "x: expected dtype float64 for GRUCell, got int64": lambda: learner.run(
            learner.init(model), jnp.ones((6, 3), int), ys
        ),
        "xs, ys: expected at least one step, got an empty stream": lambda: learner.run(
            learner.init(model), xs[:0], jax.tree.map(lambda a: a[:0], ys)
        ),
        "at .cell.table; wrap what is not trained in rtrl.Frozen": lambda: learner.init(
            rtrl.Model(Table(jnp.arange(3)), eqx.nn.Identity())
        ),
        "cell: expected Growing to keep the state's structure, shapes and dtypes, float64[2]; a step gave float64[4]": (
            lambda: rtrl.sequence_gradient(
                rtrl.RTRL(), rtrl.Model(Growing(), eqx.nn.Identity()), weighted_loss, xs[:, :2], ys
            )
        ),
        "loss: expected one real JAX number for each step, got float64[2]; take a sum or a mean": lambda: rtrl.Learner(
            lambda p, y: (p - y[0]) ** 2, rtrl.RTRL(), optax.sgd(0.1)
        ).step(learner.init(model), xs[0], (ys[0][0], ys[1][0])),
        "block_size: expected 'auto', None or an integer of at least 1, got 0": lambda: rtrl.RTRL(block_size=0),
        "block_size: expected 'auto' or None for LRUCell, which is not a dense cell": lambda: rtrl.RTRL(
            block_size=4
        ).init(make_model("lru").cell, None),
        "update_every: expected an integer of at least 1, got 0": lambda: rtrl.Learner(
            weighted_loss, rtrl.RTRL(), optax.sgd(0.1), update_every=0
        ),
        "cell: expected a StackedCell for LayerLocalRTRL, got GRUCell; use RTRL()": lambda: rtrl.LayerLocalRTRL().init(
            model.cell, None
        ),
        "layers: expected at least one cell, got none": lambda: rtrl.StackedCell([]),
        "layers: expected layer 1 to take the 4 entries that layer 0 gives, got an input size of 3": lambda: (
            rtrl.StackedCell([rtrl.GRUCell(2, 4, key=key), rtrl.GRUCell(3, 4, key=key)])
        ),
        "residual: expected the output of layer 0 to have its input's 2 entries, got 4": lambda: rtrl.StackedCell(
            [rtrl.GRUCell(2, 4, key=key)], residual=True
        ),
        "key: expected a key with mlp_width": lambda: rtrl.StackedCell([rtrl.GRUCell(2, 4, key=key)], mlp_width=3),
        "r_min, r_max: expected 0 <= r_min < r_max <= 1, got 0.9 and 0.1": lambda: rtrl.LRUCell(
            2, 3, key=key, r_min=0.9, r_max=0.1
        ),
        "time_step: expected a positive number, got 0.0": lambda: rtrl.CTRNNCell(2, 3, key=key, time_step=0.0),
        "cell: expected a state of floating-point or complex arrays, got one of dtype int": lambda: learner.init(
            rtrl.Model(Counting(), eqx.nn.Identity())
        ),
        "model: expected rtrl.Model itself, got its subclass Doubled; what is": lambda: learner.init(
            Doubled(model.cell, model.readout)
        ),
        "model: expected rtrl.Model itself, got its subclass Doubled": lambda: rtrl.start(
            rtrl.RTRL(), Doubled(model.cell, model.readout)
        ),
        "cell: expected Nameless to define example_input()": lambda: rtrl.TBPTT(2).init(Nameless(), jnp.zeros(2)),
    }


@pytest.mark.parametrize("message", bad_calls())
def test_bad_input_gets_one_clear_line(message, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as users run it: without run-time type checks
    with pytest.raises((ValueError, TypeError)) as caught:
        bad_calls()[message]()
    assert message in str(caught.value)


def test_a_model_without_a_cell_is_refused(monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as users run it: without run-time type checks
    with pytest.raises(TypeError, match=r"cell: expected a subclass of rtrl.AbstractCell, got Identity"):
        rtrl.Model(eqx.nn.Identity(), eqx.nn.Identity())  # pyright: ignore[reportArgumentType]
