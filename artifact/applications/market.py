"""Networks that forecast the logarithm of tomorrow's variance, and go on learning."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, PyTree

import rtrl
from artifact.applications.networks import go_on, trials
from artifact.comparison import ModelOf, Rates, States, Stream, best, train

LOSS_SCALE = 0.01
"""Keeps the clipping of the gradient, at norm 1, from cutting off the days that matter."""
CHUNK = 500
"""Days that compile together."""


def likelihood_loss(log_variance: Array, r: Array) -> Array:
    """QLIKE, scaled down."""
    return LOSS_SCALE * (log_variance + r**2 * jnp.exp(-log_variance))


@dataclasses.dataclass(frozen=True)
class Market:
    """Series of daily returns that are learned side by side, and the days on which this is done.

    Days up to `learned` are trained on; of these, for tuning, those up to `validated`, and the rest chooses. The test
    begins at `opening`. `unit` is each series' standard deviation before the test.
    """

    returns: Float[np.ndarray, "series days"]
    opening: int
    learned: int
    validated: int

    @property
    def unit(self) -> Float[np.ndarray, " series"]:
        return np.array([r[: self.opening].std() for r in self.returns])

    def stream(self, which: Int[np.ndarray, " networks"], first: int, last: int) -> Stream:
        """Returns and their sizes, and the return of the day after; days first to last - 1 are predicted."""
        r = (self.returns / self.unit[:, None])[which].astype(np.float32)
        now = r[:, first - 1 : last - 1]
        return np.stack([now, np.abs(now)], axis=2), r[:, first:last]


def whole_chunks(stream: Stream) -> Stream:
    """A stream whose last day is repeated until it fills a chunk."""
    days = jax.tree.leaves(stream)[0].shape[1]
    at = np.minimum(np.arange(-(-days // CHUNK) * CHUNK), days - 1)
    return jax.tree.map(lambda a: a[:, at], stream)


class Forecasts(NamedTuple):
    """Daily QLIKE (series, networks, days) of networks that learn on, and frozen, with the rate and share chosen."""

    learning: Float[np.ndarray, "series networks days"]
    frozen: Float[np.ndarray, "series networks days"]
    rate: float
    share: float


@dataclasses.dataclass(frozen=True)
class Forecasters:
    """Networks of one kind on a market; `enter` makes of the inputs what their cell takes."""

    market: Market
    learner: rtrl.Learner
    model_of: ModelOf
    keys: Key[Array, " networks"]
    passes: int
    enter: Callable[[Any], Any] = lambda xs: xs

    def trained(self, which: Int[np.ndarray, " runs"], keys: Array, rates: Rates, days: int) -> States:
        """Networks after several passes over the first days."""
        xs, ys = self.market.stream(which, 1, days + 1)
        return train(self.learner, self.model_of, keys, rates, (self.enter(xs), ys), days * self.passes)[0]

    def losses(
        self, states: States, which: Int[np.ndarray, " runs"], rates: Rates, first: int, last: int
    ) -> np.ndarray:
        """Each day's QLIKE, in the units of the stream, of networks that go on learning at these rates."""
        xs, ys = whole_chunks(self.market.stream(which, first, last))
        return go_on(self.learner, states, rates, (self.enter(xs), ys), CHUNK)[1][:, : last - first] / LOSS_SCALE

    def tuned(self, rates: Rates) -> tuple[float, float]:
        """The rate of training, and its share at which learning goes on, that were best on the days that choose."""
        market, series = self.market, len(self.market.returns)
        few, falling = trials(len(self.keys), rates)
        which, falling = np.repeat(np.arange(series), len(few)), np.tile(falling, series)
        states = self.trained(which, jnp.concatenate([self.keys[few]] * series), falling, market.validated)
        days = market.validated + 1, market.learned + 1
        tries = {share: self.losses(states, which, share * falling, *days).mean(axis=1) for share in (0.1, 0.3, 1.0)}
        by_rate = {s: t.reshape(series, len(rates), -1).mean(axis=(0, 2)) for s, t in tries.items()}
        share = min(by_rate, key=lambda s: np.nan_to_num(by_rate[s], nan=np.inf).min())
        return best(rates, by_rate[share]), share

    def forecasts(self, rates: Rates) -> Forecasts:
        """Tuned, trained and tested."""
        market, series = self.market, len(self.market.returns)
        rate, share = self.tuned(rates)
        which, every = np.repeat(np.arange(series), len(self.keys)), np.full(series * len(self.keys), rate, np.float32)
        states = self.trained(which, jnp.concatenate([self.keys] * series), every, market.learned)
        units, days = np.log(market.unit[which, None] ** 2), (market.opening, market.returns.shape[1])
        on, frozen = (units + self.losses(states, which, f * every, *days) for f in (share, 0.0))
        shape = series, len(self.keys), -1
        return Forecasts(on.reshape(shape), frozen.reshape(shape), rate, share)


class Reversion(eqx.Module):
    """Each part of the log variance reverts to its level, with a learned correction."""

    log_rate: jax.Array
    level: jax.Array
    correction: eqx.nn.MLP

    def __call__(self, t: Array, y: Array, args: PyTree) -> Array:
        return jnp.exp(self.log_rate) * (self.level - y) + 0.01 * self.correction(y)


class News(eqx.Module):
    """What a return and its size, in units of the volatility of now, do to each part of the log variance."""

    response: jax.Array
    correction: eqx.nn.MLP

    def __call__(self, t: Array, y: Array, args: PyTree) -> Array:
        return (self.response + 0.01 * self.correction(y).reshape(2, 2)) * jnp.exp(-jnp.maximum(y.sum(), -4.0) / 2)


class Total(eqx.Module):
    """The sum of the parts of the log variance, and an offset."""

    offset: jax.Array

    def __call__(self, h: Array) -> Array:
        return h.sum() + self.offset


def egarch(key: Array) -> rtrl.Model:
    """A neural SDE of the log variance, driven by returns: a continuous EGARCH whose coefficients are networks."""
    drift_key, news_key = jax.random.split(key)
    rate, response = jnp.array([0.02, 0.2]), jnp.array([[-0.05, 0.06], [-0.05, 0.05]])
    level = -0.8 * response[:, 1] / rate  # E|z| is 0.8: the log variance is 0 on average
    drift = Reversion(jnp.log(rate), level, eqx.nn.MLP(2, 2, 8, 1, jnp.tanh, key=drift_key))
    news = News(response, eqx.nn.MLP(2, 4, 8, 1, jnp.tanh, key=news_key))
    return rtrl.Model(
        rtrl.SDECell(drift, news, jnp.zeros(2), time_step=1.0, solver=diffrax.Euler()), Total(jnp.zeros(()))
    )


def as_increments(xs: np.ndarray) -> tuple[np.ndarray, None]:
    """Inputs as increments of what drives the SDE."""
    return xs[:, :, None, :], None
