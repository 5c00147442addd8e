"""What the fields of application are measured with, against other programs' answers."""

import numpy as np
import pytest
import statsmodels.api as sm
from matplotlib.figure import Figure
from sklearn.metrics import roc_auc_score
from statsmodels.tsa.ar_model import AutoReg

from artifact.applications import pulse, speech, volatility
from artifact.applications.autoregression import autoregression, refitted
from artifact.applications.drawing import label_ends
from artifact.applications.market import CHUNK, Market, whole_chunks
from artifact.data import Bars, Utterances

RNG = np.random.default_rng(0)
RETURNS = RNG.standard_t(5, 700) * np.exp(0.5 * np.sin(np.arange(700) / 50))
MEASURED = np.exp(RNG.normal(0, 0.5, 700)) * np.exp(np.sin(np.arange(700) / 50))


def forecasts(r):
    """Of every kind, for the days from 600 on."""
    by_form = {form: volatility.garch(r, 600, 50, form) for form in volatility.FAMILY}
    return by_form | {"EWMA": volatility.riskmetrics(r)[600:], "HAR": volatility.har(MEASURED, r, 600, 50)}


def test_no_forecast_of_variance_knows_what_comes_later():
    """Ten times as wild from day 640 on, in the midst of the days between two refits."""
    calm, wild = forecasts(RETURNS), forecasts(np.where(np.arange(700) < 640, 1, 10) * RETURNS)
    for name, variances in calm.items():
        assert variances.shape == (100,), name
        np.testing.assert_allclose(wild[name][:41], variances[:41], rtol=1e-9, err_msg=name)
        assert np.abs(wild[name][41:] / variances[41:] - 1).max() > 0.1, name


def test_har_knows_no_later_range_either():
    other = np.where(np.arange(700) < 640, 1, 10) * MEASURED
    ours, theirs = (volatility.har(measured, RETURNS, 600, 50) for measured in (MEASURED, other))
    np.testing.assert_allclose(ours[:41], theirs[:41], rtol=1e-12)
    assert np.abs(ours[41:] / theirs[41:] - 1).max() > 0.1


def test_har_is_the_regression_on_three_means():
    logs = np.log(MEASURED)
    rows = [[1, logs[t - 1], logs[t - 5 : t].mean(), logs[t - 22 : t].mean()] for t in range(22, 601)]
    fit = sm.OLS(logs[22:600], np.array(rows[:-1])).fit()
    expected = np.exp(rows[-1] @ fit.params) * np.mean(RETURNS[22:600] ** 2) / np.mean(np.exp(fit.fittedvalues))
    assert volatility.har(MEASURED, RETURNS, 600, 50)[0] == pytest.approx(expected, rel=1e-9)


def test_the_range_of_a_random_walk_has_its_variance():
    """Of many steps within a day: the estimator is unbiased but for the steps' coarseness."""
    within = np.cumsum(RNG.normal(0, 0.01 / 1000**0.5, (4000, 1000)), axis=1)
    low, high = np.minimum(within.min(axis=1), 0), np.maximum(within.max(axis=1), 0)
    bars = Bars(np.arange(4000), *np.exp([np.zeros(4000), high, low, within[:, -1]]))
    assert volatility.garman_klass(bars).mean() == pytest.approx(1, rel=0.1)  # percent²


def test_the_confidence_set_leaves_out_who_is_worse():
    noise = RNG.normal(size=(3, 500))
    p = volatility.confidence_set({"good": noise[0], "as good": noise[1], "worse": noise[2] + 1})
    assert p["worse"] < 0.01
    assert min(p["good"], p["as good"]) > 0.1
    assert list(p.index) == ["good", "as good", "worse"]


def test_networks_learn_days_in_order_and_the_last_chunk_is_filled():
    r = np.stack([RETURNS, 2 * RETURNS])
    market = Market(r, opening=600, learned=400, validated=300)
    xs, ys = market.stream(np.array([1, 0]), 600, 700)
    np.testing.assert_allclose(ys * market.unit[[1, 0], None], r[[1, 0], 600:], rtol=1e-5)
    np.testing.assert_allclose(xs[:, 1:, 0], ys[:, :-1])
    np.testing.assert_allclose(xs[..., 1], np.abs(xs[..., 0]))
    filled = whole_chunks((xs, ys))[1]
    assert filled.shape == (2, CHUNK)
    np.testing.assert_array_equal(filled[:, :100], ys)
    np.testing.assert_array_equal(filled[:, 100:], np.repeat(ys[:, -1:], CHUNK - 100, axis=1))


def test_autoregression_is_statsmodels():
    series = np.cumsum(RNG.normal(size=200)) * 0.1
    fit = AutoReg(series[:150], 3).fit()
    np.testing.assert_allclose(autoregression(series, 3, 150)[3:150], fit.fittedvalues, rtol=1e-8, atol=1e-10)
    expected = fit.params[0] + fit.params[1:] @ series[149:146:-1]
    assert refitted(series, 3, 150, every=20)[0] == pytest.approx(expected)
    later = np.where(np.arange(200) < 180, series, 0)
    np.testing.assert_allclose(refitted(later, 3, 150, every=20)[:31], refitted(series, 3, 150, every=20)[:31])


def test_areas_of_detection_are_sklearn_s_and_chance_is_a_half():
    marks = (RNG.uniform(size=(2, 400)) < 0.1).astype(int)
    alarms = np.stack([marks[0] + RNG.normal(size=400), np.zeros(400)])
    shares, areas = pulse.detection(alarms, marks, np.ones(marks.shape, bool))
    assert areas[0] == pytest.approx(roc_auc_score(marks[0], alarms[0]))
    assert areas[1] == pytest.approx(0.5)
    np.testing.assert_allclose(shares[1], pulse.FALSE_ALARMS)
    assert np.trapezoid(shares[0], pulse.FALSE_ALARMS) == pytest.approx(areas[0], abs=0.02)
    assert (np.diff(shares[0]) >= 0).all()


def test_an_injection_changes_only_what_it_marks():
    wave, disturbed = np.sin(np.arange(6000) / 4), np.zeros(6000, bool)
    disturbed[4000:4200] = True
    changed, marks = pulse.injected(wave, 3000, disturbed, [0, 1])
    np.testing.assert_array_equal(changed[marks == 0], wave[marks == 0])
    assert set(np.unique(marks)) == {0, 1, 2, 3, 4}
    assert not marks[:3100].any()
    assert not marks[disturbed].any()


def test_a_speaker_is_named_after_every_frame_and_after_the_end():
    """Two utterances, of two frames and of one: the second keeps its decision."""
    utterances = Utterances(np.zeros((2, 2, 1)), np.array([2, 1]), np.array([1, 0]))
    logs = np.log([[[[0.9, 0.1], [0.4, 0.6]], [[0.7, 0.3], [0.1, 0.9]]]])
    assert speech.decided(logs, utterances, "last frame").tolist() == [[[0, 1], [0, 0]]]
    assert speech.decided(logs, utterances, "accumulated").tolist() == [[[0, 0], [0, 0]]]


def test_names_of_lines_do_not_overlap_and_stay_where_there_is_room():
    figure = Figure()
    ax = figure.subplots()
    ax.set_ylim(0, 10)
    label_ends(ax, {"a": (1.0, "red"), "b": (1.1, "blue"), "c": (8.0, "black")}, apart=1.0)
    heights = {text.get_text(): text.xy[1] for text in ax.texts}
    assert heights["b"] - heights["a"] == pytest.approx(1)
    assert heights["a"] + heights["b"] == pytest.approx(2.1)
    assert heights["c"] == 8
