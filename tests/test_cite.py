"""`rtrl.cite` prints what was used; docstrings, references.bib, the paper and CITATION.cff name the same sources."""

import inspect
import io
import re
import unicodedata

import equinox as eqx
import jax
import optax
import pytest
import yaml

import rtrl
import rtrl.continuous
import rtrl.tasks
from artifact.paths import ROOT

PACKAGE = (ROOT / "rtrl" / "references.bib").read_text(encoding="utf-8")
PAPER = (ROOT / "paper" / "refs.bib").read_text(encoding="utf-8")
CITED = re.compile(r"\[([^\]\[]+?)\s\((\d{4})\)\]\[(\w+)\]")


def entries(text):
    return dict(re.findall(r"(?ms)^@\w+\{(\w+),\n(.*?)^\}", text))


def field(entry, name):
    return re.search(rf"(?m)^\s*{name}\s*=\s*\{{(.*)\}},?$", entry)[1]


def plain(name):
    """A name without accents, in TeX or in Unicode, and without braces."""
    bare = re.sub(r"\\[\"'`^~]|[{}]", "", name)
    return "".join(c for c in unicodedata.normalize("NFKD", bare) if not unicodedata.combining(c))


def printed(*used):
    file = io.StringIO()
    rtrl.cite(*used, file=file)
    return re.findall(r"@\w+\{(\w+),", file.getvalue())


def documented():
    """The docstrings of everything public, by name."""
    for module in (rtrl, rtrl.continuous, rtrl.tasks):
        for name, thing in vars(module).items():
            if not name.startswith("_") and getattr(thing, "__module__", "").startswith("rtrl"):
                yield name, inspect.unwrap(thing).__doc__ or ""


def test_a_learner_and_a_model_cite_every_part_inside_them():
    key = jax.random.key(0)
    stack = rtrl.StackedCell([rtrl.ELSTMCell(2, 3, key=key), rtrl.GRUCell(3, 3, key=key)])
    model = rtrl.Model(stack, eqx.nn.Linear(3, 1, key=key))
    learner = rtrl.Learner(lambda p, y: ((p - y) ** 2).sum(), rtrl.RTRL(), optax.adam(0.01))
    found = printed(learner, model)
    assert found[0] == "rtrl"
    assert set(found[1:]) == {"williams1989", "schmidhuber1992", "zucchet2023", "irie2024", "mozer1989", "cho2014"}
    assert len(found) == len(set(found))


def test_classes_functions_and_the_package_itself():
    assert printed() == ["rtrl"]
    assert printed(rtrl.UORO()) == printed(rtrl.UORO) == ["rtrl", "tallec2017"]
    assert printed(rtrl.tasks.delayed_sum) == ["rtrl", "marschall2020"]
    assert printed([rtrl.RFLO(), rtrl.UORO()]) == ["rtrl", "murray2019", "tallec2017"]


def test_a_cell_of_ones_own_cites_what_it_stands_on():
    class Own(rtrl.ElmanCell):
        """Mine."""

    assert printed(Own(1, 2, key=jax.random.key(0))) == ["rtrl", "elman1990"]


def test_without_a_file_it_prints(capsys):
    rtrl.cite(rtrl.BPTT())
    assert "Werbos, Paul J." in capsys.readouterr().out


@pytest.mark.parametrize("strange", [3, "RTRL", optax.adam(0.1), jax.random.normal, [1, 2]])
def test_what_is_none_of_ours_is_refused_in_one_line(strange):
    with pytest.raises(TypeError, match=r"^used: expected estimators, cells, models, learners or functions of rtrl, "):
        rtrl.cite(strange)


def test_every_source_in_a_docstring_has_its_entry_with_that_author_and_year():
    known, named = entries(PACKAGE), set()
    for path in (ROOT / "rtrl").rglob("*.py"):
        for authors, year, key in CITED.findall(path.read_text(encoding="utf-8")):
            named.add(key)
            first = re.split(r",| & | et al", " ".join(authors.split()))[0]
            assert plain(field(known[key], "author")).startswith(f"{plain(first)}, "), (path.name, key)
            assert field(known[key], "year") == year or year in known[key], (path.name, key)
    assert set(known) - {"rtrl"} == named


def test_no_public_docstring_names_a_source_without_its_entry():
    assert sum(bool(CITED.search(text)) for _, text in documented()) >= 25
    for name, text in documented():
        assert not re.findall(r"[A-Z][a-z]+(?<!Xiv),? \(?(?:19|20)\d{2}\b", CITED.sub("", text)), name


def test_the_paper_has_the_same_entries():
    package, paper = entries(PACKAGE), entries(PAPER)
    shared = package.keys() & paper.keys()
    assert len(shared) >= 15
    assert {key: package[key] for key in shared} == {key: paper[key] for key in shared}


def test_citation_cff_prefers_the_paper():
    preferred = yaml.safe_load((ROOT / "CITATION.cff").read_text())["preferred-citation"]
    title = re.search(r"\\title\{(.*?)\}", (ROOT / "paper" / "paper.tex").read_text(encoding="utf-8"), re.DOTALL)[1]
    assert " ".join(title.replace("\\\\", " ").split()) == preferred["title"]


def test_the_package_is_cited_as_citation_cff_says():
    cited, entry = yaml.safe_load((ROOT / "CITATION.cff").read_text()), entries(PACKAGE)["rtrl"]
    assert field(entry, "version") == cited["version"]
    assert plain(field(entry, "title")) == cited["title"]
    assert plain(field(entry, "author")) == cited["authors"][0]["name"]
