"""Gathers what the notebooks published: numbers.tex for the paper, the manifest for the curious."""

import datetime
import hashlib
import json
import platform
import re
import subprocess
from collections.abc import Mapping

from artifact import times
from artifact.errors import ArtifactError, run
from artifact.paths import BUILD, GENERATED, PUBLISHED, RESULTS, ROOT

MACRO = r"""% Written from data/results/*_numbers.json; do not edit.
\newcommand{\artifact}[1]{\ifcsname artifact@#1\endcsname\csname artifact@#1\endcsname
  \else\errmessage{number `#1' is not published by any notebook}\fi}
"""


def numbers() -> dict[str, str]:
    """Every published number by its full name."""
    files = sorted((ROOT / RESULTS).glob("*_numbers.json"))
    return {name: value for file in files for name, value in json.loads(file.read_text(encoding="utf-8")).items()}


def check(published: Mapping[str, str], paper: str) -> None:
    """Raises `ArtifactError` if the paper uses an unpublished number or leaves a published one unused."""
    used = set(re.findall(r"\\artifact\{([^}]*)\}", re.sub(r"(?<!\\)%.*", "", paper)))
    if missing := sorted(used - set(published)):
        raise ArtifactError(f"paper.tex: expected numbers that a notebook publishes, got {', '.join(missing)}")
    if unused := sorted(set(published) - used):
        raise ArtifactError(f"paper.tex: expected every published number to be used, {', '.join(unused)} is not")


def tex(published: Mapping[str, str]) -> str:
    r"""The numbers as TeX, to be used as \artifact{name}."""
    definition = r"\expandafter\def\csname artifact@{}\endcsname{{{}}}"
    return MACRO + "".join(definition.format(*number) + "\n" for number in sorted(published.items()))


def manifest() -> dict:
    """Which files were made, on which machine, from which commit."""
    files = sorted(path for folder in PUBLISHED for path in (ROOT / folder).iterdir() if path.is_file())
    return {
        "commit": _commit(),
        "host": platform.node(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "sha256": {str(path.relative_to(ROOT)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files},
    }


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty"]
    try:
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"  # no git here, or no repository


def main() -> None:
    published = numbers()
    check(published, (ROOT / "paper" / "paper.tex").read_text(encoding="utf-8"))
    (ROOT / BUILD / "manifest.json").write_text(json.dumps(manifest(), indent=1) + "\n", encoding="utf-8")
    (ROOT / GENERATED / "numbers.tex").write_text(tex(published), encoding="utf-8")
    print("\n".join(times.lines()))


if __name__ == "__main__":
    run(main)
