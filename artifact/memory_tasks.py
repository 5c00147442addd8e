"""The parts of the study of long memory with tasks that others have used."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

import rtrl
from artifact.long_memory import Task, around, naming
from artifact.memory_parts import CHUNKS, EXACT, IMMEDIATE, UNITS, WINDOWS, Rows, tuned, within
from rtrl.tasks import adding_problem, anbn


def sum_of_two(length: int) -> Task:
    """The adding problem; solved: a mean squared error of 0.01 over 100 sums (chance: 1/6)."""

    def squared_error(prediction: jax.Array, y: jax.Array) -> jax.Array:
        return jnp.sum((prediction - y) ** 2)

    stream = functools.partial(adding_problem, length=length)
    return Task(stream, 2, 1, length, squared_error, squared_error, 0.01)


def words(longest: int) -> Task:
    """The language aⁿbⁿ; solved: in a hundred words or so, a tenth of the errors of one that never ends a word.

    The b's of a word are (N + 1) / 2 in the mean, and such a one is wrong at the last of them.
    """
    stream = functools.partial(anbn, longest=longest)
    return naming(stream, 2, 2, longest + 1, solved=0.2 / (longest + 1), window=50 * (longest + 1))


def lstm(span: int) -> Callable[..., rtrl.AbstractCell]:
    return functools.partial(rtrl.LSTMCell, hidden_size=UNITS, timescales=around(span))


def adding() -> Rows:
    """The adding problem with an LSTM; a window that is swept at every step would take hours."""
    for length in (50, 200):
        methods = {name: EXACT[name] for name in ("RTRL, every 16", "RTRL, every 128")} | CHUNKS
        methods |= {"TBPTT(1)": IMMEDIATE["TBPTT(1)"], "chunks, twice": within(length)["chunks, twice"]}
        for name, method in methods.items():
            yield tuned(sum_of_two(length), lstm(length), method, 6000, length=length, method=name)


def counting() -> Rows:
    """Words aⁿbⁿ up to n = N with an LSTM."""
    for longest in (10, 20, 40):
        methods = {name: EXACT[name] for name in ("RTRL", "RTRL, every 16")} | CHUNKS
        methods |= {"TBPTT(1)": IMMEDIATE["TBPTT(1)"], "TBPTT(10)": WINDOWS["TBPTT(10)"]}
        for name, method in methods.items():
            yield tuned(words(longest), lstm(longest), method, 4000, longest=longest, method=name)
