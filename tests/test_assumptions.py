"""What the package takes for granted of cells, streams, states and settings is checked, and refused in one line."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import optax
import pandas
import pytest

import rtrl

pytestmark = pytest.mark.usefixtures("as_users_run_it")


@pytest.fixture
def as_users_run_it(monkeypatch):
    """Without run-time type checks."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


KEY = jax.random.key(0)
M, N, STEPS = 2, 4, 8


def squared(prediction, target):
    return jnp.sum((prediction - target) ** 2)


def with_readout(cell, outputs=2):
    width = jax.eval_shape(lambda: cell.output(cell.initial_state(), jnp.zeros(M))).size
    return rtrl.Model(cell, eqx.nn.Linear(width, outputs, key=jax.random.key(3)))


def stream(batch=(), steps=STEPS):
    x_key, y_key = jax.random.split(jax.random.key(7))
    return jax.random.normal(x_key, (steps, *batch, M)), jax.random.normal(y_key, (steps, *batch, 2))


def refused(kind, call, *words):
    """One line that has these words."""
    with pytest.raises(kind) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 400
    for word in words:
        assert word in message


def gradient_of(estimator, model, **options):
    return rtrl.sequence_gradient(estimator, model, squared, *stream(), **options)


class Given(rtrl.ElmanCell):
    """An activation that is neither an array nor static."""

    activation: object = None

    def gate(self, state, recurrent, inputs):
        return self.activation(recurrent[0] + inputs[0] + self.bias)


def test_a_gate_is_looked_at_again_if_it_was_given_another_function():
    make = functools.partial(Given, M, N, key=KEY)
    learner = rtrl.Learner(squared, rtrl.RTRL(), optax.sgd(0.1))
    fine = eqx.tree_at(lambda c: c.activation, make(), jnp.tanh, is_leaf=lambda leaf: leaf is None)
    learner.init(with_readout(fine))
    for mixing in (lambda a: jnp.tanh(a - a.mean()), jax.nn.softmax):
        cell = eqx.tree_at(lambda c: c.activation, fine, mixing)
        refused(TypeError, lambda cell=cell: learner.init(with_readout(cell)), "cell", "elementwise")


class OfPositive(rtrl.ELSTMCell):
    """A gate that mixes its units, and has no number for states below zero."""

    def gate(self, state, inputs):
        return jax.nn.sigmoid(inputs[0] + self.bias[0]) * state / jnp.exp(jnp.log(state).mean()) + 0.1

    def initial_state(self):
        return jnp.full(self.hidden_size, 0.5)


class Nowhere(OfPositive):
    def gate(self, state, inputs):
        return jnp.log(-jnp.ones_like(state)) * state * inputs[0]


@pytest.mark.parametrize(("kind", "word"), [(OfPositive, "elementwise"), (Nowhere, "finite derivatives")])
def test_a_gate_that_is_defined_in_places_is_looked_at_there(kind, word):
    model = with_readout(kind(M, N, key=KEY))
    refused(TypeError, lambda: gradient_of(rtrl.RTRL(), model), "cell", word)


class Doubling(rtrl.StackedCell):
    def __call__(self, state, x):
        return super().__call__(state, 2 * x)


class Summing(rtrl.StackedCell):
    def output(self, state, x):
        return super().output(state, x) + state[0].sum()


class Faster(rtrl.GRUCell):
    def trajectory(self, state, xs, reset=None):
        return super().trajectory(state, 2 * xs, reset)


def test_methods_from_which_derivatives_are_made_cannot_be_replaced():
    for kind, method in ((Doubling, "__call__"), (Summing, "output")):
        refused(TypeError, lambda kind=kind: kind([rtrl.GRUCell(M, N, key=KEY)]), "cell", method)
    refused(TypeError, lambda: gradient_of(rtrl.RTRL(), with_readout(Faster(M, N, key=KEY))), "trajectory")


