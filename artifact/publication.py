"""What a notebook uses to publish: figures, tables, numbers and claims, each with its data."""

import json
import os
import re
from pathlib import Path

import jax
import pandas as pd
from IPython.core.getipython import get_ipython
from matplotlib.figure import Figure

from artifact import provenance, scatter, style
from artifact.claims import Claim, Evidence
from artifact.paths import (
    BUILD,
    FIGURES,
    GENERATED,
    NOTEBOOKS,
    OUTPUT_VARIABLE,
    OVERRIDES_VARIABLE,
    RESULTS,
    ROOT,
)


class Publication:
    """The outputs of one notebook run, written where the run was told to put them.

    Under `make` that is a staging folder, moved into place when the whole notebook has succeeded; run by
    hand, build/draft/. Raises `ValueError` for an unknown notebook or a name that is not lower_case.
    """

    def __init__(self, notebook: str, *, tier: str, seed: int):
        _check_name("notebook", notebook)
        if not (ROOT / NOTEBOOKS / f"{notebook}.ipynb").is_file():
            raise ValueError(f"notebook: expected the name of a file in {NOTEBOOKS}/, got {notebook!r}")
        self.notebook = notebook
        self.output = Path(os.environ.get(OUTPUT_VARIABLE, ROOT / BUILD / "draft"))
        overrides = json.loads(os.environ.get(OVERRIDES_VARIABLE, "{}"))
        self.provenance = {
            "notebook": notebook,
            "tier": tier,
            "seed": seed,
            "jax": jax.__version__,
            "inputs": provenance.inputs(notebook, overrides),
        }
        self._scatter = scatter.read(notebook) if tier == "paper" else {}
        self._numbers: dict[str, str] = {}
        self._claims: list[dict] = []
        self._written: set[Path] = set()
        style.apply()

    def figure(self, figure: Figure, name: str, data: pd.DataFrame) -> None:
        """Writes a figure as PNG and PDF with its provenance inside, and its tidy data as CSV."""
        self.data(data, name)
        record = json.dumps(self.provenance, sort_keys=True)
        pdf = {"Keywords": record, "CreationDate": None}
        figure.savefig(self._path(FIGURES, name, "png"), metadata={provenance.KEY: record, "Software": None})
        figure.savefig(self._path(FIGURES, name, "pdf"), metadata=pdf)

    def table(self, data: pd.DataFrame, name: str, caption: str) -> None:
        """Writes a data frame as CSV, and as a LaTeX table with a caption for the paper."""
        self.data(data, name)
        rows = data.style.hide(axis="index").format(_text, escape="latex", na_rep="--")
        latex = rows.format_index(escape="latex", axis=1).to_latex(  # pyright: ignore[reportAttributeAccessIssue]
            caption=caption,
            label=f"tab:{self.notebook}_{name}",
            hrules=True,
            position="t",
            position_float="centering",
        )
        self._path(GENERATED, name, "tex").write_text(latex, encoding="utf-8")

    def number(self, name: str, value: str) -> None:
        r"""Publishes a formatted number, for the paper to use as \artifact{NOTEBOOK_name}."""
        _check_name("name", name)
        self._numbers[f"{self.notebook}_{name}"] = value
        self._json(self._numbers, "numbers")

    def claim(self, name: str, statement: str, *evidence: Evidence) -> Claim:
        """Publishes a row of the ledger of claims and gives it back, its verdict computed.

        In the paper tier the evidence gets the scatter that the notebook's rehearsal kept.
        """
        _check_name("name", name)
        claim = scatter.applied(Claim(name, statement, evidence), self._scatter)
        self._claims.append({"notebook": self.notebook, "cell": _cell(), **claim.record()})
        self._json(self._claims, "claims")
        return claim

    def data(self, data: pd.DataFrame, name: str) -> None:
        """Writes a data frame as CSV: what a long run keeps besides the data of its figures and tables."""
        path = self._path(RESULTS, name, "csv")
        if path in self._written:
            raise ValueError(f"name: expected one not used before in this notebook, got {name!r}")
        self._written.add(path)
        data.to_csv(path, index=False, lineterminator="\n", float_format="%.10g")

    def _json(self, data: list | dict, name: str) -> None:
        text = json.dumps(data, indent=1, sort_keys=True)
        self._path(RESULTS, name, "json").write_text(text + "\n", encoding="utf-8")

    def _path(self, folder: Path, name: str, suffix: str) -> Path:
        _check_name("name", name)
        path = self.output / folder / f"{self.notebook}_{name}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


def _cell() -> int | None:
    """The number of the notebook cell that runs, as Jupyter shows it; none outside a notebook."""
    shell = get_ipython()
    return shell.execution_count if shell else None


def _text(value: object) -> str:
    """A table entry: three decimals for small numbers, none for large ones."""
    if not isinstance(value, float):
        return str(value)
    return f"{value:.3f}" if abs(value) < 1000 else f"{value:.0f}"


def _check_name(argument: str, name: str) -> None:
    if not re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)*", name):
        raise ValueError(f"{argument}: expected lower_case letters, digits and single underscores, got {name!r}")
