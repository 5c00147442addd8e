"""Shares of networks that succeed, and how two groups differ."""

import numpy as np
import pandas as pd
import pytest

from artifact.shares import solved_by, solved_more_often, solvers, successes
from artifact.statistics import two_sample_interval

NETWORKS = pd.DataFrame(
    {"method": ["a"] * 12 + ["b"] * 12, "network": [*range(12)] * 2, "rate": 0.01, "diverged": np.nan,
     "solved": [100.0] * 8 + [300.0] * 4 + [np.nan] * 12}
)  # fmt: skip


def test_solvers_are_counted_with_wilson_s_interval():
    of = solvers(NETWORKS, ["method"])
    assert of["solved"].tolist() == [12, 0]
    assert of.loc["a", "steps"] == 100
    z = 1.959964
    np.testing.assert_allclose(of["low"], [12 / (12 + z**2), 0], rtol=1e-6)  # Wilson's, at the ends
    np.testing.assert_allclose(of["high"], [1, z**2 / (12 + z**2)], rtol=1e-6)


def test_all_against_none_is_a_difference_and_the_same_is_none():
    of = solvers(NETWORKS, ["method"])
    assert solved_more_often(of, "a", "b", "here", name="b", by=0.0).outcome == "for"
    assert solved_more_often(of, "b", "a", "here", name="a", by=0.0).outcome == "against"
    assert solved_more_often(of, "a", "a", "here", name="a", by=0.0).outcome == "undecided"
    assert solved_by(of, "a", "here", 0.5).outcome == "for"


def test_success_is_a_mean_over_agents_with_an_interval_that_may_have_no_width():
    agents = pd.DataFrame({"world": ["easy"] * 6 + ["hard"] * 6, "success": [1.0] * 6 + [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]})
    easy, hard = successes(agents, ["world"], solves=0.95).to_dict("records")
    assert [easy[c] for c in ("success low", "success", "success high", "solved")] == [1, 1, 1, 6]
    assert hard["success low"] < hard["success"] == 0.5 < hard["success high"]
    assert hard["solved"] == 1


def test_the_interval_of_two_samples_is_that_of_normal_theory_where_they_are_large():
    rng = np.random.default_rng(1)
    a, b = rng.normal(1.0, 2.0, 900), rng.normal(0.0, 1.0, 400)
    low, high = two_sample_interval(a, b, lambda a, b, axis: a.mean(axis) - b.mean(axis))
    half = 1.96 * np.sqrt(a.var() / 900 + b.var() / 400)
    assert (low, high) == pytest.approx((a.mean() - b.mean() - half, a.mean() - b.mean() + half), abs=0.02)
    assert two_sample_interval([1.0, 1.0], [3.0, 3.0], lambda a, b, axis: a.mean(axis) - b.mean(axis)) == (-2, -2)
