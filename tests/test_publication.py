"""What notebooks publish carries where it came from, and verdicts follow from evidence."""

import dataclasses
import hashlib
import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from pypdf import PdfReader

from artifact import provenance, scatter, status
from artifact.measured import keep_tables
from artifact.notebook import (
    Claim,
    Evidence,
    KeptRun,
    Publication,
    bootstrap_interval,
    elsewhere,
    mean_interval,
    over_time,
    over_time_and_networks,
    share_interval,
)
from artifact.paths import ROOT
from artifact.statistics import share_difference_interval


@pytest.fixture
def publication(tmp_path, monkeypatch):
    monkeypatch.setenv("RTRL_OUTPUT", str(tmp_path))
    return Publication("01_exactness", tier="smoke", seed=7)


def test_png_and_pdf_carry_their_provenance(publication, tmp_path):
    figure, ax = plt.subplots()
    ax.plot([0, 1])
    publication.figure(figure, "line", pd.DataFrame({"x": [0, 1]}))
    plt.close(figure)
    from_png = status.read(tmp_path / "figures/01_exactness_line.png")
    pdf = PdfReader(tmp_path / "figures/01_exactness_line.pdf").metadata
    assert pdf is not None
    assert from_png == json.loads(pdf["/Keywords"])
    assert "/CreationDate" not in pdf
    assert from_png["seed"] == 7
    assert from_png["tier"] == "smoke"
    assert from_png["inputs"] == provenance.inputs("01_exactness")
    assert {"notebook", "jax"} <= set(from_png)


def test_overrides_change_the_inputs_and_prose_does_not():
    assert provenance.changed(provenance.inputs("01_exactness"), provenance.inputs("01_exactness", {"seed": 1})) == [
        "overrides"
    ]
    assert "What this does not say" not in provenance.code(ROOT / "notebooks/01_exactness.ipynb")


def test_results_are_tidy_files_beside_the_figures(publication, tmp_path):
    publication.table(pd.DataFrame({"a_b": ["x_y", "z"], "value": [0.12345, None]}), "small", "A caption.")
    publication.number("answer", "42")
    assert pd.read_csv(tmp_path / "data/results/01_exactness_small.csv")["value"][0] == 0.12345
    latex = (tmp_path / "paper/generated/01_exactness_small.tex").read_text()
    assert r"x\_y" in latex
    assert r"a\_b" in latex
    assert r"\label{tab:01_exactness_small}" in latex
    assert json.loads((tmp_path / "data/results/01_exactness_numbers.json").read_text()) == {
        "01_exactness_answer": "42"
    }


def test_a_name_is_used_once(publication):
    publication.table(pd.DataFrame({"x": [1]}), "twice", "A caption.")
    with pytest.raises(ValueError, match="name: expected one not used before in this notebook, got 'twice'"):
        publication.figure(plt.figure(), "twice", pd.DataFrame({"x": [2]}))
    plt.close("all")


@pytest.mark.parametrize("name", ["Answer", "two words", "../up", "double__score"])
def test_names_are_lower_case_words(publication, name):
    with pytest.raises(ValueError, match="name: expected lower_case"):
        publication.number(name, "1")


def test_an_unknown_notebook_is_refused():
    with pytest.raises(ValueError, match="notebook: expected the name of a file in notebooks/"):
        Publication("77_nothing", tier="paper", seed=0)


def evidence(condition, low, high, side="below"):
    return Evidence(condition, (low + high) / 2, (low, high), "units", side, 1.0)


@pytest.mark.parametrize(
    ("rows", "verdict"),
    [
        ([evidence("a", 0.1, 0.9)], "supported"),
        ([evidence("a", 0.1, 1.1)], "cannot tell"),
        ([evidence("a", 1.1, 1.2)], "not supported"),
        ([evidence("a", 1.1, 1.2), evidence("b", 0.5, 1.5)], "not supported"),
        ([evidence("a", 0.5, 1.5), evidence("b", 0.9, 1.2, "above")], "cannot tell"),
        ([evidence("a", 0.1, 0.9), evidence("b", 0.5, 1.5)], "supported when a"),
        ([evidence("a", 1.1, 1.2, "above"), evidence("b", 0.9, 1.2, "above")], "supported when a"),
        ([evidence("a", 0.1, 0.9), evidence("b", 1.1, 1.2), evidence("c", 0.1, 0.2)], "supported when a; c"),
    ],
)
def test_verdicts_follow_from_whole_intervals(publication, tmp_path, rows, verdict):
    assert publication.claim("some_claim", "Something holds.", *rows).verdict == verdict
    recorded = json.loads((tmp_path / "data/results/01_exactness_claims.json").read_text())
    assert recorded[0]["verdict"] == verdict
    assert recorded[0]["notebook"] == "01_exactness"
    assert [(e["outcome"], e["scatter"]) for e in recorded[0]["evidence"]] == [(e.outcome, 0.0) for e in rows]
    assert Claim.of(recorded[0]) == Claim("some_claim", "Something holds.", rows)