class Used(rtrl.AbstractCell):
    """A step that uses what only its output is said to use."""

    weights: jax.Array
    scale: jax.Array
    output_fields = ("scale",)

    def __call__(self, state, x):
        return jnp.tanh(self.weights @ state + self.scale * x.sum())

    def initial_state(self):
        return jnp.zeros(N)

    def example_input(self):
        return jnp.zeros(M)


@pytest.mark.parametrize("stacked", [False, True])
def test_fields_said_to_be_of_the_output_alone_are_not_used_by_a_step(stacked):
    cell = Used(jnp.eye(N), jnp.ones(N))
    cell = rtrl.StackedCell([rtrl.GRUCell(M, M, key=KEY), cell]) if stacked else cell
    refused(TypeError, lambda: gradient_of(rtrl.RTRL(), with_readout(cell)), "output_fields", "scale")


def test_a_window_of_inputs_holds_what_comes_in():
    whole = rtrl.ODECell(
        lambda t, y, args: -y + args.sum(), jnp.zeros(2), time_step=0.1, example_args=jnp.array([0, 0])
    )
    model, (xs, ys) = rtrl.Model(whole, lambda h: h), stream()
    refused(ValueError, lambda: rtrl.sequence_gradient(rtrl.TBPTT(8), model, squared, xs, ys), "x", "int", "float")
    learner = rtrl.Learner(squared, rtrl.RTRL(), optax.sgd(0.1), update_every=4)
    refused(ValueError, lambda: learner.step(learner.init(model), xs[0], ys[0]), "x", "int", "float")


def test_a_step_gradient_is_of_an_online_estimator_a_scalar_and_its_own_stream():
    model, (xs, ys) = with_readout(rtrl.GRUCell(M, N, key=KEY)), stream()

    def call(estimator, loss=squared, begun=None):
        begun = rtrl.start(begun or estimator, model)
        return rtrl.step_gradient(estimator, model, loss, begun, xs[0], ys[0])

    refused(ValueError, lambda: call(rtrl.BPTT()), "estimator", "BPTT")
    refused(TypeError, lambda: call(rtrl.RTRL(), lambda p, y: p - y), "loss", "one real")
    refused(ValueError, lambda: call(rtrl.TBPTT(5), begun=rtrl.TBPTT(3)), "stream", "TBPTT(horizon=5)")
    refused(ValueError, lambda: call(rtrl.TBPTT(5), begun=rtrl.RTRL()), "stream")


def test_targets_and_weights_of_sequences_are_told_apart():
    xs, labels = np.zeros((5, 5, M)), np.arange(25.0).reshape(5, 5)
    refused(ValueError, lambda: rtrl.from_sequences(xs, labels, weight=np.ones(5)), "weight", "5 sequences")
    refused(ValueError, lambda: rtrl.from_sequences(xs, labels[0], one_target=False), "ys")
    assert rtrl.from_sequences(xs, labels).ys.shape == (25,)
    once = rtrl.from_sequences(xs, labels, one_target=True)
    assert once.ys.shape == (25, 5)
    np.testing.assert_array_equal(once.weight.reshape(5, 5), np.eye(5)[[4] * 5])


def test_only_hyper_parameters_that_are_numbers_can_be_set():
    model = with_readout(rtrl.GRUCell(M, N, key=KEY))

    def state(optimizer):
        return rtrl.Learner(squared, rtrl.RTRL(), optimizer).init(model)

    for name, value in (("count", 7), ("mu", 0.1)):
        refused(ValueError, lambda n=name, v=value: rtrl.set_hyperparameters(state(optax.adam(0.1)), **{n: v}), name)
    falling = optax.inject_hyperparams(optax.adam)(learning_rate=optax.cosine_decay_schedule(0.1, 10))
    refused(ValueError, lambda: rtrl.set_hyperparameters(state(falling), learning_rate=0.1), "schedule")
    settable = optax.chain(optax.clip(1.0), optax.inject_hyperparams(optax.adam)(learning_rate=0.1))
    changed = rtrl.set_hyperparameters(state(settable), learning_rate=0.5)
    assert optax.tree_utils.tree_get(changed.optimizer, "learning_rate") == 0.5


