"""What predicts a stream and learns from it afterwards never sees the future, and forgets as it should."""

import numpy as np
import pytest
from scipy import stats

from artifact.comparison import broke_down
from artifact.drift.adapting import running
from artifact.drift.annotated import agreed, scaled_changes
from artifact.drift.regrets import above_noise, breakdowns, curve, of_networks
from artifact.drift.tracking import lagged, predict_then_learn, recursive_least_squares
from artifact.statistics import median_interval


def test_lags_are_the_newest_first_with_zeros_before_the_beginning():
    values = np.array([[[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]]])
    np.testing.assert_array_equal(lagged(values, 2)[0], [[1, 10, 0, 0, 1], [2, 20, 1, 10, 1], [3, 30, 2, 20, 1]])


@pytest.mark.parametrize("factor", [0.9, 1.0])
def test_recursive_least_squares_is_weighted_least_squares_of_the_past(factor):
    rng = np.random.default_rng(0)
    xs, ys = rng.normal(size=(1, 30, 3)), rng.normal(size=(1, 30))
    errors = recursive_least_squares(xs, ys, np.array([factor]))
    for t in range(30):
        weight, past = factor ** np.arange(t - 1, -1, -1), xs[0, :t]
        gram = past.T @ (weight[:, None] * past) + factor**t * np.eye(3) / 100
        w = np.linalg.solve(gram, past.T @ (weight * ys[0, :t]))
        np.testing.assert_allclose(errors[0, t], (ys[0, t] - xs[0, t] @ w) ** 2, rtol=1e-8)


def test_recursive_least_squares_stays_stable_where_lags_say_nearly_the_same():
    time, rng = np.arange(20_000), np.random.default_rng(0)
    wave = (np.sin(time / 5) + 0.01 * rng.normal(size=len(time)))[None, :, None]
    errors = recursive_least_squares(lagged(wave, 16)[:, :-1], wave[:, 1:, 0], np.array([0.99]))
    assert errors[0, 1000:].mean() < 4 * 0.01**2


class Counting:
    """Predicts how often it has learned."""

    def __init__(self):
        self.seen = 0

    def predict_one(self, x):
        return self.seen

    def learn_one(self, x, y):
        self.seen += 1

    def clone(self):
        return Counting()


class Every:
    """Finds a change every third time."""

    def __init__(self):
        self.seen = 0

    def update(self, error):
        self.seen += 1

    @property
    def drift_detected(self):
        return self.seen % 3 == 0


def test_a_model_predicts_before_it_learns_and_starts_anew_at_a_change():
    xs, ys = np.zeros((5, 1)), np.zeros(5)
    np.testing.assert_array_equal(predict_then_learn(Counting(), xs, ys), [0, 1, 4, 9, 16])
    np.testing.assert_array_equal(predict_then_learn(Counting(), xs, ys, Every()), [0, 1, 4, 0, 1])


def test_marks_count_when_two_people_set_them_nearly_together():
    assert agreed([[10, 50, 100], [13, 80], [52], [], [53, 300]]) == [10, 50]
    assert agreed([[10, 12], [], []]) == []


def test_scaled_changes_know_nothing_of_the_future():
    series = np.cumsum(np.random.default_rng(0).normal(size=100))
    later = series.copy()
    later[60:] *= 7
    np.testing.assert_array_equal(scaled_changes(series)[:59], scaled_changes(later)[:59])
    assert abs(scaled_changes(later)).max() <= 5


def test_the_interval_of_a_median_is_made_of_order_statistics():
    low, high = median_interval(np.arange(10.0)[:, None])
    assert (low.item(), high.item()) == (1, 8)
    assert 1 - 2 * stats.binom.cdf(1, 10, 0.5) >= 0.95


def test_broken_networks_are_counted_and_bins_are_whole():
    losses = np.array([[1.0, 2, 3, 4, 5], [1, np.nan, 3, 4, 5], [1, 2, 3, np.inf, 5]])
    assert broke_down(losses) == f"2 of {len(losses)}"
    np.testing.assert_array_equal(running(losses[:1], 2), [[1.5, 3.5]])


def test_what_is_kept_of_a_network_is_its_regret_in_the_phases_it_is_named_after():
    phase, noise = 40, 0.5
    losses = np.full((3, 4 * phase), noise) + np.repeat([4.0, 3.0, 2.0, 1.0], phase)  # a phase each
    losses[1, 2 * phase + 6 :] = noise  # recovered after six steps of the third phase
    losses[2, 3 * phase] = np.nan
    rows = of_networks(above_noise(losses, noise), phase, change=2 * phase)
    assert rows["finite"].tolist() == [True, True, False]
    assert breakdowns(rows) == "1 of 3"
    np.testing.assert_allclose(rows["first fifth"], 4)
    np.testing.assert_allclose(rows["second phase"], 3)
    np.testing.assert_allclose(rows["third phase's fifth"], [2, 2 * 6 / 8, 2])
    np.testing.assert_allclose(rows["regret"], [1.5, 2 * 6 / (2 * phase), np.inf])
    np.testing.assert_allclose(rows["last phase"], [1, 0, np.inf])
    np.testing.assert_allclose(rows["recovered"], [np.inf, 8, np.inf])  # at the end of the first bin of two below 0.1


def test_a_curve_is_the_median_over_networks_in_the_middles_of_bins():
    of = curve(np.arange(10.0)[:, None] + np.array([0.0, 0, 100, 100]), 2)
    np.testing.assert_array_equal(of["step"], [1, 3])
    np.testing.assert_array_equal(of["regret"], [4.5, 104.5])
    np.testing.assert_array_equal(of["low"], [1, 101])
