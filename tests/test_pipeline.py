"""`make`, as a user types it: what it writes, what it repeats, and what it says when something is wrong."""

import json
import os
import re
import shutil
import signal

import pytest
from checkout import SOURCE, one_line

PUBLISHED = {
    "figures/01_line_line.png",
    "figures/01_line_line.pdf",
    "data/results/01_line_line.csv",
    "data/results/01_line_points.csv",
    "data/results/01_line_numbers.json",
    "paper/generated/01_line_points.tex",
    "paper/generated/numbers.tex",
}


def published(checkout):
    return {name for folder in ("figures", "data/results", "paper/generated") for name in checkout.files(f"{folder}/*")}


def test_figures_are_made_once_and_again_when_missing_or_stale(checkout):
    first = checkout.make("-j2", "figures")
    assert first.returncode == 0, first.stderr
    assert published(checkout) == PUBLISHED
    assert "[1/1] 01_line: done in" in first.stdout
    assert re.search(r"^01_line: \d+ s\nall: 0\.\d minutes of one core$", first.stdout, re.MULTILINE)
    numbers = (checkout.folder / "paper/generated/numbers.tex").read_text()
    assert r"\csname artifact@01_line_slope\endcsname{1.0}" in numbers
    assert checkout.make("-q", "figures").returncode == 0  # nothing to do
    assert "-m artifact" not in checkout.make("-n", "figures").stdout

    (checkout.folder / "figures/01_line_line.pdf").unlink()
    assert checkout.make("figures").returncode == 0
    assert published(checkout) == PUBLISHED

    (checkout.folder / "data/measured/02_other_line.csv").touch()
    assert checkout.make("-q", "figures").returncode == 0
    (checkout.folder / "data/measured/01_line_line.csv").touch()
    assert checkout.make("-q", "figures").returncode == 1
    (checkout.folder / "data/measured/01_line_line.csv").unlink()

    assert "no" in checkout.make("status").stdout.split()
    changed = checkout.folder / "artifact/publication.py"
    changed.write_text(changed.read_text() + "# a comment\n")
    assert checkout.make("-q", "figures").returncode == 1
    assert "01_line: nothing that matters has changed" in checkout.make("figures").stdout
    assert checkout.make("-q", "figures").returncode == 0
    changed.write_text(changed.read_text() + "A_CONSTANT = 1\n")
    (row,) = [line for line in checkout.make("status").stdout.splitlines() if "01_line_line.png" in line]
    assert row.split()[-1] == "package"
    assert "01_line: done in" in checkout.make("figures").stdout


def test_outputs_that_a_notebook_no_longer_makes_are_removed(checkout):
    assert checkout.make("figures").returncode == 0
    path = checkout.folder / "notebooks/01_line.ipynb"
    path.write_text(path.read_text().replace('\\"points\\"', '\\"dots\\"'))
    assert checkout.make("figures").returncode == 0
    assert published(checkout) == {name.replace("_points", "_dots") for name in PUBLISHED}


def test_two_notebooks_run_side_by_side(checkout):
    checkout.add("02_other")
    checkout.paper(r"\artifact{01_line_slope} \artifact{02_other_slope}")
    completed = checkout.make("-j2", "figures")
    assert completed.returncode == 0, completed.stderr
    assert {"figures/01_line_line.png", "figures/02_other_line.png"} <= published(checkout)
    assert {"[1/2] 01_line", "[2/2] 02_other"} <= set(re.findall(r"\[\d/\d\] \w+", completed.stdout))


def test_smoke_uses_its_own_parameters_and_folder(checkout):
    assert checkout.make("smoke").returncode == 0
    assert not published(checkout)
    numbers = json.loads((checkout.folder / "build/smoke/data/results/01_line_numbers.json").read_text())
    assert numbers == {"01_line_slope": "2.0"}


def test_extended_keeps_its_tables_with_where_they_were_measured(checkout):
    assert checkout.make("extended").returncode == 0
    record = json.loads((checkout.folder / "data/measured/01_line_provenance.json").read_text())
    assert set(record["files"]) == {"01_line_line.csv", "01_line_points.csv"}
    assert {"machine", "date", "versions", "command", "inputs"} <= set(record)
    assert record["parameters"] == {"tier": "extended", "slope": 4.0}
    assert checkout.make("-q", "extended").returncode == 0
    assert "changed since: nothing" in checkout.make("status").stdout
    assert not published(checkout)


