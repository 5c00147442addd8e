"""The code in how-to pages and docstrings runs as shown, page by page, from top to bottom."""

import inspect
import re
import textwrap

import jax
import pytest
import yaml

import rtrl
import rtrl.continuous
import rtrl.tasks
from artifact.paths import NOTEBOOKS, ROOT, notebooks

pytestmark = pytest.mark.usefixtures("compiled_fast")

DOCS = ROOT / "docs"
CODE = re.compile(r"```python\n(.*?)```", re.DOTALL)
PAGES = {path.name: CODE.findall(path.read_text(encoding="utf-8")) for path in sorted(DOCS.glob("*.md"))}


@pytest.mark.parametrize("page", [name for name, code in PAGES.items() if code])
def test_the_code_of_a_page_runs(page):
    exec(compile("\n".join(PAGES[page]), page, "exec"), {"__name__": page})


def public():
    return {name: thing for name, thing in vars(rtrl).items() if getattr(thing, "__module__", "").startswith("rtrl.")}


def concrete(base):
    return [name for name, thing in public().items() if isinstance(thing, type) and issubclass(thing, base)
            and not name.startswith("Abstract")]  # fmt: skip


@pytest.mark.parametrize("name", [*concrete(rtrl.AbstractCell), *concrete(rtrl.AbstractEstimator)])
def test_the_example_of_a_cell_or_estimator_runs(name):
    examples = CODE.findall(inspect.cleandoc(getattr(rtrl, name).__doc__))
    assert examples
    for example in examples:
        exec(compile(textwrap.dedent(example), name, "exec"), {"rtrl": rtrl, "jax": jax, "jnp": jax.numpy})


def test_the_reference_names_everything_public():
    named = set(re.findall(r"^::: (\S+)$", "\n".join(p.read_text() for p in (DOCS / "api").glob("*.md")), re.MULTILINE))
    assert {f"rtrl.{name}" for name in public()} <= named
    for module in ("continuous", "tasks"):
        there = vars(getattr(rtrl, module)).items()
        assert {f"rtrl.{module}.{name}" for name, thing in there if inspect.isclass(thing) or inspect.isfunction(thing)
                if thing.__module__.startswith("rtrl.")} <= named  # fmt: skip


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
