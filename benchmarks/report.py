"""The table of a run: every time beside its floor, its competitors in the same run and its targets."""

import re
import tempfile
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import jax
import numpy as np
import pandas as pd
from cases import APPROXIMATE

from artifact.measured import keep_tables
from artifact.paths import MEASURED

NOTEBOOKS = {"03_cost": False, "08_neural_ode": True}
"""Which show the tables, which therefore bear their names; of continuous cells or not."""

SHOWN = ["case", "us", "iqr_us", "floor_us", "over_floor", "textbook_over", "peer_over", "over_immediate", "over_hand"]
SHOWN += ["over_layers", "worst_us", "exponent", "memory_exponent", "compile_s", "temporary_over_J"]
SHOWN += ["gradient_error", "rtrl_error", "target", "met"]


def table(benchmarks) -> pd.DataFrame:
    """One row a case, microseconds per time step, and one a fitted exponent."""
    rows = pd.DataFrame([_measured(bench) for bench in benchmarks])
    rows["over_floor"] = rows["us"] / rows["floor_us"]
    rows["textbook_over"] = _of_form(rows, "textbook", ["block", "update_every"]) / rows["us"]
    rows["peer_over"] = _of_form(rows, "braintrace SnAp", ["block"]) / rows["us"]
    rows["over_immediate"] = rows["us"] / _of_form(rows, "immediate", ["diagonal"])
    rows["over_hand"] = rows["us"] / _of_form(rows, "by hand", ["ODECell", "SDECell", "ForwardMode"])
    rows["over_layers"] = _over_layers(rows)
    rows = pd.concat([rows, pd.DataFrame(_exponents(rows))], ignore_index=True)
    for column in ("worst_us", "exponent", "gradient_error", "rtrl_error"):
        if column not in rows:
            rows[column] = np.nan
    rows["target"], rows["met"] = zip(*(_judged(row) for _, row in rows.iterrows()), strict=True)
    return rows


def text(rows: pd.DataFrame) -> str:
    """The table for people."""
    digits = rows.reindex(columns=SHOWN).map(
        lambda cell: f"{cell:.3g}" if isinstance(cell, float) and abs(cell) < 100 else cell
    )
    return digits.map(lambda cell: f"{cell:.0f}" if isinstance(cell, float) else cell).to_string(
        index=False, na_rep="", formatters=dict.fromkeys(SHOWN, lambda cell: "" if cell in ("nan", None) else str(cell))
    )


def keep(rows: pd.DataFrame) -> list[Path]:
    """Writes the tables into data/measured/ with where, when and how they were measured."""
    is_continuous = rows["cell"].str.contains("ODE|SDE")
    return [_keep(rows[is_continuous == continuous], f"{name}_{_device()}") for name, continuous in NOTEBOOKS.items()]


def _keep(rows: pd.DataFrame, study: str) -> Path:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"{study}_bench.csv")
        rows.to_csv(path, index=False, float_format="%.4g")
        keep_tables(
            study,
            [path],
            "make bench",
            device=jax.devices()[0].device_kind,
            threads="XLA's own choice: the Makefile's one-thread XLA_FLAGS and OMP_NUM_THREADS are unset",
            peers={name: version(name) for name in ("braintrace",) if find_spec(name)},
        )
    return Path(MEASURED, path.name)


def _measured(bench) -> dict:
    info = dict(bench.extra_info)
    scale = 1e6 / info["steps"]
    return {**info, "us": info.pop("mean_us", bench.stats.median * scale), "iqr_us": bench.stats.iqr * scale}


def _of_form(rows: pd.DataFrame, form: str, others: list[str]) -> pd.Series:
    """Beside each row of the other forms, the time of this form for the same cell, size and batch."""
    same = ["cell", "n", "batch", "layers"]
    times = rows[rows["form"] == form].set_index(same)["us"]
    found = [times.get(tuple(row[same])) if row["form"] in others else None for _, row in rows.iterrows()]
    return pd.Series(found, index=rows.index, dtype=float)


def _over_layers(rows: pd.DataFrame) -> pd.Series:
    """A stack's time over that of as many single layers."""
    local = rows[rows["form"] == "layer_local"].sort_values("layers")
    return local["us"] / (local["layers"] * local["us"].iloc[0]) if len(local) else pd.Series(dtype=float)


def _exponents(rows: pd.DataFrame) -> list[dict]:
    """Slopes of log time and log memory.

    Of exact forms for dense cells in n from 128 on, of diagonal cells in the number of all trained parameters, of
    approximate estimators in n.
    """
    fitted = []
    single = rows[rows["batch"] == 1]
    for (cell, form), group in single[single["form"].isin(["block", "update_every", "diagonal", *APPROXIMATE])].groupby(
        ["cell", "form"]
    ):
        x = "trained" if form == "diagonal" else "n"
        group = group[(group["n"] >= 128) | (form in {"diagonal", *APPROXIMATE})]
        if len(group) > 1:
            slope, memory = (np.polyfit(np.log(group[x]), np.log(group[y]), 1)[0] for y in ("us", "carried"))
            case = f"{cell}-{form}: exponent in {x}"
            fitted.append({"case": case, "cell": cell, "form": form, "exponent": slope, "memory_exponent": memory})
    return fitted


def _targets(row: pd.Series) -> list[tuple[str, str, float]]:
    if row["form"] == "diagonal":
        return [("over_immediate", "<=", 3)]
    if row["form"] in ("ODECell", "SDECell"):
        return [("over_hand", "<=", 1.5)]
    if row["cell"] != "ElmanCell":
        return [("over_floor", "<=", 2)] if row["form"] == "block" else []
    speedups = {"block": {128: 8, 256: 12}, "update_every": {128: 25, 256: 40}}.get(row["form"], {})
    targets = [("textbook_over", ">=", speedups[row["n"]])] if row["n"] in speedups else []
    if row["form"] == "block":
        targets += [("over_floor", "<=", 2.5 if row["n"] == 128 else 1.5)] if row["n"] >= 128 else []
        targets += [("exponent", "<=", 3.2)]
    return targets


def _judged(row: pd.Series) -> tuple[str, str]:
    """The targets of a row and whether each was met, where it was measured."""
    targets = [target for target in _targets(row) if not np.isnan(row[target[0]])]
    met = [row[name] >= bound if sign == ">=" else row[name] <= bound for name, sign, bound in targets]
    words = [f"{name} {sign} {bound:g}" for name, sign, bound in targets]
    return "; ".join(words), "; ".join("yes" if good else "no" for good in met)


def _device() -> str:
    if jax.default_backend() == "cpu":
        return "cpu"
    return re.sub(r"[^a-z0-9]+", "_", jax.devices()[0].device_kind.lower()).strip("_")
