"""What a step costs, on paper: operations and bytes by form and cell, and a machine's rates for them."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import least_squares

FLOAT = 4
"""Bytes of a number."""


@dataclasses.dataclass(frozen=True)
class Cell:
    """Matrices that act on a unit's state or inputs, numbers in its state, elementary functions in its gate."""

    gates: int
    parts: int
    elementary: int


CELLS = {
    "ElmanCell": Cell(1, 1, 1),
    "CTRNNCell": Cell(1, 1, 2),
    "GRUCell": Cell(3, 1, 3),
    "LSTMCell": Cell(4, 2, 5),
    "LRUCell": Cell(2, 2, 4),
    "RTUCell": Cell(2, 2, 4),
    "ELSTMCell": Cell(3, 1, 5),
}
FORMS = "textbook", "block", "update_every", "diagonal", "immediate", "SnAp(1)", "e-prop", "RFLO", "UORO"
"""That the model knows; SnAp(2), KF-RTRL, OK and sketches factorise or sort, and are not modelled."""


@dataclasses.dataclass(frozen=True)
class Work:
    """Of one step: operations in matrix products, bytes of J that are streamed past them, the bytes of J itself, bytes
    of parameters, gradients and traces, and elementary functions.
    """

    operations: float
    streamed: float
    influence: float
    passed: float
    elementary: float


@dataclasses.dataclass(frozen=True)
class Machine:
    """Seconds of a step beside all work; operations a second; bytes a second of a J that fits into `cache` bytes, of a
    larger one, and of all that is small; seconds of an elementary function.
    """

    overhead: float
    operations: float
    from_cache: float
    from_memory: float
    small: float
    elementary: float
    cache: float = 64e6


def work(cell: str, form: str, n: int, parameters: int, trained: int, batch: int = 1) -> Work:
    """Of a cell of n units, P parameters that its state depends on and T that are trained, in float32.

    A dense J has R = parts·n rows. A product of D with J takes 2R²P operations; in blocks of S steps the fold takes
    2R²P/S + 2RP + 2RGn² a step (Φ J, its immediate terms, and Φ itself, for G gates) and the sweep reads S/2 copies of
    the recurrent weights. Every step reads the parameters twice, forward and back, and writes their gradient and the
    new ones: 4T for the optimizer, 3T a stream.
    """
    of, P, T, B = CELLS[cell], parameters, trained, batch
    G, R = of.gates, of.parts * n
    J, weights = FLOAT * B * R * P, FLOAT * G * n * n
    steps = n if form == "update_every" else 1  # between two updates
    passed = FLOAT * (4 * T / steps + 3 * T * B)
    operations = streamed = influence = 0.0
    if form == "textbook":
        operations, streamed, influence = 2 * R * R * P * B, 3 * J, J
    elif form in ("block", "update_every"):
        S = R // 4 if form == "block" else n
        operations = B * (2 * R * R * P / S + 2 * R * P + 2 * R * G * n * n)
        streamed, influence = J * (1 / steps + 2 / S), J
        swept = S / 2 if form == "block" else 2
        passed += swept * weights * B + 4 * FLOAT * R * G * n * B
    elif form == "diagonal":
        passed += 3 * FLOAT * of.parts * P * B
    elif form in ("SnAp(1)", "e-prop", "RFLO"):
        passed += 3 * FLOAT * P * B
    elif form == "UORO":
        passed += 8 * FLOAT * P * B
    elif form != "immediate":
        raise ValueError(f"form: expected one of {', '.join(FORMS)}, got {form!r}")
    return Work(operations, streamed, influence, passed, of.elementary * n * B)


def seconds(of: Work, machine: Machine) -> float:
    """Of a step: products and the streaming of J overlap, and the longer of the two counts; the rest is added."""
    bandwidth = machine.from_cache if of.influence <= machine.cache else machine.from_memory
    products = max(of.operations / machine.operations, of.streamed / bandwidth)
    return machine.overhead + products + of.passed / machine.small + of.elementary * machine.elementary


def modelled(cases: pd.DataFrame) -> pd.DataFrame:
    """Those of the benchmark's cases that the model knows, with the `work` of each."""
    known = cases[cases["form"].isin(FORMS) & cases["n"].notna()]
    columns = ("cell", "form", "n", "parameters", "trained", "batch")
    rows = zip(*(known[column] for column in columns), strict=True)
    of = [work(cell, form, int(n), P, T, int(batch)) for cell, form, n, P, T, batch in rows]
    return known.assign(work=of)


def calibrated(cases: pd.DataFrame) -> Machine:
    """The six rates that fit the measured times ("us") of cases, by the logarithm of their ratio, robustly."""
    measured = cases["us"].to_numpy() * 1e-6
    guess = np.log([1e-6, 1e11, 3e10, 1e10, 5e10, 2e-8])

    def off(logs: np.ndarray) -> np.ndarray:
        machine = Machine(*np.exp(logs))
        return np.log([seconds(of, machine) for of in cases["work"]] / measured)

    return Machine(*np.exp(least_squares(off, guess, loss="soft_l1", f_scale=0.2).x))


def predictions(cases: pd.DataFrame, machine: Machine) -> pd.DataFrame:
    """The cases with the time that the model gives, in microseconds, and its ratio to the measured one."""
    us = np.array([1e6 * seconds(of, machine) for of in cases["work"]])
    return cases.assign(modelled=us, ratio=us / cases["us"])


def elman(n: int, inputs: int) -> Mapping[str, Any]:
    """What `work` asks about an Elman network in blocks."""
    parameters = n * (n + inputs + 1)
    return {"cell": "ElmanCell", "form": "block", "n": n, "parameters": parameters, "trained": parameters}
