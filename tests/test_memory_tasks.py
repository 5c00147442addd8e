"""Tasks of long memory ask for what was shown, when they say, and have the levels that they state."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import rtrl
from rtrl.tasks import (
    adding_problem,
    anbn,
    anbn_chance,
    copy_memory,
    discounted_return,
    selective_recall,
    trace_conditioning,
    trace_conditioning_levels,
)

KEY = jax.random.key(0)


def arrays(stream):
    return (np.asarray(part) for part in stream)


@pytest.mark.parametrize(("symbols", "marked"), [(2, 1), (8, 1), (3, 3)])
@pytest.mark.parametrize("random_delay", [False, True])
def test_recall_asks_for_each_marked_symbol_a_delay_later(symbols, marked, random_delay):
    stream = selective_recall(KEY, 5000, 12, symbols=symbols, marked=marked, random_delay=random_delay)
    xs, ys, reset, weight = arrays(stream)
    symbol, mark, ask = np.split(xs, [symbols, symbols + marked], axis=1)
    assert set(symbol.sum(axis=1)) == {1.0}
    assert set(weight) == {0.0, 1.0}
    np.testing.assert_array_equal(ask.sum(axis=1), weight)
    delays = set()
    for line in range(marked):
        shown, asked = np.flatnonzero(mark[:, line]), np.flatnonzero(ask[:, line])
        assert (shown[1:] > asked[:-1]).all()
        delays |= set(asked - shown)
        np.testing.assert_array_equal(ys[asked], symbol[shown].argmax(axis=1))
    assert delays == (set(range(6, 19)) if random_delay else {12})
    np.testing.assert_array_equal(reset, mark[:, 0] == 1)
    follows = np.flatnonzero(reset)[1:] - 1
    np.testing.assert_array_equal(ask[follows, -1], 1)  # the next trial follows at once


def test_what_is_shown_within_the_delay_tells_nothing_of_the_answer():
    """The best linear guess from all inputs of the last D steps is right as often as chance says."""
    xs, ys, _, weight = arrays(selective_recall(KEY, 60_000, 5))
    at = np.flatnonzero(weight)
    recent = np.concatenate([xs[at - lag] for lag in range(5)] + [np.ones((len(at), 1))], axis=1)
    half = len(at) // 2
    weights = np.linalg.lstsq(recent[:half], ys[at][:half] - 0.5, rcond=None)[0]
    right = ((recent[half:] @ weights > 0) == (ys[at][half:] == 1)).mean()
    assert right == pytest.approx(0.5, abs=0.03)  # 5000 answers: 4 standard errors
    assert np.bincount(ys[at]) / len(at) == pytest.approx([0.5, 0.5], abs=0.03)


def test_an_incomplete_trial_leaves_symbols_without_a_question():
    xs, _, reset, weight = arrays(selective_recall(KEY, 25, 10))
    assert reset.sum() == weight.sum() == 2
    assert not xs[22:, 2:].any()


@pytest.mark.parametrize("length", [6, 7, 20])
def test_the_adding_problem_asks_for_the_sum_of_the_two_marked_numbers(length):
    xs, ys, reset, weight = arrays(adding_problem(KEY, 30 * length + 5, length))
    np.testing.assert_array_equal(np.flatnonzero(reset), np.arange(30) * length)
    np.testing.assert_array_equal(np.flatnonzero(weight), np.arange(1, 31) * length - 1)
    for trial in range(30):
        here = slice(trial * length, (trial + 1) * length)
        numbers, marks = xs[here].T
        chosen = np.flatnonzero(marks == 1)
        assert len(chosen) == 2
        assert 0 < chosen[0] < length // 2 <= chosen[1] < length - 1
        assert marks[0] == marks[-1] == -1
        assert ys[here][-1, 0] == pytest.approx(numbers[chosen].sum(), rel=1e-6)
    assert not xs[30 * length :, 1].any()


def test_the_adding_problem_has_the_levels_it_states():
    _, ys, _, weight = arrays(adding_problem(KEY, 120_000, 6))
    assert np.mean((ys[weight > 0] - 1) ** 2) == pytest.approx(1 / 6, abs=0.01)


def test_copy_memory_wants_the_word_after_the_pause():
    length, delay, symbols = 3, 4, 5
    xs, ys, reset, weight = arrays(copy_memory(KEY, 103, delay, symbols=symbols, length=length))
    lines, trial = xs.argmax(axis=1), 2 * length + delay
    assert (xs.sum(axis=1) == 1).all()
    for begin in range(0, 100, trial):
        here = lines[begin : begin + trial]
        np.testing.assert_array_equal(ys[begin + length + delay : begin + trial], here[:length])
        assert here[length:].tolist() == [symbols] * (delay - 1) + [symbols + 1] + [symbols] * length
        assert weight[begin : begin + trial].tolist() == [0] * (length + delay) + [1] * length
    assert (lines[100:] == symbols).all()
    assert weight[100:].sum() == 0
    assert reset.sum() == 10
    assert set(ys[weight > 0]) == set(range(symbols))


def test_anbn_is_certain_of_what_follows_from_the_first_b_on():
    xs, ys, reset, weight = arrays(anbn(KEY, 4000, 6))
    letters = "".join("ab"[i] for i in xs[:, 1].astype(int))
    starts = np.flatnonzero(reset)
    words = [letters[a:b] for a, b in itertools.pairwise(starts)]
    assert {len(word) // 2 for word in words} == set(range(1, 7))
    assert all(word == "a" * (len(word) // 2) + "b" * (len(word) // 2) for word in words)
    np.testing.assert_array_equal(weight, xs[:, 1])
    certain = np.flatnonzero(weight[:-1])
    np.testing.assert_array_equal(ys[certain], xs[certain + 1, 1])


@pytest.mark.parametrize("longest", [1, 2, 6])
def test_the_chance_level_of_anbn_is_the_entropy_of_what_follows_a_b(longest):
    _, ys, _, weight = arrays(anbn(KEY, 40_000, longest))
    p = ys[weight > 0].mean()
    entropy = -sum(q * np.log(q) for q in (p, 1 - p) if q > 0)
    assert anbn_chance(longest) == pytest.approx(entropy, abs=0.01)


def test_a_cue_announces_its_outcome_after_an_interval():
    xs, ys, reset, weight = arrays(trace_conditioning(KEY, 20_000, (8, 12), pause=(5, 9), distractors=3))
    cue, outcome = xs[:, 0], xs[:, 1]
    np.testing.assert_array_equal(ys[:-1], outcome[1:])
    assert weight.all()
    begins, starts = np.flatnonzero(reset), np.flatnonzero((outcome == 1) & (np.roll(outcome, 1) == 0))
    count = min(len(begins), len(starts)) - 1
    assert set(starts[:count] - begins[:count]) == set(range(8, 13))
    assert set(begins[1:count] - starts[: count - 1] - 2) == set(range(5, 10))
    for begin in begins[:count]:
        assert cue[begin : begin + 5].tolist() == [1, 1, 1, 1, 0]
    assert [outcome[s : s + 3].tolist() for s in starts[:count]] == [[1, 1, 0]] * count
    onsets = 1 - (1 - xs[:, 2:].mean(axis=0)) ** (1 / 4)  # on unless none of four steps began it
    np.testing.assert_allclose(onsets, [1 / 10, 1 / 20, 1 / 30], atol=0.01)


def test_the_return_is_the_discounted_sum_of_what_follows():
    ys = np.random.default_rng(0).normal(size=30)
    by_hand = [sum(0.8**k * y for k, y in enumerate(ys[t:])) for t in range(30)]
    np.testing.assert_allclose(discounted_return(jnp.asarray(ys), 0.8), by_hand, rtol=1e-9)


@pytest.mark.parametrize(("interval", "pause"), [((6, 6), (5, 9)), ((8, 12), (3, 3)), ((8, 12), (5, 9))])
def test_the_levels_of_trace_conditioning_are_those_of_a_long_stream(interval, pause):
    """The least error is the variance of the return among moments that nothing tells apart."""
    xs, ys, reset, _ = arrays(trace_conditioning(KEY, 100_000, interval, pause=pause, distractors=1))
    returns = np.asarray(discounted_return(jnp.asarray(ys), 0.9))[:-200]
    moments, now = [], (0, 0)
    for begins, outcome, before in zip(reset, xs[:, 1], np.append(0, xs[:-1, 1]), strict=True):
        now = (0, 0) if begins else (1, 0) if outcome and not before else (now[0], now[1] + 1)
        moments.append(now[0] * 1000 + now[1])
    alike = [returns[np.asarray(moments[:-200]) == moment] for moment in set(moments[:-200])]
    least = sum(len(a) * a.var() for a in alike) / len(returns)
    assert trace_conditioning_levels(interval, 0.9, pause) == pytest.approx((least, returns.var()), rel=0.03, abs=1e-4)


def test_streams_can_be_mapped_over_keys():
    keys = jax.random.split(KEY, 3)
    mapped = jax.jit(jax.vmap(lambda key: selective_recall(key, 50, 7, random_delay=True)))(keys)
    one = selective_recall(keys[1], 50, 7, random_delay=True)
    for part, alone in zip(mapped, one, strict=True):
        np.testing.assert_array_equal(part[1], alone)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: selective_recall(KEY, 100, 100), "delay: expected trials of at most 100 steps, .* got 101 steps"),
        (lambda: selective_recall(KEY, 100, 70, random_delay=True), "delay: expected trials .* got 106 steps"),
        (lambda: selective_recall(KEY, 100, 10, symbols=1), "symbols: expected at least 2, got 1"),
        (lambda: selective_recall(KEY, 100, 10, symbols=0), "symbols: expected an integer of at least 1, got 0"),
        (lambda: selective_recall(KEY, 100, 2, marked=3), "delay: expected none shorter than the 3 marked .* got 2"),
        (lambda: selective_recall(KEY, 100, 0), "delay: expected an integer of at least 1, got 0"),
        (lambda: adding_problem(KEY, 100, 5), "length: expected at least 6 steps, got 5"),
        (lambda: adding_problem(KEY, 100, 101), "length: expected trials of at most 100 steps"),
        (lambda: copy_memory(KEY, 100, 81), "delay: expected trials of at most 100 steps, .* got 101"),
        (lambda: copy_memory(KEY, 100, 10, symbols=1), "symbols: expected at least 2, got 1"),
        (lambda: anbn(KEY, 100, 51), "longest: expected trials of at most 100 steps"),
        (lambda: anbn_chance(0), "longest: expected an integer of at least 1, got 0"),
        (lambda: trace_conditioning(KEY, 9, (5, 9)), "interval: expected trials of at most 9 steps"),
        (lambda: trace_conditioning(KEY, 900, (4, 9)), r"interval: expected two integers, 5 <= .* got \(4, 9\)"),
        (lambda: trace_conditioning(KEY, 900, (9, 8)), r"interval: expected two integers, 5 <= .* got \(9, 8\)"),
        (lambda: trace_conditioning_levels((9, 9), 0.9, (0, 3)), r"pause: expected two integers, 1 <= .* got \(0, 3\)"),
    ],
)
def test_bad_settings_get_one_line(call, message):
    with pytest.raises(ValueError, match=message) as error:
        call()
    assert "\n" not in str(error.value)


def test_the_exact_gradient_learns_what_a_shorter_window_cannot():
    stream = selective_recall(KEY, 30_000, 10)
    right = {}
    for name, estimator in {"RTRL": rtrl.RTRL(), "TBPTT(5)": rtrl.TBPTT(5)}.items():
        cell = rtrl.ELSTMCell(4, 8, key=jax.random.key(1), timescales=(3.0, 30.0))
        learner = rtrl.Learner(
            optax.softmax_cross_entropy_with_integer_labels,
            estimator,
            optax.adam(0.01),
            report=lambda p, y: p.argmax() == y,
        )
        state = learner.init(rtrl.Model(cell, eqx.nn.Linear(8, 2, key=jax.random.key(2))))
        _, out = learner.run(state, 3 * stream.xs, stream.ys, weight=stream.weight)
        right[name] = np.asarray(out.report)[np.asarray(stream.weight) > 0][-300:].mean()
    assert right["RTRL"] > 0.98
    assert right["TBPTT(5)"] < 0.62
