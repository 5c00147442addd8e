"""What README shows works as shown."""

import re

from artifact.paths import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_example_runs(capsys):
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    exec(compile(code, "README.md", "exec"), {})
    assert "GRUCell" in capsys.readouterr().out


def test_every_linked_file_is_there():
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]
    assert len(links) >= 6
    assert all((ROOT / link).exists() for link in links)
