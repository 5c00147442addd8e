"""The code in how-to pages and docstrings runs as shown, page by page, from top to bottom."""

import inspect
import re

import pytest
import yaml

import rtrl
import rtrl.continuous
import rtrl.tasks
from artifact.paths import NOTEBOOKS, ROOT, notebooks

DOCS = ROOT / "docs"
CODE = re.compile(r"```python\n(.*?)```", re.DOTALL)
PAGES = {path.name: CODE.findall(path.read_text(encoding="utf-8")) for path in sorted(DOCS.glob("*.md"))}


@pytest.mark.parametrize("page", [name for name, code in PAGES.items() if code])
def test_the_code_of_a_page_runs(page):
    exec(compile("\n".join(PAGES[page]), page, "exec"), {"__name__": page})


def public():
    return {name: thing for name, thing in vars(rtrl).items() if getattr(thing, "__module__", "").startswith("rtrl.")}


def concrete(base):
    kinds = {name: thing for name, thing in public().items() if isinstance(thing, type) and issubclass(thing, base)}
    return [name for name in kinds if not name.startswith("Abstract")]


EXAMPLES = [("cells", name) for name in concrete(rtrl.AbstractCell)]
EXAMPLES += [("estimators", name) for name in concrete(rtrl.AbstractEstimator)]


@pytest.mark.parametrize(("page", "name"), EXAMPLES)
def test_the_example_of_a_cell_or_estimator_runs(page, name):
    given = CODE.findall((DOCS / "api" / f"{page}.md").read_text(encoding="utf-8"))
    (example,) = CODE.findall(inspect.cleandoc(getattr(rtrl, name).__doc__))
    assert f"rtrl.{name}(" in example
    exec(compile("\n".join([*given, example]), name, "exec"), {"__name__": name})


def test_the_reference_names_everything_public():
    named = set(re.findall(r"^::: (\S+)$", "\n".join(p.read_text() for p in (DOCS / "api").glob("*.md")), re.MULTILINE))
    assert {f"rtrl.{name}" for name in public()} <= named
    for module in (rtrl.continuous, rtrl.tasks):
        there = re.findall(r"^from \S+ import \w+ as (\w+)|^def ([a-z]\w+)", inspect.getsource(module), re.MULTILINE)
        assert {f"{module.__name__}.{one or other}" for one, other in there} <= named


def test_every_page_and_notebook_is_in_the_navigation():
    listed = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    pages = [str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md")]
    assert len(pages) > 10
    for name in (*pages, *(f"{NOTEBOOKS}/{name}.ipynb" for name in notebooks())):
        assert re.search(rf"(- |: ){re.escape(name)}$", listed, re.MULTILINE), name


def test_nothing_is_fetched_from_elsewhere():
    settings = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    assert settings["theme"]["font"] is False
    for asset in (*settings["extra_css"], *settings["extra_javascript"], *settings["extra"]["polyfills"]):
        assert (DOCS / asset).is_file()
