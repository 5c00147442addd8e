"""Every estimator with the settings that the laws try, the kinds that it must serve, and what it promises there."""

import functools
from typing import NamedTuple

import jax
import numpy as np
from law_cells import ARBITRARY, DENSE, DIAGONAL, KINDS, STACKS, UNITS, halves, template, whole

import rtrl

STEPS = 6


class Tried(NamedTuple):
    """An estimator, made for a kind of model; the steps between updates; the kinds that it must serve."""

    make: object
    every: int
    serves: frozenset


def kinds(*groups):
    return frozenset(kind for group in groups for kind in group)


DENSE_TOO, STACKS_TOO = [*DENSE, "shared"], [*STACKS, "tied words"]
ANY, LEAKY = kinds(KINDS), kinds(["elman", "ctrnn", "frozen recurrent weights", "shared"])


def constant(estimator):
    return lambda kind: estimator


ESTIMATORS = {
    "RTRL": Tried(constant(rtrl.RTRL()), 1, ANY),
    "RTRL, every 3": Tried(constant(rtrl.RTRL()), 3, ANY),
    "block 2": Tried(constant(rtrl.RTRL(block_size=2)), 1, kinds(DENSE_TOO, STACKS_TOO)),
    "block 2, every 3": Tried(constant(rtrl.RTRL(block_size=2)), 3, kinds(DENSE_TOO, STACKS_TOO)),
    "block 4, every 3": Tried(constant(rtrl.RTRL(block_size=4)), 3, kinds(DENSE_TOO, STACKS_TOO)),
    "BPTT": Tried(constant(rtrl.BPTT()), 1, ANY),
    "TBPTT 1": Tried(constant(rtrl.TBPTT(1)), 1, ANY),
    "TBPTT 3": Tried(constant(rtrl.TBPTT(3)), 1, ANY),
    "TBPTT 4, every 3": Tried(constant(rtrl.TBPTT(4)), 3, ANY),
    "TBPTT whole": Tried(constant(rtrl.TBPTT(STEPS)), 1, ANY),
    "chunks of 1": Tried(constant(rtrl.ChunkedBPTT()), 1, ANY),
    "chunks of 3": Tried(constant(rtrl.ChunkedBPTT()), 3, ANY),
    "chunks of 4": Tried(constant(rtrl.ChunkedBPTT()), 4, ANY),
    "layer-local": Tried(constant(rtrl.LayerLocalRTRL()), 1, kinds(STACKS_TOO)),
    "layer-local, every 3": Tried(constant(rtrl.LayerLocalRTRL()), 3, kinds(STACKS_TOO)),
    "layer-local blocks": Tried(constant(rtrl.LayerLocalRTRL(rtrl.RTRL(block_size=2))), 1, kinds(STACKS_TOO)),
    "SnAp 1": Tried(constant(rtrl.SnAp(1)), 1, kinds(DENSE_TOO, DIAGONAL)),
    "SnAp 2": Tried(constant(rtrl.SnAp(2)), 1, kinds(["masked lstm"], DIAGONAL)),
    "SnAp 3": Tried(constant(rtrl.SnAp(UNITS)), 1, kinds(["masked lstm"], DIAGONAL)),
    "EProp": Tried(constant(rtrl.EProp()), 1, kinds(DENSE_TOO, DIAGONAL)),
    "RFLO": Tried(constant(rtrl.RFLO()), 1, LEAKY),
    "UORO": Tried(constant(rtrl.UORO()), 1, ANY),
    "KFRTRL": Tried(constant(rtrl.KFRTRL()), 1, kinds(DENSE_TOO)),
    "OK 1": Tried(constant(rtrl.OK(1)), 1, kinds(DENSE_TOO)),
    "OK full": Tried(constant(rtrl.OK(max(UNITS, 2))), 1, kinds(DENSE_TOO)),
    "sketched 1": Tried(constant(rtrl.SketchedRTRL(1)), 1, kinds(DENSE_TOO, ARBITRARY)),
    "sketched full": Tried(lambda kind: rtrl.SketchedRTRL(state_size(kind)), 1, kinds(DENSE_TOO, ARBITRARY)),
}


