"""The ledger stands only on computed verdicts; arithmetic is counted with every pass of a loop."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from artifact.claims import Claim
from artifact.errors import ArtifactError
from artifact.flops import flops
from artifact.ledger import ledger
from artifact.notebook import Evidence
from artifact.statistics import p_of_interval


@pytest.fixture
def claims(tmp_path, monkeypatch):
    """A folder of results with two published claims; returns a function that alters one and saves."""
    monkeypatch.setattr("artifact.ledger.tier_root", lambda tier: tmp_path)
    (tmp_path / "data/results").mkdir(parents=True)
    evidence = Evidence("here", 0.5, (0.4, 0.6), "ratio", "below", 1.0)
    records = [
        {"notebook": "01_one", "cell": 3, **Claim(name, "It holds", [evidence]).record()}
        for name in ("first", "second")
    ]

    def save(**changes):
        records[0].update(changes)
        (tmp_path / "data/results/01_one_claims.json").write_text(json.dumps(records))

    save()
    return save


def test_ledger_gives_each_row_its_pieces(claims):
    (row,) = ledger({"Heading": {"Both hold": ["second", "first"]}}, "paper")
    assert (row.heading, row.statement, row.rival, row.kind) == ("Heading", "Both hold", "", "supported")
    assert [(p.notebook, p.claim, p.outcome_of_many) for p in row.pieces] == [
        ("01_one", "second", "for"),
        ("01_one", "first", "for"),
    ]


def test_rivals_are_not_pooled(claims):
    pieces = [Evidence(str(k), 0.5, (0.4, 0.6), "ratio", "below", 1.0, rival=rival) for k, rival in enumerate("abba")]
    claims(**Claim("first", "It holds", pieces).record())
    rows = ledger({"Heading": {"A": ["first"], "B": ["second"]}}, "paper")
    found = [(row.statement, row.rival, [p.evidence.condition for p in row.pieces]) for row in rows]
    assert found == [("A", "a", ["0", "3"]), ("A", "b", ["1", "2"]), ("B", "", ["here"])]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({"A": ["first", "second"], "B": []}, "got none for B"),
        ({"A": ["first", "second", "third"]}, "got third"),
        ({"A": ["first"]}, "second is in none"),
    ],
)
def test_ledger_refuses_rows_without_verdicts_and_claims_without_rows(claims, rows, message):
    with pytest.raises(ArtifactError, match=message):
        ledger({"Heading": rows}, "paper")


def test_ledger_refuses_a_written_verdict(claims):
    claims(verdict="not supported")
    with pytest.raises(ArtifactError, match=r"first.*not supported"):
        ledger({"Heading": {"A": ["first", "second"]}}, "paper")


def test_ledger_knows_the_fourth_verdict(claims):
    undecided = Claim("first", "It holds", [Evidence("here", 0.5, (0.4, 0.6), "ratio", "below", 1.0, scatter=0.5)])
    claims(**undecided.record())
    rows = ledger({"Heading": {"A": ["first"], "B": ["second"]}}, "paper")
    assert [row.kind for row in rows] == ["cannot tell", "supported"]


def test_ledger_refuses_one_name_for_two_claims(claims):
    claims(name="second")
    with pytest.raises(ArtifactError, match="second more than once"):
        ledger({"Heading": {"A": ["second"]}}, "paper")


def test_among_many_only_what_survives_holm_is_decided(claims):
    """Twenty effects, each two standard errors off, decide alone (p = 0.046); together they do not (0.05 / 20)."""
    weak = [Evidence(f"weak {k}", 2.0, (2.0 - 1.96, 2.0 + 1.96), "standard errors", "above", 0.0) for k in range(20)]
    strong = Evidence("strong", 5.0, (5.0 - 1.96, 5.0 + 1.96), "standard errors", "above", 0.0)
    claims(**Claim("first", "It holds", [*weak, strong]).record())
    (row,) = ledger({"Heading": {"A": ["first", "second"]}}, "paper")
    assert {p.evidence.outcome for p in row.pieces} == {"for"}
    assert [p.evidence.condition for p in row.pieces if p.outcome_of_many == "for"] == ["strong", "here"]


def test_the_p_value_of_an_interval_is_that_of_its_test():
    rng = np.random.default_rng(0)
    values = rng.normal(0.1, 1.0, 400)
    test = scipy.stats.ttest_1samp(values, 0.0)
    low, high = test.confidence_interval(0.95)
    assert p_of_interval(values.mean(), (low, high), 0.0) == pytest.approx(test.pvalue, rel=0.2)
    assert p_of_interval(1.0, (1.0, 1.0), 0.0) == 0.0  # counted exactly
    assert p_of_interval(0.0, (0.0, 0.0), 0.0) == 1.0
    assert p_of_interval(2.0, (1.0, 3.0), 0.0, scatter=2.0) == 1.0


def test_flops_of_matrix_products_loops_and_branches():
    matrix, vector = jnp.ones((5, 7)), jnp.ones(7)
    assert flops(lambda v: matrix @ v, vector) == 2 * 5 * 7
    assert flops(lambda v: jnp.tanh(v) + v, vector) == 7 + 7
    assert flops(lambda v: v.sum(), vector) == 7
    assert flops(lambda v: v[::-1].reshape(7, 1), vector) == 0
    square = jnp.ones((7, 7))
    assert flops(lambda v: jax.lax.scan(lambda c, _: (square @ c, None), v, None, length=10)[0], vector) == 980
    assert flops(jax.jit(lambda v: jax.lax.cond(True, lambda v: 2 * v, lambda v: square @ v, v)), vector) == 98


def test_flops_refuses_a_loop_of_unknown_length():
    with pytest.raises(ValueError, match="while"):
        flops(lambda v: jax.lax.while_loop(lambda c: c[0] < 3, lambda c: c + 1, v), jnp.ones(2))
