"""Digits read pixel by pixel: one label at the end of each."""

import functools
from collections.abc import Callable, Iterator

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Array, Float, Int, Key, PyTree

import rtrl
from artifact.comparison import best
from artifact.data import digits, mnist1d
from artifact.long_memory import NETWORKS, Method, Task, around, elstm, naming, untrained

UNITS = 32
RATES = 0.003, 0.01, 0.03, 0.1

Digits = tuple[Float[np.ndarray, "digits pixels"], Int[np.ndarray, " digits"]]


def sets() -> dict[str, tuple[Digits, Digits]]:
    """What is learned from and what is named: the last fifth of the handwritten ones, MNIST-1D's own test set."""
    (xs, ys), _ = digits()
    count = len(ys) * 4 // 5
    return {"digits": ((xs[:count], ys[:count]), (xs[count:], ys[count:])), "mnist1d": mnist1d()[0]}


def read(
    task: Task,
    cell_of: Callable[..., rtrl.AbstractCell],
    method: Method,
    rates: Float[np.ndarray, " networks"],
    keys: Key[Array, " networks"],
    training: Digits,
    test: Digits,
    passes: int,
    *,
    told: bool,
    batch_size: int | None = None,
) -> Float[np.ndarray, "passes networks"]:
    """The share of test digits that networks name after each pass over the training digits, in a new order each.

    With `told` the network's state begins anew with each digit; without, one digit follows another. Test digits are
    read one by one, from the initial state, by all: those who were not told have met it once.
    """
    learner = method.learner(task)
    states = untrained(learner, task, cell_of, rates, keys, batch_size)
    shares = []
    for order in range(passes):
        shuffled = np.random.default_rng(order).permutation(len(training[1]))
        xs, ys = training[0][shuffled, :, None], training[1][shuffled]
        stream = rtrl.from_sequences(xs, ys, batch_size=batch_size)
        states = _pass(learner, states, *stream[:2], stream.reset if told else None, stream.weight)
        shares.append(np.asarray(_named(states.model, jnp.asarray(test[0][:, :, None]), jnp.asarray(test[1]))))
    return np.array(shares)


@eqx.filter_jit
def _pass(learner: rtrl.Learner, states: PyTree, xs: Array, ys: Array, reset: Array | None, weight: Array) -> PyTree:
    return eqx.filter_vmap(lambda state: learner.run(state, xs, ys, reset=reset, weight=weight)[0])(states)


@eqx.filter_jit
def _named(models: rtrl.Model, xs: Array, ys: Array) -> Float[Array, " networks"]:
    def one(model: rtrl.Model) -> Array:
        last = lambda digit: model.predictions(digit, model.cell.initial_state())[-1].argmax()  # noqa: E731
        return (jax.vmap(last)(xs) == ys).mean()

    return eqx.filter_vmap(one)(models)


def pixels() -> Iterator[pd.DataFrame]:
    """Who names how many digits; rates are chosen on the last fifth of the training digits, by networks not scored."""
    for data, (training, test) in sets().items():
        length = training[0].shape[1]
        task, cell = naming(lambda key, steps: (), 1, 10, length), elstm(UNITS, around(length))
        exact, whole = Method(rtrl.RTRL()), Method(rtrl.ChunkedBPTT(), length)
        methods = {  # with boundaries told or not, in how many parallel streams, in how many passes
            "RTRL": (exact, False, None, 1),
            "RTRL, boundaries told": (exact, True, None, 1),
            "TBPTT(10)": (Method(rtrl.TBPTT(10)), False, None, 1),
            "TBPTT(1)": (Method(rtrl.TBPTT(1)), False, None, 1),
            "BPTT": (whole, True, None, 1),
            "RTRL, ten passes": (Method(rtrl.RTRL(), 8), False, None, 10),
            "RTRL, an update a digit, ten passes": (Method(rtrl.RTRL(), length), False, None, 10),
            "BPTT, ten passes": (whole, True, None, 10),
            "BPTT, batches of 16, ten passes": (whole, True, 16, 10),
        }
        for name, (method, told, batch_size, passes) in methods.items():
            learn = functools.partial(read, task, cell, method, passes=passes, told=told, batch_size=batch_size)
            tuning, scored = jax.random.split(jax.random.key(length), (2, NETWORKS))
            rates, fifth = np.repeat(RATES, NETWORKS // len(RATES)), len(training[1]) // 5
            xs, ys = training
            found = learn(rates, tuning, (xs[:-fifth], ys[:-fifth]), (xs[-fifth:], ys[-fifth:]))[-1]
            rate = best(rates[:: NETWORKS // len(RATES)], -found)
            shares = learn(np.full(NETWORKS, rate), scored, training, test)[-1]
            print(data, name, rate, shares.mean(), flush=True)
            yield pd.DataFrame(
                {"data": data, "method": name, "network": range(NETWORKS), "rate": rate, "share": shares}
            )
