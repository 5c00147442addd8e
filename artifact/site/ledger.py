"""The ledger as a page that can be filtered: every statement, rival and verdict, with its pieces of evidence."""

import csv
from html import escape
from pathlib import Path

from artifact.paths import RESULTS, ROOT

PAGE = "ledger.md"
HEAD = """# The ledger

Every statement against every rival, with its verdict, computed from the pieces of evidence behind it: choose a row to
see them. How a verdict comes about says [the notebook](notebooks/20_claims.ipynb). The same as files:
[all pieces](data/results/20_claims_statements.csv).

"""
LISTS = {"statement": "Statement", "rival": "Rival", "verdict": "Verdict"}
SHOWN = {
    "condition": "condition", "effect": "effect", "interval": "interval", "units": "units", "holds if": "holds if",
    "from": "threshold from", "notebook": "notebook", "outcome": "outcome", "among many": "one among many",
}  # fmt: skip


def markdown() -> str:
    """The page: three lists to choose from, and the rows under their headings; without JavaScript all of them."""
    pieces, verdicts = _read()
    rows = [{"statement": s, "rival": rival or "none", "verdict": v} for (s, rival), v in verdicts.items()]
    lists = "\n".join(_list(name, label, rows) for name, label in LISTS.items())
    headings = dict.fromkeys(piece["heading"] for piece in pieces)
    sections = "\n".join(_section(heading, pieces, verdicts) for heading in headings)
    return f'{HEAD}<div id="ledger">\n{lists}\n<output></output>\n{sections}\n</div>\n'


def _read() -> tuple[list[dict], dict[tuple[str, str], str]]:
    """Every piece of evidence, and the verdict of each statement against each rival."""
    everything = ROOT / RESULTS / "20_claims_statements.csv"
    tables = (path for path in (ROOT / RESULTS).glob("20_claims_*.csv") if path != everything)
    lines = [line for table in tables for line in _lines(table)]
    verdicts = {(line["statement"], _rival(line)): line["verdict"] for line in lines}
    return _lines(everything), verdicts


def _lines(path: Path) -> list[dict]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _rival(line: dict) -> str:
    return "" if line["rival"] == "none" else line["rival"]


def _list(name: str, label: str, rows: list[dict]) -> str:
    options = "".join(f"<option>{escape(value)}</option>" for value in sorted({row[name] for row in rows}))
    return f'<label>{label} <select name="{name}"><option value="">all</option>{options}</select></label>'


def _section(heading: str, pieces: list[dict], verdicts: dict) -> str:
    rows: dict[tuple[str, str], list[dict]] = {}
    for piece in pieces:
        if piece["heading"] == heading:
            rows.setdefault((piece["statement"], _rival(piece)), []).append(piece)
    inside = "\n".join(_row(*key, verdicts[key], found) for key, found in rows.items())
    return f"<section>\n<h2>{escape(heading)}</h2>\n{inside}\n</section>"


def _row(statement: str, rival: str, verdict: str, pieces: list[dict]) -> str:
    against = f", against {escape(rival)}" if rival else ""
    given = {"statement": statement, "rival": rival or "none", "verdict": verdict}
    data = " ".join(f'data-{name}="{escape(value)}"' for name, value in given.items())
    head = "".join(f"<th>{title}</th>" for title in SHOWN.values())
    body = "".join(f"<tr>{''.join(map(_cell, SHOWN, [piece] * len(SHOWN)))}</tr>" for piece in pieces)
    table = f'<div class="pieces"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    summary = f'<summary>{escape(statement)}{against} <span class="verdict">{verdict}</span></summary>'
    return f'<details class="row" {data}>{summary}{table}</details>'


def _cell(name: str, piece: dict) -> str:
    if name == "notebook":
        return f'<td><a href="notebooks/{piece[name]}.html">{piece[name][:2]}</a></td>'
    if name == "effect":
        return f"<td>{float(piece[name]):.3g}</td>"
    if name == "interval":
        return f"<td>{float(piece['low']):.3g} to {float(piece['high']):.3g}</td>"
    return f"<td>{escape(piece[name])}</td>"
