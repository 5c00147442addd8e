"""One-step forecasts of series in which people have marked where they change."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Array, Float, Key, PRNGKeyArray

import rtrl
from artifact.comparison import begin, least, stages
from artifact.data import Annotated
from artifact.drift.adapting import running

PIECE = 25
"""Steps between two looks at whether a network has stopped learning."""


class Forecasts(NamedTuple):
    """One stream for each channel: scaled changes, zeros after their end; the next one is to be said at each step.

    `tuning` steps are not scored; a change marked by people is first seen in the error of the steps in `changes`.
    """

    names: Sequence[str]
    values: Float[np.ndarray, "streams longest"]
    lengths: Sequence[int]
    tuning: Sequence[int]
    changes: Sequence[Sequence[int]]


def agreed(marks: Sequence[Sequence[int]], margin: int = 5, votes: int = 2) -> list[int]:
    """The earliest of marks, each within `margin` steps of the one before, that so many people have set."""
    ordered = sorted((at, person) for person, marked in enumerate(marks) for at in marked)
    groups: list[list[tuple[int, int]]] = []
    for mark in ordered:
        if groups and mark[0] - groups[-1][-1][0] <= margin:
            groups[-1].append(mark)
        else:
            groups.append([mark])
    return [group[0][0] for group in groups if len({person for _, person in group}) >= votes]


def scaled_changes(series: Float[np.ndarray, " points"], least: int = 10) -> Float[np.ndarray, " changes"]:
    """First differences over the root mean square of all before, of the first `least` for those; cut off at ±5."""
    steps = np.diff(series)
    power = np.cumsum(steps**2) / np.arange(1, len(steps) + 1)
    known = np.concatenate([np.full(least, power[least - 1]), power[least - 1 : -1]])
    return np.clip(steps / np.sqrt(known), -5, 5)


def forecasts(series: dict[str, Annotated]) -> Forecasts:
    """Every channel a stream, whose first quarter, in whole pieces, is for tuning."""
    found = [
        (name, scaled_changes(channel), agreed(one.marks)) for name, one in series.items() for channel in one.values.T
    ]
    longest = -(-max(len(values) for _, values, _ in found) // PIECE) * PIECE + 1
    padded = np.array([np.pad(values, (0, longest - len(values))) for _, values, _ in found])
    lengths = [len(values) - 1 for _, values, _ in found]
    tuning = [length // 4 // PIECE * PIECE for length in lengths]
    changes = [
        [at - 2 for at in marks if start <= at - 2 < length]
        for (_, _, marks), start, length in zip(found, tuning, lengths, strict=True)
    ]
    return Forecasts([name for name, *_ in found], padded, lengths, tuning, changes)


def forecaster(units: int, key: PRNGKeyArray) -> rtrl.Model:
    """Leaky units that see the last value; untrained, the network says zero: that nothing will change."""
    cell_key, readout_key = jax.random.split(key)
    readout = eqx.nn.Linear(units, 1, key=readout_key)
    return rtrl.Model(rtrl.CTRNNCell(1, units, key=cell_key), jax.tree.map(jnp.zeros_like, readout))


def learned_along(
    learner: rtrl.Learner,
    model_of: Callable[[PRNGKeyArray], rtrl.Model],
    keys: Key[Array, " networks"],
    rates: Float[np.ndarray, " tried"],
    streams: Forecasts,
    stop: bool = False,
) -> Float[np.ndarray, "tried streams networks steps"]:
    """Losses of the same networks on every stream at every rate; with `stop` they learn on the tuning part only."""
    tried, found = len(rates), len(streams.lengths)
    each = len(keys)
    values = np.tile(np.repeat(streams.values, each, axis=0), (tried, 1))[..., None]
    rate, ends = np.repeat(rates, found * each), np.tile(np.repeat(streams.tuning, each), tried)
    states = begin(learner, model_of, jnp.tile(keys, tried * found))
    now = lambda at: rate * (at < ends) if stop else rate  # noqa: E731
    losses = [loss for _, loss in stages(learner, states, now, (values[:, :-1], values[:, 1:]), PIECE)]
    return np.concatenate(losses, axis=1).reshape(tried, found, each, -1)


def best_on_tuning(losses: Float[np.ndarray, "tried streams networks steps"], streams: Forecasts) -> list[int]:
    """For each stream the setting that lost least on the tuning part."""
    means = np.array([losses[:, i, :, :end].mean(axis=(1, 2)) for i, end in enumerate(streams.tuning)])
    return least(means.T).tolist()


def scored(
    losses: Float[np.ndarray, "streams steps"], streams: Forecasts, after: int = 0
) -> Float[np.ndarray, " streams"]:
    """Mean loss of each stream after its tuning part; with `after`, of so many steps from each marked change on."""
    means = []
    for loss, start, length, changes in zip(losses, streams.tuning, streams.lengths, streams.changes, strict=True):
        near = np.zeros(length, bool)
        for at in changes:
            near[at : at + after] = True
        means.append(loss[:length][near].mean() if after else loss[start:length].mean())
    return np.array(means)


def by_series(values: Float[np.ndarray, " streams"], streams: Forecasts) -> Float[np.ndarray, " series"]:
    """The mean over a series' channels, which are not independent."""
    names = np.array(streams.names)
    return np.array([values[names == name].mean() for name in dict.fromkeys(streams.names)])


def around_changes(
    ours: Float[np.ndarray, "streams steps"],
    theirs: Float[np.ndarray, "streams steps"],
    streams: Forecasts,
    before: int = 20,
    ahead: int = 60,
    size: int = 5,
) -> pd.DataFrame:
    """Log of one method's error over another's in bins around each marked change: a row a series, its mean.

    A hundredth of the variance is added to both, for bins in which nearly nothing moves. Columns: the bins' middles.
    """
    rows, of = [], []
    for i, changes in enumerate(streams.changes):
        for at in changes:
            if at >= before and at + ahead <= streams.lengths[i]:
                pair = np.stack([theirs[i], ours[i]])[:, at - before : at + ahead]
                above, below = np.log(running(pair, size) + 0.01)
                rows.append(above - below)
                of.append(streams.names[i])
    middles = np.arange(-before, ahead, size) + size / 2
    series = np.array(of)
    return pd.DataFrame(
        {
            at: [values[series == name].mean() for name in dict.fromkeys(of)]
            for at, values in zip(middles, np.array(rows).T, strict=True)
        }
    )
