"""A small checkout of its own for each test of the pipeline: the real package and Makefile, tiny notebooks."""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import nbformat

SOURCE = Path(__file__).resolve().parents[1]
KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}

TINY = """
from artifact.publication import Publication
import matplotlib.pyplot as plt, pandas as pd
publication = Publication("{name}", tier=tier, seed=0)
data = pd.DataFrame({{"x": [0, 1], "y": [0, slope]}})
figure, ax = plt.subplots()
ax.plot(data["x"], data["y"])
publication.figure(figure, "line", data)
publication.table(data, "points", "Two points.")
publication.number("slope", f"{{slope:.1f}}")
print("slope", slope)
"""


# Runs a command that heeds Ctrl-C even where its parent, a background job, ignores it.
ATTENTIVE = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execvp(sys.argv[1], sys.argv[1:])
"""


def one_line(completed, *words):
    """The run failed, with exactly one line of ours that has all the words, and no traceback through our code.

    A kernel that is shut down may print a traceback of its own messaging: it is Jupyter's, and the run is over then.
    """
    assert completed.returncode != 0
    ours = [line for line in completed.stderr.splitlines() if line.startswith("error:")]
    assert len(ours) == 1, completed.stderr
    assert all(word in ours[0] for word in words), ours[0]
    assert not re.search(r'File "[^"]*/(artifact|rtrl)/', completed.stderr), completed.stderr


class Checkout:
    """A folder with both packages, a Makefile and notebooks; `make` and `python` run in it with this test's Python."""

    def __init__(self, folder: Path):
        self.folder = folder
        for package in ("rtrl", "artifact"):
            shutil.copytree(SOURCE / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("Makefile", "requirements.lock", "pyproject.toml"):
            shutil.copy(SOURCE / name, folder)
        for name in ("notebooks", "paper", "data/measured"):
            (folder / name).mkdir(parents=True)
        (folder / "notebooks" / "tiers.toml").write_text(
            "[01_line.smoke]\nslope = 2.0\n[01_line.extended]\nslope = 4.0\n"
        )
        self.add("01_line")
        self.paper(r"\artifact{01_line_slope}")

    def add(self, name: str, code: str = TINY) -> None:
        """Adds a notebook of one code cell, `code`, after its parameters."""
        parameters, tags = 'tier = "paper"\nslope = 1.0', {"tags": ["parameters"]}
        cells = [
            nbformat.v4.new_markdown_cell(f"# {name}", id="00-title"),
            nbformat.v4.new_code_cell(parameters, id="01-parameters", metadata=tags),
            nbformat.v4.new_code_cell(code.format(name=name).strip(), id="02-work"),
        ]
        notebook = nbformat.v4.new_notebook(cells=cells, metadata=KERNEL)
        nbformat.write(notebook, self.folder / "notebooks" / f"{name}.ipynb")

    def paper(self, text: str) -> None:
        (self.folder / "paper" / "paper.tex").write_text(text)

    def make(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
        return self.run(
            shutil.which("make") or "make",
            f"PYTHON={sys.executable}",
            "ENV=requirements.lock",
            *arguments,
            **environment,
        )

    def python(self, *arguments: str) -> subprocess.CompletedProcess:
        return self.run(sys.executable, *arguments)

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            command, cwd=self.folder, env=self.environment() | environment, capture_output=True, text=True, timeout=600
        )

    def asleep(self) -> subprocess.Popen:
        """`make figures`, in a session of its own, in a notebook that has published everything and now sleeps."""
        path = self.folder / "notebooks/01_line.ipynb"
        path.write_text(path.read_text().replace("print(", "import time; time.sleep(600); print("))
        process = subprocess.Popen(
            [sys.executable, "-c", ATTENTIVE, "make", f"PYTHON={sys.executable}", "ENV=requirements.lock", "figures"],
            cwd=self.folder, env=self.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            start_new_session=True,
        )  # fmt: skip
        staged = self.folder / "build/paper/.staging/01_line/data/results/01_line_numbers.json"
        while not staged.exists():
            assert process.poll() is None, process.communicate()
            time.sleep(0.1)
        return process

    def environment(self) -> dict[str, str]:
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS", "RTRL_"))}
        return inherited | {"PYTHONPATH": str(self.folder), "PYTHONDONTWRITEBYTECODE": "1"}

    def files(self, pattern: str = "**/*") -> set[str]:
        """The paths of all files that match, relative to the checkout."""
        return {str(p.relative_to(self.folder)) for p in self.folder.glob(pattern) if p.is_file()}
