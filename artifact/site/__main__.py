"""Writes build/pages, from which MkDocs makes the site: `python -m artifact.site`."""

import json
import os
import re
import shutil
from pathlib import Path

from artifact.errors import run
from artifact.paths import BUILD, FIGURES, NOTEBOOKS, RESULTS, ROOT, notebooks
from artifact.site import bibliography, gallery, ledger

PAGES = ROOT / BUILD / "pages"


def main() -> None:
    shutil.rmtree(PAGES, ignore_errors=True)
    shutil.copytree(ROOT / "docs", PAGES, ignore=shutil.ignore_patterns("*.lock"))
    for folder in (FIGURES, RESULTS):
        shutil.copytree(ROOT / folder, PAGES / folder)
    (PAGES / NOTEBOOKS).mkdir()
    for name in notebooks():
        (PAGES / NOTEBOOKS / f"{name}.ipynb").write_text(notebook(name), encoding="utf-8")
    for page in (ledger, gallery, bibliography):
        (PAGES / page.PAGE).write_text(page.markdown(), encoding="utf-8")
    in_the_browser(PAGES / "in_the_browser.md")


def notebook(name: str) -> str:
    """A notebook with its stored outputs, its links to other notebooks leading to their pages."""
    content = json.loads((ROOT / NOTEBOOKS / f"{name}.ipynb").read_text(encoding="utf-8"))
    for cell in content["cells"]:
        if cell["cell_type"] == "markdown":
            cell["source"] = re.sub(r"\]\((\w+)\.ipynb\)", r"](\1.html)", "".join(cell["source"]))
    return json.dumps(content)


def in_the_browser(page: Path) -> None:
    """Names the repository in the links to Binder and Colab, where the site is built by its workflow."""
    text = page.read_text(encoding="utf-8")
    page.write_text(text.replace("OWNER/REPOSITORY", os.environ.get("GITHUB_REPOSITORY", "OWNER/REPOSITORY")), "utf-8")


if __name__ == "__main__":
    run(main)
