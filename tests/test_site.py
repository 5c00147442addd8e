"""What the site's pages are made of: every verdict, every piece of evidence, every figure, every source."""

import csv
import html
import re

import pytest

from artifact import times
from artifact.paths import BUILD, FIGURES, RESULTS, ROOT, notebooks
from artifact.site import bibliography, gallery, ledger
from artifact.status import read


def lines(pattern):
    for path in (ROOT / RESULTS).glob(pattern):
        with path.open(encoding="utf-8", newline="") as file:
            yield from csv.DictReader(file)


def test_the_ledger_has_every_verdict_and_every_piece_of_evidence():
    page = html.unescape(ledger.markdown())
    rows = re.findall(r'<details class="row" data-statement="(.*?)" data-rival="(.*?)" data-verdict="(.*?)">', page)
    tables = [line for line in lines("20_claims_*.csv") if "verdict" in line]
    assert len(rows) == len(tables) > 100
    assert set(rows) == {(line["statement"], line["rival"] or "none", line["verdict"]) for line in tables}
    assert page.count("<tr><td>") == len(list(lines("20_claims_statements.csv")))


def test_the_gallery_shows_every_figure_with_its_provenance():
    page = gallery.markdown()
    for path in sorted((ROOT / FIGURES).glob("*.png")):
        (shown,) = re.findall(rf"#{path.stem} }}(.*?)(?=\n## |</div>)", page, re.DOTALL)
        assert (ROOT / RESULTS / f"{path.stem}.csv").is_file()
        record = read(path)
        assert all(f"{kind} `{digest[:8]}`" in shown for kind, digest in record["inputs"].items())
        assert f"seed\n{record['seed']};" in shown


def test_the_bibliography_has_an_anchor_for_every_source_in_a_docstring():
    page = bibliography.markdown()
    files = (ROOT / "rtrl").rglob("*.py")
    cited = {
        key for path in files for key in re.findall(r"\]\[([a-z]+\d{4}[a-z]*)\]", path.read_text(encoding="utf-8"))
    }
    assert len(cited) > 25
    assert all(f"{{ #{key} }}" in page for key in cited)


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.setattr(times, "ROOT", tmp_path)
    monkeypatch.setattr("artifact.measured.ROOT", tmp_path)
    return tmp_path


def test_run_times_are_kept_with_machine_and_date(elsewhere):
    assert times.kept() == ({}, {})
    name, folder = notebooks()[0], elsewhere / BUILD / "paper"
    folder.mkdir(parents=True)
    (folder / f"{name}.ipynb").write_text('{"metadata": {"papermill": {"duration": 12.34}}}')
    times.keep()
    seconds, record = times.kept()
    assert seconds == {name: 12.3}
    assert record["machine"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", record["date"])
