"""What is timed: online learning of one cell, float32, one SGD update after every step or every window."""

import dataclasses
import functools
import time

import equinox as eqx
import jax
import numpy as np
import optax

import rtrl
from artifact.cost.accelerator import model_of, reading, squared_error, stream
from artifact.notebook import timed
from rtrl.cells import recurrent_parameters
from rtrl.learner import _run as run_whole_windows

INPUTS = 32
APPROXIMATE = {
    "SnAp(1)": rtrl.SnAp(1),
    "SnAp(2), 90% zeros": rtrl.SnAp(2),
    "e-prop": rtrl.EProp(),
    "RFLO": rtrl.RFLO(),
    "UORO": rtrl.UORO(),
    "KF-RTRL": rtrl.KFRTRL(),
    "OK(4)": rtrl.OK(4),
    "sketch(8)": rtrl.SketchedRTRL(8),
}
BUDGET = 0.15
"""Seconds that one round should take; a round never has less than one whole block or window."""


@dataclasses.dataclass(frozen=True)
class Case:
    """A cell of n units (a stack: of so many layers), the form of the gradient, and so many streams at once."""

    cell: str
    form: str
    n: int
    batch: int = 1
    layers: int = 0

    def __str__(self):
        stacked = f"x{self.layers}" if self.layers else ""
        return f"{self.cell}{stacked}-{self.form}-{self.n}" + (f"-batch{self.batch}" if self.batch > 1 else "")

    @functools.cached_property
    def instance(self) -> rtrl.AbstractCell:
        make = getattr(rtrl, self.cell)
        key = jax.random.key(0)
        if self.form.endswith("% zeros"):
            return make(INPUTS, self.n, key=key, mask=rtrl.random_mask(key, self.n, 0.9))
        if not self.layers:
            return make(INPUTS, self.n, key=key)
        return rtrl.StackedCell([make(self.n, self.n, key=k) for k in jax.random.split(key, self.layers)])

    @property
    def update_every(self) -> int:
        return self.n if self.form == "update_every" else 1

    @property
    def estimator(self):
        forms = APPROXIMATE | {
            "textbook": rtrl.RTRL(block_size=None),
            "update_every": rtrl.RTRL(block_size=self.n),
            "immediate": rtrl.TBPTT(1),
            "layer_local": rtrl.LayerLocalRTRL(),
        }
        return forms.get(self.form, rtrl.RTRL())

    @property
    def parameters(self) -> int:
        """P: those that the state depends on."""
        return sum(leaf.size for leaf in jax.tree.leaves(recurrent_parameters(self.instance)))

    @property
    def trained(self) -> int:
        """Those and what only the output uses."""
        return sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(self.instance, eqx.is_inexact_array)))

    @property
    def influence(self) -> tuple[int, int] | None:
        """Rows and columns of J, all streams' on top of each other; of a diagonal cell what it keeps of them."""
        if self.layers or self.form == "immediate" or self.form in APPROXIMATE:
            return None
        cell = self.instance
        parts = len(jax.tree.leaves(cell.initial_state()))
        return self.batch * parts * (self.n if isinstance(cell, rtrl.AbstractDenseCell) else 1), self.parameters

    @property
    def period(self) -> int:
        """The steps after which costs repeat: a block or a window."""
        if self.form == "block":
            form = rtrl.RTRL().form(self.instance)
            return getattr(form, "size", 1)
        return self.update_every

    @property
    def steps(self) -> int:
        """The length of a round, from a rough estimate of 50 GFLOP/s and 5 GB/s."""
        rows, columns = self.influence or (4 * self.n, 4 * self.parameters // self.n)
        seconds = 2e-5 + rows * columns * 4 / 5e9
        if self.form == "textbook":
            seconds += 2 * rows**2 * columns / self.batch / 50e9
        periods = max(1, round(BUDGET / seconds / self.period))
        return max(2, min(2000 // self.period, periods) * self.period)

    @property
    def learner(self) -> rtrl.Learner:
        return rtrl.Learner(squared_error, self.estimator, optax.sgd(1e-4), update_every=self.update_every)

    def start(self, learner: rtrl.Learner):
        model = model_of(self.instance)
        return learner.init(model, batch_size=self.batch if self.batch > 1 else None, key=jax.random.key(3))

    def stream(self, steps: int):
        return stream(self.instance, steps, (self.batch,) if self.batch > 1 else ())


def compiled_run(learner: rtrl.Learner, state, xs, ys):
    """What `learner.run` compiles, how long that takes in seconds, and the bytes it needs beside what it is given."""
    fixed = learner, (xs, ys, None, None), 0
    begin = time.perf_counter()
    compiled = run_whole_windows.lower(fixed, state).compile()
    seconds = time.perf_counter() - begin
    memory = compiled.compiled.memory_analysis()
    return lambda state: compiled(fixed, state), seconds, memory and memory.temp_size_in_bytes


@functools.cache
def floor(rows: int, columns: int) -> float:
    """Microseconds of the faster of two streaming reads of J: its sum, and the product v J."""
    reads = reading((rows, columns)).values()
    return min(1e6 * float(np.median(timed(read, repeats=15))) for read in reads)
