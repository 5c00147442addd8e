"""Where things are: every path of the artifact, relative to one root."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
"""The checkout that this package is imported from."""

NOTEBOOKS = Path("notebooks")
FIGURES = Path("figures")
RESULTS = Path("data/results")
MEASURED = Path("data/measured")
GENERATED = Path("paper/generated")
BUILD = Path("build")

PUBLISHED = (FIGURES, RESULTS, GENERATED)
"""The folders that notebooks publish into; every file there is named NOTEBOOK_name.suffix."""


def notebooks() -> list[str]:
    """The names of all notebooks, in the order of the story."""
    return sorted(path.stem for path in (ROOT / NOTEBOOKS).glob("[0-9]*.ipynb"))


def tier_root(tier: str) -> Path:
    """Where a tier's outputs belong: the paper's in the checkout itself, the others' under build/."""
    return ROOT if tier == "paper" else ROOT / BUILD / tier


OUTPUT_VARIABLE = "RTRL_OUTPUT"
"""The environment variable that tells a running notebook where to put what it publishes."""

OVERRIDES_VARIABLE = "RTRL_OVERRIDES"
"""The one that tells it which of its parameters were changed, as JSON."""