@pytest.mark.parametrize(
    ("low", "high", "scatter", "below", "above"),
    [
        (0.25, 0.75, 0.0, "for", "against"),
        (0.25, 1.0, 0.0, "undecided", "undecided"),
        (1.0, 1.0, 0.0, "undecided", "undecided"),
        (0.5, 1.5, 0.0, "undecided", "undecided"),
        (1.25, 1.5, 0.0, "against", "for"),
        (0.25, 0.75, 0.125, "for", "against"),
        (0.25, 0.75, 0.25, "undecided", "undecided"),
        (1.25, 1.5, 0.125, "against", "for"),
        (1.25, 1.5, 0.25, "undecided", "undecided"),
        (1.25, 1.5, np.inf, "undecided", "undecided"),
    ],
)
def test_evidence_decides_if_its_interval_lies_beyond_the_threshold_by_more_than_its_scatter(
    low, high, scatter, below, above
):
    for side, outcome in (("below", below), ("above", above)):
        assert dataclasses.replace(evidence("a", low, high, side), scatter=scatter).outcome == outcome


@pytest.mark.parametrize(
    ("low", "high", "changes", "outcome"),
    [
        (0.95, 1.05, {"margin": 0.1}, "equivalent"),
        (0.92, 0.98, {"margin": 0.1}, "equivalent"),  # there is a difference, too small to matter
        (0.85, 0.98, {"margin": 0.1}, "for"),
        (0.85, 1.05, {"margin": 0.1}, "undecided"),
        (1.02, 1.15, {"margin": 0.1}, "against"),
        (0.95, 1.05, {"margin": 0.1, "scatter": 0.06}, "undecided"),
        (0.25, 0.75, {"seen": True}, "undecided"),
        (1.25, 1.75, {"seen": True}, "against"),
        (0.95, 1.05, {"seen": True, "margin": 0.1}, "equivalent"),
        (0.25, 0.75, {"single": True}, "undecided"),
        (1.25, 1.75, {"single": True}, "undecided"),
    ],
)
def test_what_is_too_small_to_matter_tuned_in_sight_or_of_one_network(low, high, changes, outcome):
    assert dataclasses.replace(evidence("a", low, high), **changes).outcome == outcome


def test_verdicts_know_equivalence():
    same, close = (dataclasses.replace(evidence("a", 0.95, 1.05), margin=margin) for margin in (0.1, 0.01))
    assert Claim("a", "", [same, same]).kind == "equivalent"
    assert Claim("a", "", [same, close]).kind == "cannot tell"
    assert Claim("a", "", [same, evidence("b", 0.1, 0.9)]).kind == "in places"
    assert Claim("a", "", [same, evidence("b", 1.1, 1.9)]).kind == "not supported"


def test_scatter_is_how_far_the_end_next_to_the_threshold_moved_and_returns_to_the_evidence_of_the_paper(
    tmp_path, monkeypatch
):
    same = "twice, NA"
    here = Claim("close", "", [evidence("1", 0.5, 0.875), evidence(same, 0, 0.75), evidence(same, 0, 0.5)])
    there = Claim("close", "", [evidence(same, 0, 0.75), evidence("1", 0.25, 1), evidence(same, 0, 0.625)])
    moved = {("close", "1"): 0.125, ("close", same): 0.125}
    assert scatter.moved([(here, there)]) == moved

    monkeypatch.setenv("RTRL_OUTPUT", str(tmp_path))
    monkeypatch.setattr("artifact.measured.ROOT", tmp_path)
    scatter.keep("01_exactness", moved, tmp_path)
    record = tmp_path / "data/measured/01_exactness_rehearsal_provenance.json"
    assert json.loads(record.read_text())["command"] == "make rehearse"
    for tier, verdict in (("paper", f"supported when {same}; {same}"), ("smoke", "supported")):
        claim = Publication("01_exactness", tier=tier, seed=0).claim("close", "", *here.evidence)
        assert claim.verdict == verdict
    record.write_text(record.read_text() + "\n")
    before = record.read_bytes()
    scatter.keep("01_exactness", moved, tmp_path)
    assert record.read_bytes() == before  # what says the same is not kept again


