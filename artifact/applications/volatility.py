"""What econometricians forecast tomorrow's variance with, and how they compare forecasts."""

import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
import scipy.signal
from arch import arch_model
from arch.bootstrap import MCS
from arch.utility.exceptions import StartingValueWarning
from jaxtyping import Float

from artifact.data import Bars

Daily = Float[np.ndarray, " days"]

FAMILY: dict[str, dict[str, Any]] = {
    "GARCH": {"vol": "GARCH", "p": 1, "o": 0, "q": 1},
    "GJR-GARCH": {"vol": "GARCH", "p": 1, "o": 1, "q": 1},
    "EGARCH": {"vol": "EGARCH", "p": 1, "o": 1, "q": 1},
}
"""Bollerslev (1986); Glosten, Jagannathan & Runkle (1993); Nelson (1991)."""


def qlike(variance: Daily, r: Daily) -> Daily:
    """The loss log v + r²/v; no logarithm of a return, so that days without a change of price need no care."""
    return np.log(variance) + r**2 / variance


def riskmetrics(r: Daily, decay: float = 0.94) -> Daily:
    """The exponentially weighted mean of the squared returns of the days before."""
    before = np.concatenate([[r[:250].var()], r[:-1] ** 2])
    smoothed, _ = scipy.signal.lfilter([1 - decay], [1, -decay], before, zi=[decay * before[0]])
    return smoothed


def refits(opening: int, days: int, every: int) -> Iterator[slice]:
    """The days of the test between two refits."""
    return (slice(at, min(at + every, days)) for at in range(opening, days, every))


def garch(r: Daily, opening: int, every: int, form: str) -> Daily:
    """Variances one day ahead from day `opening` on, by a model of `FAMILY` with mean 0 and Student's t errors.

    Parameters are fitted anew by maximum likelihood every so many days on all days before, from the last ones on.
    """
    start, variances = None, []
    for ours in refits(opening, len(r), every):
        options = FAMILY[form] | {"mean": "Zero", "dist": "t", "rescale": False}
        with warnings.catch_warnings():  # of a start on the edge of what is allowed, which is then not used
            warnings.simplefilter("ignore", StartingValueWarning)
            fit = arch_model(r[: ours.start], **options).fit(disp="off", show_warning=False, starting_values=start)
        start = np.asarray(fit.params)
        whole = arch_model(r[: ours.stop], **options).fix(start)
        variances.append(np.asarray(whole.conditional_volatility)[ours] ** 2)
    return np.concatenate(variances)


def garman_klass(bars: Bars) -> Daily:
    """A day's variance from its range, (log H/L)²/2 - (2 log 2 - 1)(log C/O)², in percent²; Garman & Klass (1980)."""
    wide, moved = np.log(bars.high / bars.low), np.log(bars.close / bars.open)
    return 1e4 * (wide**2 / 2 - (2 * np.log(2) - 1) * moved**2)


def har(measured: Daily, r: Daily, opening: int, every: int) -> Daily:
    """Variances one day ahead from day `opening` on: the logarithm of a day's measured variance, regressed on that of
    the day before and its means over 5 and 22 days; Corsi (2009), "A simple approximate long-memory model of realized
    volatility", Journal of Financial Econometrics 7(2).

    Fitted anew as `garch`; scaled so that past forecasts had the mean of the squared returns, which the logarithm and
    the night, when no range is seen, take away from it.
    """
    logs = pd.Series(np.log(measured))
    means = [logs.shift(1).rolling(length).mean() for length in (1, 5, 22)]
    x, forecasts = np.column_stack([np.ones(len(r)), *means]), []
    for ours in refits(opening, len(r), every):
        past = slice(22, ours.start)
        weights = np.linalg.lstsq(x[past], logs[past], rcond=None)[0]
        scale = np.mean(r[past] ** 2) / np.mean(np.exp(x[past] @ weights))
        forecasts.append(scale * np.exp(x[ours] @ weights))
    return np.concatenate(forecasts)


def confidence_set(losses: Mapping[str, Daily], size: float = 0.1) -> pd.Series:
    """The p-value of each forecast in the model confidence set, which holds those with p of at least `size`.

    Differences of losses are resampled 2,000 times by the stationary bootstrap, in blocks of sqrt(days) on average;
    Hansen, Lunde & Nason (2011), "The model confidence set", Econometrica 79(2).
    """
    table = pd.DataFrame(losses)
    chosen = MCS(table, size=size, reps=2000, block_size=int(len(table) ** 0.5), bootstrap="stationary", seed=0)
    chosen.compute()
    return pd.Series(chosen.pvalues["Pvalue"]).reindex(table.columns)
