"""What README shows works as shown."""

import re

import pandas as pd

from artifact.paths import RESULTS, ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_example_runs(capsys):
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    exec(compile(code, "README.md", "exec"), {})
    assert "GRUCell" in capsys.readouterr().out


def test_every_linked_file_is_there():
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]
    assert len(links) >= 6
    assert all((ROOT / link).exists() for link in links)


def test_the_answers_are_those_of_the_ledger():
    tables = [pd.read_csv(path) for path in (ROOT / RESULTS).glob("20_claims_*.csv") if "statements" not in path.name]
    ledger = pd.concat(tables).set_index(["statement", "rival"])["verdict"]
    named = [tuple(comment.split("; ")) for comment in re.findall(r"<!-- (.*?) -->", README)]
    assert len(named) >= 20
    assert [(row, rival, ledger[row, rival]) for row, rival, _ in named] == named
