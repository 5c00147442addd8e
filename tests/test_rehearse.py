"""A rehearsal of another machine's rounding finds what hangs on the last digit, and nothing else."""

import json

import jax
import jax.numpy as jnp
import numpy as np

EDGE = """
from artifact.notebook import Evidence, Publication
import jax
publication = Publication("{{name}}", tier=tier, seed=0)
drawn = float(jax.random.normal(jax.random.key(0)))
for name, threshold in (("edge", {drawn!r}), ("near", {near!r}), ("safe", 9.0)):
    evidence = Evidence("a draw", drawn, (drawn, drawn), "", "above", threshold)
    publication.claim(name, name, evidence)
print("{text}", f"{{{{drawn:{digits}}}}}")
"""


def edge(drawn, text, digits):
    """A notebook's code: one threshold at what is drawn, one just below, and one far away."""
    near = float(np.nextafter(np.float32(drawn), np.float32(-np.inf)))
    return EDGE.format(drawn=drawn, near=near, text=text, digits=digits)


def verdicts(checkout, notebook):
    claims = json.loads((checkout.folder / f"data/results/{notebook}_claims.json").read_text())
    return {claim["name"]: claim["verdict"] for claim in claims}


def test_a_rehearsal_names_the_cells_and_verdicts_that_hang_on_rounding(checkout):
    drawn = float(jax.random.normal(jax.random.key(0), dtype=jnp.float32))
    checkout.add("02_edge", edge(drawn, "sharp", ".9g"))
    checkout.add("03_round", edge(9.0, "rounded", ".3f").replace('"edge"', '"also"'))
    assert checkout.make("freeze").returncode == 0
    completed = checkout.python("-m", "artifact.rehearse")
    assert completed.returncode == 1, completed.stderr
    lines = completed.stdout.splitlines()
    assert [line for line in lines if "come out otherwise" in line] == [
        "01_line: 0 cells, 0 pieces of evidence, 0 claims come out otherwise",
        "02_edge: 1 cells, 1 pieces of evidence, 1 claims come out otherwise",
        "03_round: 0 cells, 0 pieces of evidence, 0 claims come out otherwise",
    ]
    assert any(line.startswith("  cell 02-work: 'sharp ") for line in lines)
    assert "  claim edge: cannot tell here, supported there" in lines
    assert checkout.python("-m", "artifact.rehearse", "03_round").returncode == 0
    assert "expected one of 01_line" in checkout.python("-m", "artifact.rehearse", "04_none").stderr

    assert checkout.files("data/measured/*_rehearsal_*") == {
        f"data/measured/{name}_rehearsal_{file}"
        for name in ("02_edge", "03_round")
        for file in ("evidence.csv", "provenance.json")
    }
    assert verdicts(checkout, "02_edge") == {"edge": "cannot tell", "near": "supported", "safe": "not supported"}
    lines = checkout.python("-m", "artifact.rehearse", "02_edge").stdout.splitlines()
    assert "02_edge: 1 cells, 1 pieces of evidence, 1 claims come out otherwise" in lines
    assert "  claim near: cannot tell here, supported there" in lines  # the new margin, here too, for all claims
    assert checkout.make("freeze").returncode == 0
    assert verdicts(checkout, "02_edge") == {"edge": "cannot tell", "near": "cannot tell", "safe": "not supported"}
    assert "02_edge_rehearsal: measured" in checkout.make("status").stdout


def test_with_another_seed_only_evidence_and_claims_are_compared(checkout):
    checkout.add("02_edge", edge(1.0, "drawn", ".9g").replace("key(0)", "key(seed)"))
    notebook = checkout.folder / "notebooks/02_edge.ipynb"
    notebook.write_text(notebook.read_text().replace('"slope = 1.0"', '"seed = 0"'))
    assert checkout.make("figures").returncode == 0
    completed = checkout.make("rehearse", "SEED=1")
    assert completed.returncode != 0
    assert [line for line in completed.stdout.splitlines() if "done in" not in line] == [
        "02_edge: 2 pieces of evidence, 2 claims come out otherwise",
        "  evidence edge: a draw 1.62 [1.62, 1.62] above 1 (for) here, "
        "a draw -0.154 [-0.154, -0.154] above 1 (against) there",
        "  evidence near: a draw 1.62 [1.62, 1.62] above 1 (for) here, "
        "a draw -0.154 [-0.154, -0.154] above 1 (against) there",
        "  claim edge: supported here, not supported there",
        "  claim near: supported here, not supported there",
    ]
    assert not checkout.files("data/measured/*")
    assert checkout.python("-m", "artifact.rehearse", "--seed", "0").returncode == 0
    assert checkout.python("-m", "artifact.rehearse", "--seed", "1", "01_line").stdout == ""