def test_times_have_no_scatter_and_an_interval_for_other_machines():
    ratios = elsewhere((0.5, 0.75))
    assert ratios == (0.5 / 1.5, 0.75 * 1.5)
    piece = dataclasses.replace(evidence("1", *ratios), timed=True)
    here, there = Claim("fast", "", [piece]), Claim("fast", "", [dataclasses.replace(piece, interval=(0.4, 0.9))])
    assert scatter.moved([(here, there)]) == {}
    assert scatter.applied(here, {("fast", "1"): 0.125}) == here  # kept when it was not yet known to be a time


def test_evidence_must_make_sense():
    with pytest.raises(ValueError, match=r"interval: expected low <= 2\.0 <= high"):
        Evidence("a", 2.0, (0.0, 1.0), "units", "below", 1.0)
    with pytest.raises(ValueError, match=r"scatter: expected at least 0, got -0\.1"):
        Evidence("a", 0.5, (0.0, 1.0), "units", "below", 1.0, scatter=-0.1)
    with pytest.raises(ValueError, match="margin: expected at least 0, got -1"):
        Evidence("a", 0.5, (0.0, 1.0), "units", "below", 1.0, margin=-1)
    with pytest.raises(ValueError, match="evidence: expected at least one"):
        Claim("empty", "Nothing.", [])


def test_intervals_match_published_formulas():
    low, high = mean_interval([1.0, 2.0, 3.0])
    assert low == pytest.approx(2 - 4.302653 / 3**0.5, abs=1e-5)  # t(0.975, 2 degrees of freedom) = 4.302653
    assert high == pytest.approx(2 + 4.302653 / 3**0.5, abs=1e-5)
    low, high = bootstrap_interval([5.0] * 9 + [6.0])
    assert (low, high) == (5.0, 5.0)
    z2 = 1.959964**2
    assert share_interval(0, 12) == pytest.approx((0, z2 / (12 + z2)), abs=1e-6)
    assert share_interval(12, 12) == pytest.approx((12 / (12 + z2), 1), abs=1e-6)
    assert share_difference_interval(56, 70, 48, 80) == pytest.approx((0.0524, 0.3339), abs=5e-5)  # Newcombe's table II


def test_committed_figures_come_from_this_code():
    table = status.figures()
    assert len(table)
    stale = table[(table["stale"] != "") | (table["tier"] != "paper")]
    assert stale.empty, f"run `make freeze` and commit its results:\n{stale.to_string()}"


def test_a_second_run_makes_the_same_bytes_with_and_without_programs_compiled_before(tmp_path):
    """The same machine and lock: every figure of a real notebook, byte for byte."""

    def run(output: Path, cache: str) -> dict[str, str]:
        script = "import sys; from artifact import execute, parameters; from pathlib import Path; " + (
            "overrides = parameters.of_tier('00_start_here', 'smoke'); "
            "execute.run_papermill('00_start_here', Path(sys.argv[1]) / 'run.ipynb', Path(sys.argv[1]), overrides)"
        )
        output.mkdir()
        options = {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0", "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1"}
        environment = os.environ | options | {"JAX_COMPILATION_CACHE_DIR": cache}
        subprocess.run([sys.executable, "-c", script, str(output)], check=True, capture_output=True, env=environment)
        return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted((output / "figures").iterdir())}

    kept = tmp_path / "compiled"
    with ThreadPoolExecutor() as pool:
        without, first = pool.map(run, (tmp_path / "without", tmp_path / "first"), ("", str(kept)))
    assert any(kept.iterdir())
    assert len(without) == 2
    assert without == first == run(tmp_path / "second", str(kept))


