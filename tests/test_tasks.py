"""Streams with known answers give those answers."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from cells import INPUTS, make_model, make_stream, one_step
from scipy.integrate import solve_ivp

import rtrl
from rtrl.tasks import (
    DoubleWell,
    FitzHughNagumo,
    InfluenceBalancingCell,
    InLogs,
    Lorenz,
    LotkaVolterra,
    OrderBook,
    Pendulum,
    copy_stream,
    delayed_sum,
    delayed_sum_floor,
    drifting_mimic,
    mimic,
    one_step_ahead,
    pushed_pendulum,
    truncated_derivative,
)


def test_stationary_state_is_a_fixed_point_with_first_entry_minus_six_theta():
    cell = InfluenceBalancingCell(0.25)
    stationary = cell.stationary_state()
    np.testing.assert_allclose(cell(stationary, jnp.zeros(())), stationary, rtol=1e-12)
    np.testing.assert_allclose(stationary[0], -6 * 0.25, rtol=1e-12)


@pytest.mark.parametrize(("horizon", "published"), [(40, 0.57), (41, -0.22), (45, -2.81), (60, -5.90)])
def test_truncated_derivative_changes_sign_after_horizon_40(horizon, published):
    assert round(truncated_derivative(horizon), 2) == published


@pytest.mark.parametrize("horizon", [1, 5, 40, 41, 60])
def test_tbptt_measures_the_truncated_derivative(horizon):
    powers = [np.linalg.matrix_power(0.5 * np.eye(23) + 0.5 * np.eye(23, k=1), k)[0] for k in range(horizon)]
    by_matrices = sum(powers) @ np.repeat([1.0, -1.0], [10, 13])
    cell, estimator = InfluenceBalancingCell(0.1), rtrl.TBPTT(horizon)
    state = cell.stationary_state()
    memory = estimator.init(cell, state)
    for _ in range(horizon + 3):
        state, gradient, memory = one_step(estimator, cell, state, jnp.zeros(()), memory, jnp.eye(23)[0])
    np.testing.assert_allclose(gradient.theta, by_matrices, rtol=1e-11)
    np.testing.assert_allclose(truncated_derivative(horizon), by_matrices, rtol=1e-11)


@pytest.mark.parametrize(("estimator", "converges"), [(rtrl.RTRL(), True), (rtrl.TBPTT(10), False)], ids=str)
def test_only_the_exact_gradient_finds_the_optimum(estimator, converges):
    learner = rtrl.Learner(lambda s, y: 0.5 * (s - y) ** 2, estimator, optax.sgd(1e-4))
    state = learner.init(rtrl.Model(InfluenceBalancingCell(0.0), eqx.nn.Identity()))
    state, _ = learner.run(state, jnp.zeros(5000), jnp.ones(5000))
    assert (abs(state.model.cell.theta + 1 / 6) < 1e-6) == converges
    assert len(jax.tree.leaves(state.model)) == 1  # nothing but theta is trained


@pytest.mark.parametrize(("known", "published"), [(0, 0.6616), (1, 0.5192), (2, 0.4545)])
def test_the_delayed_sum_has_its_published_floors(known, published):
    assert delayed_sum_floor(known) == pytest.approx(published, abs=5e-5)


@pytest.mark.parametrize("delays", [(2, 5), (5, 2), (1, 1)])
def test_the_delayed_sum_depends_on_two_earlier_flips(delays):
    xs, ys = delayed_sum(jax.random.key(0), 200, delays)
    flips = [0.0] * max(delays) + xs[:, 0].tolist()
    for t, (p, complement) in enumerate(ys.tolist()):
        now = t + max(delays)
        assert p == 0.5 + 0.5 * flips[now - delays[0]] - 0.25 * flips[now - delays[1]] == 1 - complement
    assert set(xs.sum(axis=1).tolist()) == {1.0}
    assert 60 < xs[:, 0].sum() < 140


def test_who_knows_both_flips_reaches_the_lowest_floor():
    _, ys = delayed_sum(jax.random.key(1), 100_000, (3, 7))
    entropy = -jax.scipy.special.xlogy(ys, ys).sum(axis=1)
    assert entropy.mean() == pytest.approx(delayed_sum_floor(2), abs=0.005)


def test_the_delayed_sum_refuses_a_delay_of_zero():
    with pytest.raises(ValueError, match=r"delays: expected two integers of at least 1, got \(0, 2\)"):
        delayed_sum(jax.random.key(0), 5, (0, 2))


@pytest.mark.parametrize("length", [1, 2, 5])
def test_copy_wants_each_word_after_its_end(length):
    xs, ys = (np.array(a) for a in copy_stream(jax.random.key(0), 60, length))
    for word in range(60 // (2 * length)):
        shown, wanted = (slice((2 * word + half) * length, (2 * word + half + 1) * length) for half in (0, 1))
        np.testing.assert_array_equal(xs[shown, :2], ys[wanted])
        assert set(xs[shown, 0]) <= {0.0, 1.0}
        assert (xs[shown].sum(axis=1) == 1).all()
        np.testing.assert_array_equal(xs[wanted], np.tile([0.0, 0.0, 1.0], (length, 1)))
        assert not ys[shown].any()
    bits = copy_stream(jax.random.key(1), 4000, length)[1][:, 0].sum()
    assert 900 < bits < 1100


def test_copy_gives_mapped_networks_words_of_their_own_length():
    keys = jax.random.split(jax.random.key(0), 3)
    together = jax.vmap(lambda key, length: copy_stream(key, 40, length))(keys, jnp.array([1, 4, 7]))
    for i, length in enumerate((1, 4, 7)):
        for one, all_ in zip(copy_stream(keys[i], 40, length), together, strict=True):
            np.testing.assert_array_equal(one, all_[i])
    with pytest.raises(ValueError, match="length: expected an integer of at least 1, got 0"):
        copy_stream(keys[0], 40, 0)


def test_a_teacher_mimics_itself():
    teacher = make_model("gru")
    xs, ys = mimic(jax.random.key(0), 50, teacher)
    state = teacher.cell.initial_state()
    for x, y in zip(xs, ys, strict=True):
        state = teacher.cell(state, x)
        np.testing.assert_allclose(teacher.readout(state), y, rtol=1e-12)
    assert xs.shape == (50, INPUTS)
    assert 0.8 < float(xs.std()) < 1.2


def test_predictions_go_on_from_a_given_state():
    model, (xs, _) = make_model("lstm"), make_stream(20)
    whole = model.predictions(xs)
    state = model.cell.initial_state()
    for x in xs[:12]:
        state = model.cell(state, x)
    np.testing.assert_allclose(model.predictions(xs[12:], state), whole[12:], rtol=1e-12)


def test_the_pendulum_obeys_its_equation():
    pushes, angles = (np.array(a)[:, 0] for a in pushed_pendulum(jax.random.key(0), 30, interval=0.7))
    state = np.zeros(2)
    for push, angle in zip(pushes, angles, strict=True):
        right = lambda t, s, push=push: (s[1], -np.sin(s[0]) - 0.2 * s[1] + push)  # noqa: E731
        state = solve_ivp(right, (0, 0.7), state, rtol=1e-10, atol=1e-12).y[:, -1]
        assert angle == pytest.approx(np.sin(state[0]), abs=1e-7)
    assert 0.3 < pushes.std() < 0.7
    with pytest.raises(ValueError, match="interval: expected a positive number, got 0"):
        pushed_pendulum(jax.random.key(0), 3, interval=0.0)


def test_a_forecast_uses_nothing_of_what_is_held_out():
    series = np.array([1.0, 4.0, 2.0, 3.0, 100.0, -50.0, 7.0])
    (xs, ys), (later_xs, later_ys) = one_step_ahead(series, 4)
    scaled = (series - 2.5) / np.std([1, 4, 2, 3])
    np.testing.assert_allclose(np.concatenate([xs, later_xs])[:, 0], scaled[:-1])
    np.testing.assert_allclose(np.concatenate([ys, later_ys])[:, 0], scaled[1:])
    assert [len(part) for part in (xs, ys, later_xs, later_ys)] == [3, 3, 3, 3]


@pytest.mark.parametrize(
    ("series", "training", "message"),
    [
        (np.arange(5.0), 1, "training: expected from 2 to 3 of the 5 points, got 1"),
        (np.arange(5.0), 4, "training: expected from 2 to 3 of the 5 points, got 4"),
        (np.ones(5), 3, "series: expected finite points that vary, got a standard deviation of 0.0"),
        (np.array([1.0, np.nan, 2, 3, 4]), 3, "series: expected finite points that vary, got a standard .* nan"),
    ],
)
def test_a_forecast_of_nothing_is_refused(series, training, message):
    with pytest.raises(ValueError, match=message):
        one_step_ahead(series, training)


def test_parameters_in_logarithms_are_scattered_and_measured_there():
    truth = InLogs(FitzHughNagumo())
    wrong = [truth.scattered(key, 0.4) for key in jax.random.split(jax.random.key(0), 200)]
    errors = np.array([field.relative_error(truth) for field in wrong])
    assert 0.35 < errors.max() <= 0.4
    np.testing.assert_allclose(errors.mean(), 0.2, atol=0.02)
    y, current = jnp.array([0.3, -0.2]), jnp.array(0.5)
    np.testing.assert_allclose(truth(0.0, y, current), FitzHughNagumo()(0.0, y, current), rtol=1e-12)
    np.testing.assert_allclose(FitzHughNagumo()(0.0, y, current), [0.3 - 0.009 + 0.2 + 0.5, 0.08 * (0.3 + 0.7 + 0.16)])


def test_vector_fields_vanish_where_they_should():
    lorenz = Lorenz()
    root = jnp.sqrt(lorenz.beta * (lorenz.rho - 1))
    np.testing.assert_allclose(lorenz(0.0, jnp.array([root, root, lorenz.rho - 1]), None), 0, atol=1e-12)
    prey = LotkaVolterra()
    rest = jnp.log(jnp.array([prey.gamma / prey.delta, prey.alpha]))
    np.testing.assert_allclose(prey(0.0, rest, None), 0, atol=1e-12)
    np.testing.assert_allclose(DoubleWell()(0.0, jnp.array([-1.0, 0.0, 1.0, 2.0]), None), [0, 0, 0, -6])
    np.testing.assert_allclose(Pendulum()(0.0, jnp.array([np.pi / 2, 1.0]), jnp.array(1.2)), [1, 0], atol=1e-12)


def test_a_drifting_teacher_answers_as_whom_it_is_then_and_its_noise_is_the_floor():
    teachers, noise = (make_model("gru", 1), make_model("gru", 2)), 0.3
    steps = 4000
    ramp = np.clip((np.arange(steps) - 1000) / 2000, 0, 1)
    xs, ys = drifting_mimic(jax.random.key(0), teachers, ramp, noise)
    state, errors = teachers[0].cell.initial_state(), []
    parameters = [jax.tree.leaves(eqx.filter(t, eqx.is_array)) for t in teachers]
    structure = jax.tree.structure(eqx.filter(teachers[0], eqx.is_array))

    @jax.jit
    def follow(leaves, h, x):
        model = eqx.combine(jax.tree.unflatten(structure, leaves), teachers[0])
        h = model.cell(h, x)
        return h, model.predict(h, x)

    for t in range(steps):
        leaves = [a + float(ramp[t]) * (b - a) for a, b in zip(*parameters, strict=True)]
        state, answer = follow(leaves, state, xs[t])
        errors.append(np.asarray(ys[t] - answer))
    spread = np.concatenate(errors).std()
    np.testing.assert_allclose(spread, noise, rtol=5 / np.sqrt(2 * 2 * steps))
    np.testing.assert_allclose(ys[:900] - mimic_of(teachers[0], xs[:900]), errors[:900], atol=1e-12)
    with pytest.raises(ValueError, match=r"^mixture: expected weights from 0 to 1, got from 0\.0 to 2\.0$"):
        drifting_mimic(jax.random.key(0), teachers, 2 * ramp, noise)
    with pytest.raises(ValueError, match=r"^teachers: expected two models with parameters of the same shapes"):
        drifting_mimic(jax.random.key(0), (teachers[0], make_model("elman")), ramp, noise)


def mimic_of(teacher, xs):
    state, answers = teacher.cell.initial_state(), []
    for x in xs:
        state = teacher.cell(state, x)
        answers.append(teacher.readout(state))
    return jnp.stack(answers)


@pytest.fixture(scope="module")
def market():
    book = OrderBook()
    queues, kinds, moves = map(np.asarray, jax.jit(lambda key: book.events(key, 100_000))(jax.random.key(0)))
    at = np.flatnonzero(moves)
    following = np.searchsorted(at, np.arange(len(moves)), side="right")
    known = following < len(at)
    return book, queues, kinds, moves, known, moves[at[following[known]]] > 0


def test_an_order_book_keeps_its_books(market):
    book, queues, kinds, moves, *_ = market
    assert queues.min() == 1
    assert queues.max() == book.deepest
    changes = np.array([[1, 0], [0, 1], [-1, 0], [0, -1]])[kinds[1:]]
    expected = np.minimum(queues[:-1] + changes, book.deepest)
    still = moves[1:] == 0
    np.testing.assert_array_equal(queues[1:][still], expected[still])
    np.testing.assert_array_equal(expected[~still].min(axis=1), 0)
    np.testing.assert_array_equal(moves[1:][~still], np.where(expected[~still][:, 1] == 0, 1, -1))
    assert abs(moves.mean()) < 0.01  # no drift of the price


def test_the_best_guess_is_calibrated_and_better_than_the_queues_alone(market):
    book, queues, kinds, _, known, up = market
    best = book.best_guess(queues, kinds)[known]
    chance = book.next_move_up()
    np.testing.assert_allclose(chance[0], 1 - chance[1].T, atol=1e-12)  # buyers and sellers may be exchanged
    bid, ask = queues[known].T - 1
    alone = chance.mean(axis=0)[bid, ask]
    entropy = lambda p: -np.log(np.where(up, p, 1 - p)).mean()  # noqa: E731
    assert entropy(best) < entropy(alone) - 0.1 < np.log(2) - 0.1
    for low in np.arange(0, 1, 0.1):
        among = (best >= low) & (best < low + 0.1)
        blocks = max(1, among.sum() // 30)  # neighbours share the next move
        assert abs(best[among].mean() - up[among].mean()) < 4 * 0.5 / np.sqrt(blocks)
