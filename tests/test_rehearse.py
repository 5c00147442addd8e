"""A rehearsal of another machine's rounding finds what hangs on the last digit, and nothing else."""

import jax
import jax.numpy as jnp

EDGE = """
from artifact.notebook import Evidence, Publication
import jax
publication = Publication("{{name}}", tier=tier, seed=0)
drawn = float(jax.random.normal(jax.random.key(0)))
for name, threshold in (("edge", {drawn!r}), ("safe", 9.0)):
    evidence = Evidence("a draw", drawn, (drawn, drawn), "", "above", threshold)
    publication.claim(name, name, evidence)
print("{text}", f"{{{{drawn:{digits}}}}}")
"""


def test_a_rehearsal_names_the_cells_and_verdicts_that_hang_on_rounding(checkout):
    drawn = float(jax.random.normal(jax.random.key(0), dtype=jnp.float32))
    checkout.add("02_edge", EDGE.format(drawn=drawn, text="sharp", digits=".9g"))
    checkout.add("03_round", EDGE.format(drawn=9.0, text="rounded", digits=".3f").replace('"edge"', '"also"'))
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
    assert "  claim edge: not supported here, supported there" in lines
    assert checkout.python("-m", "artifact.rehearse", "03_round").returncode == 0
    assert "expected one of 01_line" in checkout.python("-m", "artifact.rehearse", "04_none").stderr