def test_a_failing_notebook_publishes_nothing_and_is_kept(checkout):
    assert checkout.make("figures").returncode == 0
    before = {name: (checkout.folder / name).read_bytes() for name in PUBLISHED}
    path = checkout.folder / "notebooks/01_line.ipynb"
    path.write_text(path.read_text().replace("slope = 1.0", "slope = 3.0").replace("print(", "1 / 0 + print("))
    completed = checkout.make("figures")
    one_line(completed, "[1/1] 01_line failed in cell", "ZeroDivisionError", "build/failed/01_line.ipynb")
    assert (checkout.folder / "build/failed/01_line.ipynb").is_file()
    assert {name: (checkout.folder / name).read_bytes() for name in PUBLISHED} == before
    assert checkout.make("-q", "figures").returncode == 1  # still to be done


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM], ids=["interrupted", "terminated"])
def test_a_run_that_was_cut_off_is_not_mistaken_for_finished(checkout, ending):
    path = checkout.folder / "notebooks/01_line.ipynb"
    finished = path.read_text()
    process = checkout.asleep()
    os.killpg(process.pid, ending)
    _, errors = process.communicate(timeout=60)
    assert process.returncode != 0, errors
    assert not published(checkout)
    assert not checkout.files("build/paper/*.ipynb")
    path.write_text(finished)
    assert checkout.make("figures").returncode == 0
    assert published(checkout) == PUBLISHED


def test_freeze_stores_clean_outputs_and_leaves_nothing_to_do(checkout):
    assert checkout.make("freeze").returncode == 0
    stored = json.loads((checkout.folder / "notebooks/01_line.ipynb").read_text())
    assert stored["cells"][-1]["outputs"][0]["text"] == ["slope 1.0\n"]
    assert all(set(cell["metadata"]) <= {"tags"} for cell in stored["cells"])
    assert set(stored["metadata"]) == {"kernelspec", "language_info"}
    assert checkout.make("-q", "figures").returncode == 0
    assert "unchanged" in checkout.make("freeze").stdout


def test_what_was_just_executed_is_compared_and_not_executed_again(checkout):
    assert checkout.make("freeze").returncode == 0
    shutil.copy(SOURCE / "notebooks/conftest.py", checkout.folder / "notebooks")
    nbval = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "--nbval", "--nbval-current-env", "notebooks")
    assert checkout.python(*nbval).returncode == 0
    executed = checkout.folder / "build/paper/01_line.ipynb"
    executed.write_text(executed.read_text().replace("slope 1.0", "slope 1.1"))  # a run would print 1.0 again
    completed = checkout.python(*nbval)
    assert completed.returncode == 1
    assert "Cell outputs differ" in completed.stdout
    source = checkout.folder / "notebooks/01_line.ipynb"
    source.write_text(source.read_text().replace('"slope = 1.0"', '"slope = 2.0 / 2"'))  # other code: a kernel runs it
    assert checkout.python(*nbval).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("01_line", "-p", "slop=2.0"), ("no parameter 'slop'", "did you mean 'slope'?")),
        (("01_line", "-p", "zzz=2.0"), ("no parameter 'zzz'", "it has tier, slope")),
        (("01_line", "-p", "slope=steep"), ("parameter slope: expected float like 1.0, got str 'steep'",)),
        (("01_line", "-p", "slope=None"), ("parameter slope: expected float like 1.0, got NoneType None",)),
        (("01_line", "-p", "slope"), ("parameter: expected NAME=VALUE, got 'slope'",)),
        (("99_line",), ("notebook: expected one of 01_line, got '99_line'",)),
    ],
)
def test_a_wrong_parameter_runs_nothing(checkout, arguments, words):
    one_line(checkout.python("-m", "artifact.execute", *arguments), *words)
    assert not checkout.files("build/**/*")


def test_an_unknown_section_of_the_tiers_runs_nothing(checkout):
    (checkout.folder / "notebooks/tiers.toml").write_text("[01_lime.smoke]\nslope = 2.0\n")
    one_line(checkout.make("smoke"), "tiers.toml: expected [NOTEBOOK.smoke]", "got [01_lime.…]")
    assert not checkout.files("build/smoke/**/*")


