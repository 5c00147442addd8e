"""Tasks whose credit is due long after the act, and how soon many networks at once solve them."""

import dataclasses
import functools
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
from jaxtyping import Array, Float, Key, PRNGKeyArray, PyTree

import rtrl
from artifact.comparison import States, begin, in_whole_windows
from rtrl.tasks import selective_recall

NETWORKS = 12
"""Of the kept study, for each point."""

GAIN = 3.0
"""By which inputs are multiplied: cells draw their weights in proportion to 1/√units, which is small for few inputs."""


@dataclasses.dataclass(frozen=True)
class Task:
    """Trials one after another, of `trial` steps in the mean; `stream` makes them from a key and a number of steps.

    A network has solved it when the mean `error` of its last `window` answers is at most `solved`.
    """

    stream: Callable[[PRNGKeyArray, int], tuple]
    inputs: int
    outputs: int
    trial: int
    loss: Callable[[Array, Array], Array]
    error: Callable[[Array, Array], Array]
    solved: float
    window: int = 100


def named(prediction: Array, y: Array) -> Array:
    """1 if the wrong symbol is named."""
    return (prediction.argmax() != y).astype(float)


def naming(stream: Callable, inputs: int, outputs: int, trial: int, solved: float = 0.05, window: int = 100) -> Task:
    """A task that asks for one of the numbers from 0 on."""
    loss = optax.softmax_cross_entropy_with_integer_labels
    return Task(stream, inputs, outputs, trial, loss, named, solved, window)


@functools.cache
def recall(delay: int, symbols: int = 2, marked: int = 1, random_delay: bool = False) -> Task:
    """Solved: 95 of the last 100 answers are right."""
    stream = functools.partial(selective_recall, delay=delay, symbols=symbols, marked=marked, random_delay=random_delay)
    return naming(stream, symbols + 2 * marked, symbols, delay + marked)


@dataclasses.dataclass(frozen=True)
class Method:
    """An estimator, the period of its updates and an optax optimizer."""

    estimator: rtrl.AbstractEstimator
    update_every: int = 1
    optimizer: Callable[..., optax.GradientTransformation] = optax.adam

    def learner(self, task: Task) -> rtrl.Learner:
        return rtrl.Learner(task.loss, self.estimator, _with_rate(self.optimizer), self.update_every, report=task.error)


@functools.cache
def _with_rate(optimizer: Callable[..., optax.GradientTransformation]) -> optax.GradientTransformation:
    """With a learning rate that can be set from outside; one for all learners, so that none is compiled twice."""
    return optax.inject_hyperparams(optimizer)(learning_rate=0.0)


def model_of(task: Task, cell_of: Callable[..., rtrl.AbstractCell], key: PRNGKeyArray) -> rtrl.Model:
    """A cell (from a number of inputs and a key), with a linear readout."""
    cell_key, readout_key = jax.random.split(key)
    cell = cell_of(task.inputs, key=cell_key)
    width = jax.eval_shape(lambda: cell.output(cell.initial_state(), cell.example_input())).size
    return rtrl.Model(cell, eqx.nn.Linear(width, task.outputs, key=readout_key))


def elstm(units: int, timescales: tuple[float, float]) -> Callable[..., rtrl.AbstractCell]:
    return functools.partial(rtrl.ELSTMCell, hidden_size=units, timescales=timescales)


def around(delay: float, factor: float = 3.0) -> tuple[float, float]:
    """Time constants from a third of a delay to three times it."""
    return delay / factor, delay * factor


def solve(
    task: Task,
    cell_of: Callable[..., rtrl.AbstractCell],
    method: Method,
    rates: Float[np.ndarray, " networks"],
    keys: Key[Array, " networks"],
    trials: int,
    *,
    to_the_end: bool = False,
) -> pd.DataFrame:
    """Trains networks, each at its own rate, until all have solved the task or seen so many trials.

    A row each: the `rate`; the step at which it had `solved` the task (NaN if it has not); the mean `error` of its
    last answers; the step after which it had `diverged` (NaN if all stayed finite). What comes after so many trials of
    mean length does not count. With `to_the_end` training goes on when all have solved it.
    """
    learner, steps = method.learner(task), piece(task, method.update_every)
    states = untrained(learner, task, cell_of, rates, keys)
    answers: list[list[np.ndarray]] = [[np.zeros(0)] * 2 for _ in keys]  # when, and how wrong
    diverged = np.full(len(keys), np.nan)
    for done in range(0, trials * task.trial, steps):
        xs, ys, weight = _streams(task, jax.vmap(jax.random.fold_in, (0, None))(keys, done), steps)
        states, *outputs = _run(learner, states, xs, ys, weight)
        for i, (asked, error, finite) in enumerate(zip(*map(np.asarray, (weight, *outputs)), strict=True)):
            at = np.flatnonzero(asked)
            answers[i] = [np.append(old, new) for old, new in zip(answers[i], (done + at, error[at]), strict=True)]
            if np.isnan(diverged[i]) and not finite.all():
                diverged[i] = done + finite.argmin()
        ends = np.fmin(diverged, trials * task.trial)
        solved = np.array([solved_at(task, at, errors, end) for (at, errors), end in zip(answers, ends, strict=True)])
        if not to_the_end and not np.isnan(np.fmin(solved, diverged)).any():
            break
    last = [errors[-task.window :].mean() for _, errors in answers]
    return pd.DataFrame({"rate": rates, "solved": solved, "error": last, "diverged": diverged})


def untrained(
    learner: rtrl.Learner,
    task: Task,
    cell_of: Callable[..., rtrl.AbstractCell],
    rates: Float[np.ndarray, " networks"],
    keys: Key[Array, " networks"],
    batch_size: int | None = None,
) -> States:
    """Fresh networks, each with its own rate, for streams that are cut between two updates only."""
    states = begin(learner, functools.partial(model_of, task, cell_of), keys, batch_size)
    return in_whole_windows(rtrl.set_hyperparameters(states, learning_rate=jnp.asarray(rates, float)))


def piece(task: Task, update_every: int) -> int:
    """Steps between two looks at the networks: at least ten trials, in whole windows."""
    return -(-max(8192, 10 * task.trial) // update_every) * update_every


def solved_at(task: Task, at: np.ndarray, errors: np.ndarray, end: float = np.nan) -> float:
    """The first step before `end` at which the mean error of the last answers was low enough; NaN if there is none."""
    before = errors[: len(errors) if np.isnan(end) else np.searchsorted(at, end)]
    if len(before) < task.window:
        return np.nan
    low = np.convolve(before, np.ones(task.window), "valid") <= task.solved * task.window + 1e-9
    return float(at[low.argmax() + task.window - 1]) if low.any() else np.nan


@eqx.filter_jit
def _streams(task: Task, keys: Key[Array, " networks"], steps: int) -> tuple[PyTree, PyTree, Array]:
    """Inputs, multiplied by `GAIN`, targets and weights for each network."""

    def one(key: PRNGKeyArray) -> tuple[PyTree, PyTree, Array]:
        xs, ys, _, weight = task.stream(key, steps)
        return GAIN * xs, ys, weight

    return jax.vmap(one)(keys)


@eqx.filter_jit
def _run(learner: rtrl.Learner, states: States, xs: PyTree, ys: PyTree, weight: Array) -> PyTree:
    """The states after a stream; the error at each step, and whether all was finite. One program for all delays."""

    def one(state: PyTree, xs: PyTree, ys: PyTree, weight: Array) -> PyTree:
        state, out = learner.run(state, xs, ys, weight=weight)
        return state, out.report, out.finite

    return eqx.filter_vmap(one)(states, xs, ys, weight)
