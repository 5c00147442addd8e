"""The ledger stands only on computed verdicts; arithmetic is counted with every pass of a loop."""

import json

import jax
import jax.numpy as jnp
import pytest

from artifact.claims import Claim
from artifact.errors import ArtifactError
from artifact.flops import flops
from artifact.ledger import ledger
from artifact.notebook import Evidence


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


def test_ledger_gives_each_row_its_claims(claims):
    rows = ledger({"Both hold": ["second", "first"]}, "paper")
    assert [(n, c.name, c.verdict) for n, c in rows[0][1]] == [
        ("01_one", "second", "supported"),
        ("01_one", "first", "supported"),
    ]


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
        ledger(rows, "paper")


def test_ledger_refuses_a_written_verdict(claims):
    claims(verdict="not supported")
    with pytest.raises(ArtifactError, match=r"first.*not supported"):
        ledger({"A": ["first", "second"]}, "paper")


def test_ledger_knows_the_fourth_verdict(claims):
    undecided = Claim("first", "It holds", [Evidence("here", 0.5, (0.4, 0.6), "ratio", "below", 1.0, scatter=0.5)])
    claims(**undecided.record())
    assert [claim.verdict for _, claim in ledger({"A": ["first", "second"]}, "paper")[0][1]] == [
        "cannot tell",
        "supported",
    ]


def test_ledger_refuses_one_name_for_two_claims(claims):
    claims(name="second")
    with pytest.raises(ArtifactError, match="second more than once"):
        ledger({"A": ["second"]}, "paper")


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