def test_inputs_that_change_during_the_run_publish_nothing(checkout):
    path = checkout.folder / "notebooks/01_line.ipynb"
    path.write_text(path.read_text().replace("print(", "open('../artifact/claims.py', 'a').write('NEW = 1'); print("))
    one_line(checkout.make("figures"), "package changed meanwhile; run it again")
    assert not published(checkout)
    assert not checkout.files("build/paper/*.ipynb")


def test_a_killed_kernel_is_reported_in_one_line(checkout):
    path = checkout.folder / "notebooks/01_line.ipynb"
    path.write_text(path.read_text().replace("print(", "import os; os.kill(os.getpid(), 9); print("))
    one_line(checkout.make("figures"), "[1/1] 01_line failed with DeadKernelError", "build/failed/01_line.ipynb")


def test_without_git_the_build_succeeds(checkout):
    tools = checkout.folder / "tools"
    tools.mkdir()
    for tool in ("sh", "find", "sed", "awk", "getconf", "python3", "bash"):
        (tools / tool).symlink_to(shutil.which(tool))
    completed = checkout.make("figures", PATH=str(tools))
    assert completed.returncode == 0, completed.stderr
    assert json.loads((checkout.folder / "build/manifest.json").read_text())["commit"] == "unknown"


def test_an_unknown_parameter_of_a_tier_runs_nothing(checkout):
    (checkout.folder / "notebooks/tiers.toml").write_text("[01_line.smoke]\nseeds = 2\n")
    one_line(checkout.make("smoke"), "01_line.ipynb has no parameter 'seeds'")
    assert not checkout.files("build/smoke/**/*")


def test_own_parameters_stay_away_from_the_papers_figures(checkout):
    completed = checkout.python("-m", "artifact.execute", "01_line", "-p", "slope=5.0")
    assert completed.returncode == 0, completed.stderr
    assert not published(checkout)
    assert "build/custom/figures/01_line_line.png" in checkout.files("build/custom/**/*")


def test_a_folder_that_cannot_be_written_is_named(checkout):
    (checkout.folder / "figures").symlink_to("/proc")  # even root cannot write there
    one_line(checkout.make("figures"), "cannot write into", "figures")
    assert not checkout.files("paper/generated/*")
    assert not checkout.files("build/paper/*.ipynb")


@pytest.mark.parametrize(
    ("paper", "words"),
    [
        (r"\artifact{01_line_slope} \artifact{01_line_height}", ("01_line_height",)),
        ("nothing is used", ("every published number to be used", "01_line_slope")),
    ],
)
def test_undefined_and_unused_numbers_fail_the_build(checkout, paper, words):
    checkout.paper(paper)
    one_line(checkout.make("figures"), "paper.tex", *words)
    assert not checkout.files("paper/generated/numbers.tex")


def test_an_old_python_is_refused(checkout):
    old = checkout.folder / "python3.9"
    old.write_text('#!/bin/sh\ncase "$1" in --version) echo Python 3.9.2;; -c) exit 1;; esac\n')
    old.chmod(0o755)
    completed = checkout.run("make", f"SYSTEM_PYTHON={old}", "env", CONDA_DEFAULT_ENV="")
    one_line(completed, "expected Python 3.11 or newer, got Python 3.9.2", "make SYSTEM_PYTHON=")
    assert not (checkout.folder / ".venv").exists()


def test_an_active_conda_environment_is_used_and_no_venv_made(checkout):
    prefix = checkout.folder / "conda"
    (prefix / "bin").mkdir(parents=True)
    python = prefix / "bin" / "python"
    python.write_text('#!/bin/sh\necho "$@" >> calls\n')
    python.chmod(0o755)
    completed = checkout.run("make", "status", CONDA_PREFIX=str(prefix), CONDA_DEFAULT_ENV="rtrl")
    assert completed.returncode == 0, completed.stderr
    calls = (checkout.folder / "calls").read_text()
    assert "pip install" in calls
    assert "-r requirements.lock" in calls
    assert "-m artifact.status" in calls
    assert not (checkout.folder / ".venv").exists()


def test_the_paper_without_tex_says_what_to_install(checkout):
    one_line(checkout.make("paper", "TEX="), "latexmk or tectonic", "install one")


def test_help_lists_every_target(checkout):
    listed = set(re.findall(r"^  make (\w+)", checkout.make().stdout, re.MULTILINE))
    assert listed == {
        "env", "figures", "test", "lint", "bench", "smoke", "lab", "freeze", "extended", "paper", "site", "clean",
        "status", "help", "rehearse", "elsewhere",
    }  # fmt: skip