@pytest.mark.parametrize("timescales", [100, (5,), (1, 2, 3), "ab", (1, np.inf), (3, 2), (0, 1)])
def test_timescales_are_a_finite_rising_pair(timescales):
    refused(ValueError, lambda: rtrl.ELSTMCell(M, N, key=KEY, timescales=timescales), "timescales")


@pytest.mark.parametrize("kind", [rtrl.ElmanCell, rtrl.CTRNNCell, rtrl.GRUCell, rtrl.LSTMCell])
def test_a_mask_does_not_change_the_dtype(kind):
    cell = kind(M, N, key=KEY, mask=np.eye(N, dtype=bool), dtype=jnp.float32)
    assert {leaf.dtype for leaf in jax.tree.leaves(cell) if eqx.is_inexact_array(leaf)} == {jnp.dtype(jnp.float32)}


def test_layers_of_a_stack_take_what_arrives():
    lower = rtrl.GRUCell(M, N, key=KEY)
    for layer, word in ((eqx.nn.Dropout(0.5), "readout"), (eqx.nn.MLP(N + 1, 2, 3, 1, key=KEY), "layer 1")):
        refused(ValueError, lambda layer=layer: rtrl.StackedCell([lower, layer]), "layers", word)
    refused(TypeError, lambda: rtrl.StackedCell([rtrl.Frozen(lower)]), "layers", "Frozen")


class Clock(rtrl.AbstractCell):
    """A cell without inputs."""

    rate: jax.Array

    def __call__(self, state, x):
        return jnp.tanh(self.rate * state + 1)

    def initial_state(self):
        return jnp.zeros(M)

    def example_input(self):
        return None


def test_a_stack_over_a_cell_without_inputs_learns_as_one_run():
    model = with_readout(rtrl.StackedCell([Clock(jnp.array([0.5, 0.9])), rtrl.GRUCell(M, N, key=KEY)]))
    ys, losses = stream()[1], []
    learner = rtrl.Learner(squared, rtrl.RTRL(), optax.sgd(0.1), update_every=4)
    one = learner.run(learner.init(model), None, ys)
    state = learner.init(model)
    for y in ys:
        state, output = learner.step(state, None, y)
        losses.append(output.loss)
    np.testing.assert_allclose(one[1].loss, losses, rtol=1e-9)
    refused(ValueError, lambda: model.predictions(None), "xs")
    assert model.predictions(None, reset=jnp.zeros(3, bool)).shape == (3, 2)


@pytest.mark.parametrize(
    ("kind", "block", "every"),
    [(rtrl.ElmanCell, 2, 1), (rtrl.ElmanCell, None, 3), (rtrl.GRUCell, 2, 3), (rtrl.GRUCell, None, 1)],
)
def test_learning_of_a_batch_can_be_differentiated_by_its_rate(kind, block, every):
    model, (xs, ys) = with_readout(kind(M, N, key=KEY)), stream(batch=(2,))
    optimizer = optax.inject_hyperparams(optax.sgd)(learning_rate=0.1)
    learner = rtrl.Learner(squared, rtrl.RTRL(block_size=block), optimizer, update_every=every)

    def total(rate):
        state = rtrl.set_hyperparameters(learner.init(model, batch_size=2), learning_rate=rate)
        return learner.run(state, xs, ys)[1].loss.sum()

    below, above = jax.jit(jax.vmap(total))(jnp.array([0.1 - 1e-5, 0.1 + 1e-5]))
    np.testing.assert_allclose(jax.jit(jax.grad(total))(0.1), (above - below) / 2e-5, rtol=1e-6)


def test_what_is_not_finite_is_reported_at_the_same_step_however_the_stream_is_cut():
    model, (xs, ys) = with_readout(rtrl.GRUCell(M, N, key=KEY)), stream()
    learner = rtrl.Learner(squared, rtrl.RTRL(), optax.sgd(0.1), update_every=3)
    xs, found = xs.at[4].set(jnp.nan), []
    run = learner.run(learner.init(model), xs, ys)[1].finite
    state = learner.init(model)
    for x, y in zip(xs, ys, strict=True):
        state, output = learner.step(state, x, y)
        found.append(bool(output.finite))
    assert run.tolist() == found == [True] * 4 + [False] * 4


