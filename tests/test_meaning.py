"""What makes a figure stale: a change of what code means, in the modules that its notebook imports."""

import ast
import json

import pytest

from artifact.meaning import meaning

FLOPS = "from artifact.flops import flops\nprint(slope)"
TASKS = "from rtrl.tasks import copy_stream\nprint(slope)"


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        ("x = 1", "x = 1  # why", True),
        ("x = 1\ny = 2", "# first\nx = 1\n\n\ny = 2\n", True),
        ('"""Old."""\nx = 1', '"""New."""\nx = 1', True),
        ('def f():\n    """Old."""\n    return 1', 'def f():\n    """New.\n\n    Longer."""\n    return 1', True),
        ('class A:\n    x: int = 1\n    """Old."""', 'class A:\n    x: int = 1\n    """New."""', True),
        ("f(1, 2)", "f(\n    1,\n    2,\n)", True),
        ("x = 1", "x = 2", False),
        ('x = "old"', 'x = "new"', False),
        ('f("old")', 'f("new")', False),
        ("x = a - (b - c)", "x = a - b - c", False),
        ("def f(a, b): return a", "def f(b, a): return a", False),
    ],
)
def test_comments_docstrings_and_layout_mean_nothing(before, after, same):
    ast.parse(meaning(before))
    assert (meaning(before) == meaning(after)) == same


def digests(checkout):
    """The digest of each notebook's modules, as a fresh process sees it."""
    script = "import json; from artifact.provenance import inputs; from artifact.paths import notebooks; " + (
        "print(json.dumps({n: inputs(n)['package'] for n in notebooks()}))"
    )
    completed = checkout.python("-c", script)
    assert completed.returncode == 0, completed.stderr
    return json.loads(completed.stdout)


@pytest.mark.parametrize(
    ("path", "old", "new", "stale"),
    [
        ("rtrl/learner.py", "import dataclasses\n", "import dataclasses  # a comment\n", set()),
        ("artifact/flops.py", "import jax\n", "import jax\n\nSCALE = 2\n", {"02_flops"}),
        ("rtrl/tasks/_copy.py", "import jax\n", "import jax\n\nSCALE = 2\n", {"03_tasks"}),
        ("artifact/publication.py", "import jax\n", "import jax\n\nSCALE = 2\n", {"01_line"}),
        ("artifact/status.py", "import json\n", "import json\n\nSCALE = 2\n", set()),
        ("tests/test_learner.py", "", "def test_renamed(): pass\n", set()),
    ],
)
def test_a_changed_module_makes_stale_the_notebooks_that_import_it(checkout, path, old, new, stale):
    checkout.add("02_flops", FLOPS)
    checkout.add("03_tasks", TASKS)
    before, changed = digests(checkout), checkout.folder / path
    text = changed.read_text() if changed.exists() else ""
    assert old in text
    changed.parent.mkdir(exist_ok=True)
    changed.write_text(text.replace(old, new, 1))
    after = digests(checkout)
    assert {name for name in before if before[name] != after[name]} == stale
