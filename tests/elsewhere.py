"""What breaks pipelines on other people's machines: each ends in the right figures, or in one clear line.

Not among the unit tests, because it takes ten minutes: `make elsewhere`. What needs root (a full disk, no network) is
skipped without.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from checkout import SOURCE, Checkout, one_line
from test_pipeline import PUBLISHED, published

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def figures(checkout):
    return {p.name: p.read_bytes() for p in sorted((checkout.folder / "figures").iterdir())}


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """The figures of an ordinary run."""
    checkout = Checkout(tmp_path_factory.mktemp("ordinary"))
    assert checkout.make("figures").returncode == 0
    return figures(checkout)


@pytest.mark.parametrize(
    "environment",
    [
        {"TMPDIR": "long"},
        {"HOME": ""},
        {"HOME": "/proc"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"TZ": "Asia/Tokyo", "LC_ALL": "de_DE.UTF-8", "LANG": "de_DE.UTF-8"},
        {"XLA_CACHE": ""},
        {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=true", "JAX_COMPILATION_CACHE_DIR": "own"},
        {"OMP_NUM_THREADS": "8"},
        {"PYTHONWARNINGS": "default"},
    ],
    ids=lambda environment: " ".join(f"{k}={v}" for k, v in environment.items()),
)
def test_the_same_figures_in_any_environment(checkout, reference, environment):
    if environment.get("TMPDIR"):  # unix sockets have about 107 characters
        long = checkout.folder / ("x" * 60) / ("y" * 60)
        long.mkdir(parents=True)
        environment = {"TMPDIR": str(long)}
    if "JAX_COMPILATION_CACHE_DIR" in environment:
        environment = environment | {"JAX_COMPILATION_CACHE_DIR": str(checkout.folder / "own")}
    completed = checkout.make("figures", **environment)
    assert completed.returncode == 0, completed.stderr
    assert figures(checkout) == reference


def test_a_path_with_spaces_and_letters_that_are_not_ascii(tmp_path, reference):
    folder = tmp_path / "Ein Ordner für Größen"
    folder.mkdir()
    checkout = Checkout(folder)
    completed = checkout.make("figures")
    assert completed.returncode == 0, completed.stderr
    assert figures(checkout) == reference


def test_a_checkout_never_has_carriage_returns(tmp_path):
    clone = ["git", "-c", "core.autocrlf=true", "clone", "-q", str(SOURCE), str(tmp_path / "clone")]
    subprocess.run(clone, check=True)
    for name in ("Makefile", "rtrl/learner.py", "notebooks/00_start_here.ipynb", "requirements.lock"):
        assert b"\r" not in (tmp_path / "clone" / name).read_bytes(), name


def awake(checkout):
    path = checkout.folder / "notebooks/01_line.ipynb"
    path.write_text(path.read_text().replace("import time; time.sleep(600); ", ""))


def test_after_a_kill_of_all_in_the_middle_the_next_run_completes(checkout, reference):
    process = checkout.asleep()
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert not published(checkout)
    awake(checkout)
    completed = checkout.make("figures")
    assert completed.returncode == 0, completed.stderr
    assert figures(checkout) == reference


def test_after_a_kill_of_make_alone_its_notebook_still_holds_the_lock(checkout, reference):
    process = checkout.asleep()
    process.kill()
    one_line(checkout.make("figures"), "01_line: process", "is executing it")
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    awake(checkout)
    assert checkout.make("figures").returncode == 0
    assert figures(checkout) == reference


def test_a_second_make_says_who_is_at_work(checkout):
    process = checkout.asleep()
    try:
        one_line(checkout.make("figures"), "01_line: process", "is executing it")
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def test_clocks_that_jumped_after_the_clone(checkout, reference):
    tomorrow = time.time() + 86400
    for path in checkout.folder.rglob("*"):
        os.utime(path, (tomorrow, tomorrow))
    assert checkout.make("figures").returncode == 0
    assert figures(checkout) == reference
    again = checkout.make("figures")
    assert again.returncode == 0
    assert "done in" not in again.stdout  # looked at, perhaps, but not executed


def test_a_kernel_that_takes_a_minute_to_start(checkout, reference):
    slow = checkout.folder / "sitecustomize.py"
    slow.write_text("import sys, time\nif 'ipykernel_launcher' in sys.orig_argv: time.sleep(65)\n")
    completed = checkout.make("figures")
    assert completed.returncode == 0, completed.stderr
    assert figures(checkout) == reference


@ROOT_ONLY
def test_without_a_network(checkout, reference):
    command = ["unshare", "-n", "make", f"PYTHON={sys.executable}", "ENV=requirements.lock", "figures"]
    completed = checkout.run(*command)
    assert completed.returncode == 0, completed.stderr
    assert figures(checkout) == reference


@ROOT_ONLY
def test_a_full_disk_leaves_nothing_half_written(checkout, reference):
    assert checkout.make("figures", XLA_CACHE="").returncode == 0
    before = {name: (checkout.folder / name).read_bytes() for name in PUBLISHED}
    path = checkout.folder / "notebooks/01_line.ipynb"
    path.write_text(path.read_text().replace("slope = 1.0", "slope = 3.0"))
    staging = checkout.folder / "build/paper/.staging"
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(staging)], check=True)
    try:
        one_line(checkout.make("figures", XLA_CACHE=""), "No space left on device")
    finally:
        subprocess.run(["umount", str(staging)], check=True)
    assert {name: (checkout.folder / name).read_bytes() for name in PUBLISHED} == before
    assert checkout.make("figures", XLA_CACHE="").returncode == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_checkout_that_may_not_be_written(checkout):
    for folder in [checkout.folder, *(p for p in checkout.folder.rglob("*") if p.is_dir())]:
        folder.chmod(0o555)
    one_line(checkout.make("figures"), "cannot write into", "Permission denied")


def test_a_warning_in_a_cell_is_not_frozen(checkout):
    path: Path = checkout.folder / "notebooks/01_line.ipynb"
    path.write_text(path.read_text().replace("print(", "import sys; print('careful', file=sys.stderr); print("))
    one_line(checkout.make("freeze"), "01_line: expected no errors or warnings in outputs")
