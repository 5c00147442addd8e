"""What took how long, from the executed notebooks themselves."""

import csv
import json
from io import StringIO

from artifact.measured import keep_tables
from artifact.paths import BUILD, MEASURED, ROOT, notebooks

STUDY = "run_times"


def keep() -> None:
    """Keeps in data/measured/ how long each notebook took when it was last executed here."""
    seconds = {name: took for name in notebooks() if (took := duration(name)) is not None}
    text = "notebook,seconds\n" + "".join(f"{name},{took:.1f}\n" for name, took in seconds.items())
    kept, new = ROOT / MEASURED / f"{STUDY}.csv", ROOT / BUILD / f"{STUDY}.csv"
    if seconds and not (kept.is_file() and kept.read_text(encoding="utf-8") == text):
        new.write_text(text, encoding="utf-8")
        keep_tables(STUDY, [new], "make figures")


def kept() -> tuple[dict[str, float], dict]:
    """The seconds of each notebook as they were kept, and when and where that was; both empty if they never were."""
    table, record = (ROOT / MEASURED / f"{STUDY}{end}" for end in (".csv", "_provenance.json"))
    if not record.is_file():
        return {}, {}
    lines = csv.DictReader(StringIO(table.read_text(encoding="utf-8")))
    return {line["notebook"]: float(line["seconds"]) for line in lines}, json.loads(record.read_text(encoding="utf-8"))


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
