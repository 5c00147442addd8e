"""The parts of the study of long memory with tasks that others have used."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

import rtrl
from artifact.long_memory import Task, around, naming
from artifact.memory_parts import CHUNKS, EXACT, IMMEDIATE, UNITS, WINDOWS, Rows, at_rate, tuned, within
from rtrl.tasks import adding_problem, anbn, copy_memory

PERIODIC = {"RTRL, every 128": EXACT["RTRL, every 128"], "TBPTT(1)": IMMEDIATE["TBPTT(1)"]}


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


def word(delay: int) -> Task:
    """Copy memory; solved: 99 of 100 symbols are right, over the last hundred words of ten (chance: 1/8)."""
    stream = functools.partial(copy_memory, delay=delay)
    return naming(stream, 10, 8, delay + 20, solved=0.01, window=1000)


def lstm(span: int) -> Callable[..., rtrl.AbstractCell]:
    return functools.partial(rtrl.LSTMCell, hidden_size=UNITS, timescales=around(span))


def adding() -> Rows:
    """The adding problem with an LSTM; over 200 steps at the rate that was best for 50."""
    rates: dict[str, float] = {}
    for length in (50, 200):
        methods = {"RTRL, every 128": EXACT["RTRL, every 128"], "chunks of 128": CHUNKS["chunks of 128"]}
        if length == 50:
            reaching = {"chunks, twice": within(length)["chunks, twice"]}
            methods |= (
                {"RTRL, every 16": EXACT["RTRL, every 16"], "TBPTT(1)": IMMEDIATE["TBPTT(1)"]} | CHUNKS | reaching
            )
        for name, method in methods.items():
            task, cell, labels = sum_of_two(length), lstm(length), {"length": length, "method": name}
            rows = (
                at_rate(task, cell, method, 6000, rates[name], **labels)
                if name in rates
                else tuned(task, cell, method, 6000, **labels)
            )
            rates[name] = float(rows["rate"].iloc[0])
            yield rows


def adding_long() -> Rows:
    """The same over 1000 steps, at the rates that were best for 50."""
    length = 1000
    methods = PERIODIC | {"chunks of 128": CHUNKS["chunks of 128"], "chunks, twice": within(length)["chunks, twice"]}
    for name, method in methods.items():
        rate = 0.03 if name == "TBPTT(1)" else 0.01
        yield at_rate(sum_of_two(length), lstm(length), method, 6000, rate, length=length, method=name)


def counting() -> Rows:
    """Words aⁿbⁿ up to n = N with an LSTM."""
    for longest in (10, 20, 40):
        methods = {name: EXACT[name] for name in ("RTRL", "RTRL, every 16")} | CHUNKS
        methods |= {"TBPTT(1)": IMMEDIATE["TBPTT(1)"], "TBPTT(10)": WINDOWS["TBPTT(10)"]}
        for name, method in methods.items():
            yield tuned(words(longest), lstm(longest), method, 4000, longest=longest, method=name)


def copying() -> Rows:
    """Copy memory over 50 steps with an LRU, whose readout alone, on the modes that it begins with, copies a part."""
    reaching = {"chunks, twice": within(70)["chunks, twice"]}
    for name, method in (PERIODIC | CHUNKS | reaching).items():
        cell = functools.partial(rtrl.LRUCell, hidden_size=64, timescales=around(50))
        yield tuned(word(50), cell, method, 3000, rates=(0.0003, 0.001, 0.003), delay=50, method=name)


def copying_long() -> Rows:
    """The same over 500 steps, at the one rate that was tried there."""
    for name, method in (PERIODIC | {"chunks of 128": CHUNKS["chunks of 128"]}).items():
        cell = functools.partial(rtrl.LRUCell, hidden_size=256, timescales=around(500))
        yield at_rate(word(500), cell, method, 3000, 0.0003, delay=500, method=name)