def test_optimizers_with_arguments_of_their_own_serve():
    sam = optax.contrib.sam(optax.sgd(0.01), optax.chain(optax.contrib.normalize(), optax.sgd(0.01)), sync_period=2)
    model, (xs, ys) = with_readout(rtrl.GRUCell(M, N, key=KEY)), stream()
    learner = rtrl.Learner(squared, rtrl.RTRL(), sam)
    state, _ = learner.run(learner.init(model), xs, ys)
    assert not jnp.allclose(state.model.readout.weight, model.readout.weight)


def test_an_influence_is_asked_for_once_a_stream_and_before_it_is_made(monkeypatch):
    model = with_readout(rtrl.GRUCell(M, 32, key=KEY))
    one = rtrl.influence_bytes(rtrl.RTRL(), model)
    shared = sum(a.size * a.dtype.itemsize for a in jax.tree.leaves(rtrl.start(rtrl.RTRL(), model).memory.weight_hh))
    monkeypatch.setattr("rtrl.memory._device_bytes", lambda: 2 * (4 * one - 3 * shared))
    learner = rtrl.Learner(squared, rtrl.RTRL(), optax.sgd(0.1))
    learner.init(model, batch_size=4)
    refused(MemoryError, lambda: learner.init(model, batch_size=5), "half of the memory")
    monkeypatch.setattr("rtrl.memory._device_bytes", lambda: one)
    refused(MemoryError, lambda: rtrl.start(rtrl.RTRL(), model), "estimator", "TBPTT(horizon=10)")
    refused(MemoryError, lambda: gradient_of(rtrl.RTRL(), model), "estimator")
    rtrl.Learner(squared, rtrl.RTRL(), optax.sgd(0.1), donate=True).init(model)


def bad_streams():
    xs, ys = stream()
    frame = pandas.DataFrame(np.asarray(xs))
    yield "frame", frame, ys
    for kind in (object, "U5", np.longdouble):
        yield str(kind), np.asarray(xs).astype(kind), ys
    yield "dates", np.zeros((STEPS, M), "datetime64[s]"), ys
    yield "many leaves", {f"leaf {i}": xs[: 1 + i % STEPS] for i in range(200)}, ys


@pytest.mark.parametrize(("xs", "ys"), [bad[1:] for bad in bad_streams()], ids=[bad[0] for bad in bad_streams()])
def test_streams_that_are_none_are_refused_in_one_line(xs, ys):
    model = with_readout(rtrl.GRUCell(M, N, key=KEY))
    learner = rtrl.Learner(squared, rtrl.RTRL(), optax.sgd(0.1))
    for call in (
        lambda: rtrl.sequence_gradient(rtrl.RTRL(), model, squared, xs, ys),
        lambda: learner.run(learner.init(model), xs, ys),
    ):
        refused((TypeError, ValueError), call, "xs")


def test_arguments_in_another_order_are_refused_in_one_line():
    model, (xs, ys) = with_readout(rtrl.GRUCell(M, N, key=KEY)), stream()
    learner = rtrl.Learner(squared, rtrl.RTRL(), optax.sgd(0.1))
    refused(TypeError, lambda: rtrl.Learner(squared, rtrl.RTRL(), model), "optimizer", "Model")
    refused(TypeError, lambda: rtrl.Learner(squared, model, optax.sgd(0.1)), "estimator", "Model")
    refused(TypeError, lambda: learner.run(model, xs, ys), "state", "Model")


def test_a_state_that_was_given_away_is_said_to_be():
    model, (xs, ys) = with_readout(rtrl.GRUCell(M, N, key=KEY)), stream()
    learner = rtrl.Learner(squared, rtrl.RTRL(), optax.sgd(0.1), donate=True)
    state = learner.init(model)
    learner.run(state, xs, ys)
    refused(ValueError, lambda: learner.run(state, xs, ys), "state", "donate")
