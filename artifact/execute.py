"""Executes one notebook with papermill and publishes its outputs only if all of it succeeded."""

import argparse
import contextlib
import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import papermill
from papermill.exceptions import PapermillExecutionError
from traitlets.config import Config

from artifact import measured, parameters, progress, provenance
from artifact.errors import ArtifactError, run
from artifact.paths import (
    BUILD,
    NOTEBOOKS,
    OUTPUT_VARIABLE,
    OVERRIDES_VARIABLE,
    PUBLISHED,
    ROOT,
    notebooks,
    tier_root,
)


def execute(notebook: str, tier: str, assignments: Sequence[str] = ()) -> None:
    """Runs a notebook in a tier; parameters of one's own go to a tier `custom`, away from the paper's figures.

    The executed notebook, build/TIER/NOTEBOOK.ipynb, is written last: whoever finds it finds all outputs.
    A notebook whose inputs mean what they meant when it last ran, and whose outputs are all there, is not run again.
    Raises `ArtifactError` with nothing published if a parameter is wrong, a folder cannot be written, an
    input changes while the notebook runs, or the notebook fails (it is then kept in build/failed/).
    """
    _check_name(notebook)
    overrides = parameters.of_tier(notebook, tier) | parameters.parse(assignments)
    if assignments:
        tier = overrides["tier"] = "custom"
    resolved = parameters.resolve(ROOT / NOTEBOOKS / f"{notebook}.ipynb", overrides)
    build, destination = ROOT / BUILD / tier, tier_root(tier)
    for folder in (build, *(destination / folder for folder in PUBLISHED)):
        _require_writable(folder)

    running = build / ".running" / f"{notebook}.ipynb"
    running.parent.mkdir(exist_ok=True)
    with _alone(notebook, running.with_suffix(".lock")):
        _execute(notebook, tier, running, overrides, resolved)


@contextlib.contextmanager
def _alone(notebook: str, lock: Path) -> Iterator[None]:
    """Keeps other processes from executing the same notebook; the lock ends with the process that holds it."""
    with lock.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = lock.read_text().strip() or "unknown"
            raise ArtifactError(
                f"{notebook}: process {holder} is executing it; wait for it, or stop it, then run make again"
            ) from None
        file.truncate(0)
        print(os.getpid(), file=file, flush=True)
        yield


def _execute(
    notebook: str, tier: str, running: Path, overrides: Mapping[str, Any], resolved: Mapping[str, Any]
) -> None:
    build, destination = ROOT / BUILD / tier, tier_root(tier)
    staging, executed = build / ".staging" / notebook, build / f"{notebook}.ipynb"
    inputs = provenance.inputs(notebook, overrides)
    if tier in ("smoke", "paper") and provenance.up_to_date(executed, inputs, destination):
        print(f"{_label(notebook)}: nothing that matters has changed", flush=True)
        return executed.touch()
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    run_papermill(notebook, running, staging, overrides)
    if changed := provenance.changed(inputs, provenance.inputs(notebook, overrides)):
        raise ArtifactError(
            f"{notebook}: expected inputs that stay, {', '.join(changed)} changed meanwhile; run it again"
        )
    files = sorted(path.relative_to(staging) for path in staging.rglob("*") if path.is_file())
    _publish(files, notebook, staging, destination)
    if tier == "extended":
        measured.keep(notebook, destination, resolved, inputs)
    if tier == "paper":
        (build / f"{notebook}.mk").write_text(_make_rules(notebook, files), encoding="utf-8")
    provenance.sign(running, inputs, {file.as_posix(): destination / file for file in files})
    os.replace(running, executed)


def run_papermill(
    notebook: str, running: Path, staging: Path, overrides: Mapping[str, Any], source: Path | None = None
) -> None:
    """Executes a notebook, or what `source` makes of it, into `running`; what it publishes goes into `staging`."""
    label = _label(notebook)
    os.environ[OUTPUT_VARIABLE] = str(staging)
    os.environ[OVERRIDES_VARIABLE] = json.dumps(overrides)
    try:
        with tempfile.TemporaryDirectory(dir=_short_folder()) as sockets, progress.reported(label, running):
            papermill.execute_notebook(
                source or ROOT / NOTEBOOKS / f"{notebook}.ipynb",
                running,
                parameters=dict(overrides),
                kernel_name="python3",
                cwd=ROOT / NOTEBOOKS,
                config=Config(ConnectionFileMixin={"transport": "ipc", "ip": f"{sockets}/kernel"}),  # no open ports
                progress_bar=False,
                start_timeout=600,  # of a kernel, on a machine that has much else to do
            )
    except Exception as error:  # of the notebook, of its kernel: whatever ends the run
        failed = ROOT / BUILD / "failed" / running.name
        failed.parent.mkdir(parents=True, exist_ok=True)
        os.replace(running, failed)
        raise ArtifactError(f"{label} failed {_reason(error)}; as it failed: {failed.relative_to(ROOT)}") from None


def _short_folder() -> str | None:
    """Where a socket's path stays below the 100 characters or so that a system allows."""
    return None if len(tempfile.gettempdir()) < 60 else "/tmp"


def _label(notebook: str) -> str:
    return f"[{notebooks().index(notebook) + 1}/{len(notebooks())}] {notebook}"


def _reason(error: Exception) -> str:
    if isinstance(error, PapermillExecutionError):
        return f"in cell {error.exec_count}: {error.ename}: {str(error.evalue).partition(chr(10))[0]}"
    return f"with {type(error).__name__}: {str(error).partition(chr(10))[0]}"


def _publish(files: Sequence[Path], notebook: str, staging: Path, destination: Path) -> None:
    """Moves the outputs into place and removes those of an earlier run that this one no longer makes."""
    for folder in PUBLISHED:
        for old in (destination / folder).glob(f"{notebook}_*"):
            if old.relative_to(destination) not in files:
                old.unlink()
    for file in files:
        os.replace(staging / file, destination / file)
    shutil.rmtree(staging)


def _make_rules(notebook: str, files: Sequence[Path]) -> str:
    """Rules that make a missing or altered output of the paper run its notebook again."""
    outputs = " ".join(path.as_posix() for path in files)
    return f"{BUILD.as_posix()}/paper/{notebook}.ipynb: {outputs}\n{outputs}:\n"


def _check_name(notebook: str) -> None:
    if notebook not in notebooks():
        raise ArtifactError(f"notebook: expected one of {', '.join(notebooks())}, got {notebook!r}")
    if clash := [other for other in notebooks() if other.startswith(f"{notebook}_")]:
        raise ArtifactError(f"notebook: expected names that do not begin with one another, got {notebook}, {clash[0]}")


def _require_writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ArtifactError(
            f"cannot write into {folder}: {error.strerror}; give yourself the right to, or clone into your own"
        ) from None


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m artifact.execute", description=__doc__)
    parser.add_argument("notebook", help="its name, without folder and .ipynb")
    parser.add_argument("--tier", choices=parameters.TIERS, default="paper")
    parser.add_argument("-p", "--parameter", action="append", default=[], metavar="NAME=VALUE")
    arguments = parser.parse_args()
    execute(arguments.notebook, arguments.tier, arguments.parameter)


if __name__ == "__main__":
    run(main)