def test_the_interval_over_time_is_newey_and_west_s():
    """By their sum of weighted autocovariances, on a series whose steps depend on each other."""
    series = np.convolve(np.random.default_rng(0).normal(size=420), [1.0, 0.8, 0.6])[:400]
    mean, (low, high) = over_time(series)
    centred, lags = series - series.mean(), int(4 * 4 ** (2 / 9))
    covariances = [centred[lag:] @ centred[: len(centred) - lag] / 400 for lag in range(lags + 1)]
    long_run = covariances[0] + 2 * sum((1 - j / (lags + 1)) * c for j, c in enumerate(covariances) if j)
    np.testing.assert_allclose(mean, series.mean())
    np.testing.assert_allclose([low, high], mean + np.array([-1, 1]) * 1.959964 * (long_run / 400) ** 0.5, rtol=1e-6)
    assert high - low > 1.5 * 2 * 1.96 * series.std() / 20  # wider than if steps were independent


def test_over_networks_too_the_two_variances_are_added():
    rng = np.random.default_rng(1)
    steps, networks = rng.normal(size=400), 0.2 * rng.normal(size=(12, 1))
    mean, (low, high) = over_time_and_networks(steps + networks)
    _, in_time = over_time(steps + networks.mean())
    among = mean_interval(networks[:, 0])
    np.testing.assert_allclose(mean, steps.mean() + networks.mean())
    np.testing.assert_allclose((high - low) ** 2, np.ptp(in_time) ** 2 + np.ptp(among) ** 2)
    np.testing.assert_allclose(over_time_and_networks(steps)[1], over_time(steps)[1])  # of one row alone


def test_a_kept_run_stands_in_for_one_with_its_parameters_only(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("artifact.measured.ROOT", tmp_path)
    kept = pd.DataFrame({"method": ["exact"] * 3 + ["poor"] * 3, "score": [1.0, 2, 3, 7, 8, 9]})
    path = tmp_path / "01_exactness_scores.csv"
    kept.to_csv(path, index=False)
    keep_tables("01_exactness", [path], "make extended", parameters={"seed": 0, "steps": 10, "networks": 3})
    here = pd.DataFrame({"method": ["exact"] * 2, "score": [2.0, 2.5]})

    longer = KeptRun("01_exactness", ["poor"], {"seed": 0, "steps": 10})
    assert longer.left(["exact", "poor"]) == ["exact"]
    pd.testing.assert_frame_equal(longer.table("scores", here, ["method"], "score"), kept)
    assert capsys.readouterr().out.endswith("among its values: True\n")
    longer.table("scores", here + {"method": "", "score": 2}, ["method"], "score")
    assert capsys.readouterr().out.endswith("among its values: False\n")
    with pytest.raises(ValueError, match="name: expected a table that the kept run has, got 'rates': `make extended`"):
        longer.table("rates", here)

    for other in (KeptRun("01_exactness", [], {"seed": 0}), KeptRun("01_exactness", ["poor"], {"seed": 1})):
        assert other.left(["exact", "poor"]) == ["exact", "poor"]
        assert other.table("scores", here, ["method"], "score") is here


def test_every_kept_study_has_its_line_in_the_status():
    records = sorted((ROOT / "data/measured").glob("*_provenance.json"))
    assert len(records) >= 20
    lines = status.studies()
    for record, line in zip(records, lines, strict=True):
        assert line.startswith(f"data/measured/{record.stem.removesuffix('_provenance')}: measured 20")
        assert "inputs" in json.loads(record.read_text(encoding="utf-8")) or line.endswith("not known")


def test_the_paper_gives_each_table_as_many_columns_as_it_has():
    """LaTeX stops at one too few, and is not installed everywhere."""
    paper = (ROOT / "paper/paper.tex").read_text(encoding="utf-8")
    found = re.findall(r"\\begin\{columns\}\{\\\w+\}\{([^\n]*)\}\n(.*?)\\end\{columns\}", paper, re.DOTALL)
    assert len(found) >= 5
    for columns, body in found:
        given = len(re.sub(r"\{.*?\}|@\{.*?\}", "", columns))
        for name in re.findall(r"\\input\{(generated/.*?)\}", body):
            table = (ROOT / "paper" / name).read_text(encoding="utf-8")
            header = next(line for line in table.splitlines() if " & " in line)
            assert header.count(" & ") + 1 == given, name