@functools.cache
def state_size(kind):
    state = whole(*halves(template(kind))).cell.initial_state()
    return sum(leaf.size * (2 if leaf.dtype.kind == "c" else 1) for leaf in map(np.asarray, jax.tree.leaves(state)))


def promised(name, kind):
    """Where credit is cut for the loss of each step, and until where layers are apart; `None`: no exact promise."""
    estimator, every = ESTIMATORS[name].make(kind), ESTIMATORS[name].every
    steps, nowhere, together = np.arange(STEPS), np.full(STEPS, -1), np.zeros(STEPS, int)
    if isinstance(estimator, rtrl.TBPTT):
        begin = steps + 1 - estimator.horizon
        return np.where(begin > 0, begin, -1), together
    if isinstance(estimator, rtrl.ChunkedBPTT):
        begin = steps // every * every
        return np.where(begin > 0, begin, -1), together
    if isinstance(estimator, rtrl.LayerLocalRTRL):
        return nowhere, steps // every * every
    full = name in ("OK full", "sketched full", "SnAp 3")
    within_units = kind in DIAGONAL and isinstance(estimator, rtrl.SnAp | rtrl.EProp)
    return (nowhere, together) if isinstance(estimator, rtrl.RTRL | rtrl.BPTT) or full or within_units else None


def listed(table):
    return [(kind, name) for name, names in table.items() for kind in names.split(", ")]


CHOSEN = listed(
    {
        "RTRL": ", ".join(KINDS),
        "RTRL, every 3": "odd dense, odd diagonal, complex, encoded",
        "block 2": "odd dense, masked lstm, frozen recurrent weights, encoded",
        "block 2, every 3": "odd dense",
        "block 4, every 3": "gru, shared",
        "BPTT": "odd dense, words",
        "TBPTT 1": "odd dense",
        "TBPTT 3": "odd dense, odd diagonal, nested, encoded",
        "TBPTT 4, every 3": "complex",
        "TBPTT whole": "odd diagonal",
        "chunks of 1": "elstm",
        "chunks of 3": "odd dense, words",
        "chunks of 4": "nested",
        "layer-local": "encoded, tied words",
        "layer-local, every 3": "encoded, deep residual stack",
        "layer-local blocks": "words",
        "SnAp 1": "odd dense, odd diagonal",
        "SnAp 2": "masked lstm, lru",
        "SnAp 3": "masked lstm",
        "EProp": "odd dense, frozen input weights",
        "RFLO": "ctrnn",
        "UORO": "odd dense, complex, encoded",
        "KFRTRL": "odd dense",
        "OK 1": "frozen bias",
        "OK full": "odd dense, masked lstm",
        "sketched 1": "odd dense",
        "sketched full": "odd dense, nested, complex",
    }
)
"""The programs of a short run: every kind, every estimator, and each form on the odd cells."""

WITHOUT = listed({"RTRL": "gru, odd diagonal, words", "block 2, every 3": "lstm", "TBPTT 3": "odd dense"})
"""Of a short run, without resets and weights."""

SINGLE = listed({"RTRL": "gru, odd diagonal, complex, encoded", "block 2": "odd dense", "UORO": "nested"})
"""Of a short run, in float32."""


def programs(short):
    """(kind, estimator, dtype, whether there are resets and weights): those of a short run, or all that are served."""
    if short:
        chosen = ((CHOSEN, "float64", True), (WITHOUT, "float64", False), (SINGLE, "float32", True))
        return [(*pair, dtype, flags) for pairs, dtype, flags in chosen for pair in pairs]
    served = [(kind, name) for kind in KINDS for name, tried in ESTIMATORS.items() if kind in tried.serves]
    settings = (("float64", True), ("float64", False), ("float32", True))
    return [(*pair, *setting) for pair in served for setting in settings]
