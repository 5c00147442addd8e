"""The committed notebooks are clean, and re-runs are compared with them as tagged."""

import json
import re
import shutil
import subprocess
import sys

import nbformat
import pytest
from checkout import KERNEL

from artifact import parameters
from artifact.freeze import clean
from artifact.paths import NOTEBOOKS, ROOT, notebooks


@pytest.mark.parametrize("name", notebooks())
def test_committed_notebooks_are_clean_and_complete(name):
    path = ROOT / NOTEBOOKS / f"{name}.ipynb"
    stored = nbformat.read(path, as_version=4)
    code = [cell for cell in stored.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1)), "run `make freeze`"
    assert nbformat.writes(clean(nbformat.read(path, as_version=4), name)) + "\n" == path.read_text(encoding="utf-8")
    text = path.read_text(encoding="utf-8")
    assert str(ROOT) not in text
    assert json.loads(text)["metadata"]["kernelspec"]["name"] == "python3"


def test_every_notebook_ends_with_the_way_to_the_next_and_back_to_the_start():
    for name, following in zip(notebooks(), [*notebooks()[1:], None], strict=True):
        end = nbformat.read(ROOT / NOTEBOOKS / f"{name}.ipynb", as_version=4).cells[-1].source
        links = re.findall(r"\[(\w+)\]\((\w+)\.ipynb\)", end.splitlines()[-1])
        back = [] if name == notebooks()[0] else [notebooks()[0]]
        assert links == [(other, other) for other in ([following] if following else []) + back], name


def test_few_cells_are_not_compared():
    tags = [
        cell.metadata.get("tags", [])
        for name in notebooks()
        for cell in nbformat.read(ROOT / NOTEBOOKS / f"{name}.ipynb", as_version=4).cells
    ]
    assert sum("nbval-ignore-output" in of_cell for of_cell in tags) <= 30


@pytest.mark.parametrize("tier", parameters.TIERS)
@pytest.mark.parametrize("name", notebooks())
def test_every_tier_changes_parameters_that_the_notebook_has(name, tier):
    resolved = parameters.resolve(ROOT / NOTEBOOKS / f"{name}.ipynb", parameters.of_tier(name, tier))
    assert resolved["tier"] == tier


CASES = [
    ("loss 1.04 after 3 steps", "loss 1.00 after 3 steps", ["rtol=0.05"], True),
    ("loss 1.06 after 3 steps", "loss 1.00 after 3 steps", ["rtol=0.05"], False),
    ("loss 1.04 after 3 steps", "loss 1.00 after 3 steps", [], False),
    ("cost 1.00 after 3 steps", "loss 1.00 after 3 steps", ["rtol=0.05"], False),
    ("saved 0.001", "saved -0.002", ["rtol=0.05", "atol=0.01"], True),
    ("saved 0.001", "saved -0.002", ["rtol=0.05"], False),
    ("saved 1.0 2.0", "saved 1.0", ["rtol=0.05"], False),
    ("TBPTT(51) 1.00", "TBPTT(50) 1.00", ["rtol=0.05"], False),
    ("4,143,069 bytes", "4,143,068 bytes", ["rtol=0.05"], False),
    ("-0.98", "0.98", ["rtol=0.05"], False),
    ("saved nan", "saved 1.0", ["rtol=0.05"], False),
    ("a   1.01  b", "a 1.00   b", ["rtol=0.05"], True),
    ("1.01e-3", "1.00e-3", ["rtol=0.05"], True),
    ("1.00e-4", "1.00e-3", ["rtol=0.05"], False),
]
"""What a cell prints, what is stored, its tags, and whether that passes."""


def test_reruns_agree_in_words_and_within_the_tagged_tolerance(tmp_path):
    """One notebook with a cell for each case, run by nbval as `make test` runs it."""
    cells = []
    for printed, stored, tags, _ in CASES:
        output = nbformat.v4.new_output("stream", name="stdout", text=stored + "\n")
        made = {"outputs": [output], "execution_count": 1, "metadata": {"tags": tags}}
        cells.append(nbformat.v4.new_code_cell(f"print({printed!r})", **made))
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=KERNEL), tmp_path / "01_cells.ipynb")
    shutil.copy(ROOT / NOTEBOOKS / "conftest.py", tmp_path)
    options = ["-v", "-p", "no:cacheprovider", "--nbval", "--nbval-current-env"]
    command = [sys.executable, "-m", "pytest", *options, str(tmp_path)]
    completed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    results = re.findall(r"::Cell (\d+) (PASSED|FAILED)", completed.stdout)
    assert {int(cell): result for cell, result in results} == {
        i: "PASSED" if passes else "FAILED" for i, (*_, passes) in enumerate(CASES)
    }, completed.stdout + completed.stderr
