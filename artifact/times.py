"""What took how long, from the executed notebooks themselves."""

import json

from artifact.paths import BUILD, ROOT, notebooks


def lines(tier: str = "paper") -> list[str]:
    """One line a notebook that has been executed, the longest first, and their sum on one core."""
    seconds = {name: took for name in notebooks() if (took := duration(name, tier)) is not None}
    longest_first = sorted(seconds.items(), key=lambda item: -item[1])
    each = [f"{name}: {took:.0f} s" for name, took in longest_first]
    return [*each, f"all: {sum(seconds.values()) / 60:.1f} minutes of one core"] if each else []


def duration(name: str, tier: str = "paper") -> float | None:
    """The seconds that a notebook took when it was last executed here; none if it never was."""
    path = ROOT / BUILD / tier / f"{name}.ipynb"
    if not path.is_file():
        return None
    return json.loads(path.read_text(encoding="utf-8"))["metadata"].get("papermill", {}).get("duration")
