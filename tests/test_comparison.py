"""Networks that train side by side do what each would do alone."""

import equinox as eqx
import jax
import numpy as np
import optax
import pytest

import rtrl
from artifact.comparison import (
    STAGE,
    begin,
    best,
    in_whole_windows,
    stage,
    train,
    tunable,
    tune,
    tune_and_train,
)

RATES = np.array([1e-3, 1e-2])
LEARNER = rtrl.Learner(lambda p, y: ((p - y) ** 2).sum(), rtrl.RTRL(), tunable(optax.adam))


def model_of(key):
    cell_key, readout_key = jax.random.split(key)
    return rtrl.Model(rtrl.ElmanCell(1, 3, key=cell_key), eqx.nn.Linear(3, 1, key=readout_key))


def stream(networks, steps):
    xs = np.random.default_rng(0).normal(size=(networks, steps, 1))
    return xs, np.cos(xs)


def alone(key, xs, ys, rates, rest_at=()):
    """One network by the learner's own steps, with a schedule in place of a rate set from outside."""
    schedule = lambda count: jax.numpy.asarray(rates)[count]  # noqa: E731
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule))
    learner = rtrl.Learner(LEARNER.loss, rtrl.RTRL(), optimizer)
    state, losses = learner.init(model_of(jax.random.split(key)[0])), []
    for first, last in zip((0, *rest_at), (*rest_at, len(xs)), strict=True):
        state = eqx.tree_at(lambda s: s.stream, state, learner.init(state.model).stream)
        state, out = learner.run(state, xs[first:last], ys[first:last])
        losses.append(out.loss)
    return np.concatenate(losses)


def test_each_network_trains_as_if_alone_with_a_falling_rate():
    keys, (xs, ys) = jax.random.split(jax.random.key(0), 2), stream(2, 3 * STAGE)
    _, losses = train(LEARNER, model_of, keys, RATES, (xs, ys), 3 * STAGE)
    fall = np.repeat(0.5 + 0.5 * np.cos(np.pi * np.arange(3) / 3), STAGE)
    for i, rate in enumerate(RATES):
        np.testing.assert_allclose(losses[i], alone(keys[i], xs[i], ys[i], rate * fall), rtol=1e-7)
    assert losses[:, -STAGE:].mean() < losses[:, :STAGE].mean()


def test_a_short_stream_starts_again_from_rest_in_the_middle_of_a_stage_and_the_last_stage_is_cut():
    steps, points = STAGE + 70, 150
    keys, (xs, ys) = jax.random.split(jax.random.key(0), 2), stream(2, points)
    _, losses = train(LEARNER, model_of, keys, RATES, (xs, ys), steps)
    assert losses.shape == (2, steps)
    fall = np.repeat([1.0, 0.5 + 0.5 * np.cos(np.pi * STAGE / steps)], (STAGE, 70))
    again = np.tile(xs, (1, 4, 1))[:, :steps]
    for i, rate in enumerate(RATES):
        expected = alone(keys[i], again[i], np.cos(again[i]), rate * fall, rest_at=(150, 300, 450))
        np.testing.assert_allclose(losses[i], expected, rtol=1e-7)


def test_a_rate_with_one_loss_that_is_not_finite_is_the_worst():
    losses = np.array([[3.0, 3.0], [2.0, 2.0], [0.0, -np.inf], [0.0, 0.0], [np.nan, 0.0], [0.0, 0.0]])
    assert best(np.array([0.1, 0.2, 0.3]), losses) == 0.1


def test_the_same_keys_give_the_same_networks_to_every_learner():
    keys = jax.random.split(jax.random.key(0), 3)
    one, other = (begin(rtrl.Learner(LEARNER.loss, e, LEARNER.optimizer), model_of, keys).model
                  for e in (rtrl.RTRL(), rtrl.UORO()))  # fmt: skip
    assert eqx.tree_equal(one, other)
    assert len({float(w) for w in one.cell.weight_hh[:, 0, 0, 0]}) == 3


@pytest.mark.parametrize(("rates", "expected"), [([1e-6, 1e-2, 1e-5], 1e-2), ([1e-6, np.nan, 1e-5], 1e-5)])
def test_tuning_finds_the_rate_that_learns_and_never_one_that_breaks(rates, expected):
    keys = jax.random.split(jax.random.key(0), 2)
    assert tune(LEARNER, model_of, keys, np.array(rates), stream(2, STAGE), STAGE) == expected


def test_tuning_and_training_is_one_after_the_other():
    keys, tuning, scored = jax.random.split(jax.random.key(0), 4), stream(4, 2 * STAGE), stream(4, 2 * STAGE)
    rates = np.array([1e-6, 1e-2])
    states, rate = tune_and_train(LEARNER, model_of, keys, rates, tuning, scored)
    assert rate == 1e-2
    expected, _ = train(LEARNER, model_of, keys, np.full(4, 1e-2), scored, 2 * STAGE)
    assert eqx.tree_equal(states.model, expected.model)
    with pytest.raises(ValueError, match=r"^keys: expected at least one for each of the 2 rates, got 1$"):
        tune_and_train(LEARNER, model_of, keys[:1], rates, stream(1, STAGE), stream(1, STAGE))


def test_networks_that_never_stop_are_charged_before_they_learn_at_the_rate_that_was_best():
    keys, tuning, scored = jax.random.split(jax.random.key(0), 3), stream(2, 400), stream(3, 60)
    rates, few = np.array([1e-6, 1e-2, np.nan]), np.tile([0, 1], 3)
    many = jax.tree.map(lambda a: a[few], tuning)
    rate = best(rates, stage(LEARNER, begin(LEARNER, model_of, keys[few]), np.repeat(rates, 2), *many)[1])
    assert rate == 1e-2
    states, losses = stage(LEARNER, begin(LEARNER, model_of, keys), np.full(3, rate), *scored)
    for i, key in enumerate(keys):
        np.testing.assert_allclose(losses[i], alone(key, scored[0][i], scored[1][i], np.full(60, 1e-2)), rtol=1e-7)
    assert states.model.cell.weight_hh.shape[0] == 3


def test_whole_windows_give_what_windows_that_could_stay_open_give():
    learner = rtrl.Learner(LEARNER.loss, rtrl.RTRL(), LEARNER.optimizer, update_every=5)
    states = begin(learner, model_of, jax.random.split(jax.random.key(0), 2))
    runs = [stage(learner, s, RATES, *stream(2, 20))[1] for s in (states, in_whole_windows(states))]
    np.testing.assert_allclose(runs[0], runs[1], rtol=1e-7)


def test_only_where_signs_are_drawn_has_a_learner_a_seed():
    keys = jax.random.split(jax.random.key(0), 2)
    assert begin(LEARNER, model_of, keys).seed is None
    assert begin(rtrl.Learner(LEARNER.loss, rtrl.UORO(), LEARNER.optimizer), model_of, keys).seed is not None
