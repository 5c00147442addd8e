"""Trace conditioning: a cue, a pause, and what the cue announced."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from rtrl._sizes import check_sizes
from rtrl.sequences import Sequences
from rtrl.tasks._trials import check_fits, one_after_another

Range = tuple[int, int]
CUE, OUTCOME = 4, 2
"""Steps for which the cue and the outcome are on."""


def trace_conditioning(
    key: PRNGKeyArray, steps: int, interval: Range, *, pause: Range = (80, 120), distractors: int = 10
) -> Sequences:
    r"""A cue of 4 steps, an outcome of 2 that begins `interval` steps after the cue did, a pause, and again.

    $$x_t = (\mathrm{cue}_t, \mathrm{outcome}_t, d_t), \qquad y_t = \mathrm{outcome}_{t+1}, \qquad
      G_t = \sum_{k \ge 0} \gamma^k y_{t+k}$$

    The interval is uniform over its range (shortest, longest), the pause between an outcome and the next cue over its
    own. Distractor i begins at a step with probability 1/(10 i) and stays on for 4 steps; it announces nothing. To be
    predicted is the return G, of which a learner sees the terms y one by one; `discounted_return` gives it for scoring
    and `trace_conditioning_levels` the least error and that of the best constant. Returns xs (time, 2 +
    distractors), ys (time,), `reset`, true where a cue begins, and `weight`, 1 everywhere.

    After [Rafiee et al. (2023)][rafiee2023], "From eye-blinks to state construction: diagnostic benchmarks for online
    representation learning", Adaptive Behavior 31(1).

    **Raises:** `ValueError` unless 4 < shortest ≤ longest and 0 < shortest pause ≤ longest pause, or if a trial is
    longer than the stream.
    """
    check_sizes(steps=steps)
    _check_ranges(interval, pause)
    check_fits("interval", interval[1] + OUTCOME + pause[1], steps)
    interval_key, pause_key, distractor_key = jax.random.split(key, 3)
    count = steps // (interval[0] + OUTCOME + pause[0]) + 2
    intervals = jax.random.randint(interval_key, (count,), interval[0], interval[1] + 1)
    pauses = jax.random.randint(pause_key, (count,), pause[0], pause[1] + 1)
    trials = one_after_another(intervals + OUTCOME + pauses, steps + 1)
    since = trials.position - intervals[trials.number]
    cue, outcome = trials.position < CUE, ((since >= 0) & (since < OUTCOME)).astype(float)
    rates = 1 / (10 * (1 + jnp.arange(distractors)))
    onsets = jax.random.bernoulli(distractor_key, jnp.broadcast_to(rates, (steps + CUE - 1, distractors)))
    noise = jnp.stack([onsets[i : i + steps] for i in range(CUE)]).any(axis=0)
    xs = jnp.column_stack([cue[:-1].astype(float), outcome[:-1], noise.astype(float)])
    return Sequences(xs, outcome[1:], trials.position[:-1] == 0, jnp.ones(steps))


def discounted_return(ys: Float[Array, " time"], discount: float) -> Float[Array, " time"]:
    r"""$G_t = y_t + \gamma G_{t+1}$, 0 after the end: the last few / (1 - γ) steps are not to be scored."""

    def before(after: Array, y: Array) -> tuple[Array, Array]:
        return (now := y + discount * after), now

    return jax.lax.scan(before, jnp.zeros_like(ys[0]), ys, reverse=True)[1]


def trace_conditioning_levels(interval: Range, discount: float, pause: Range = (80, 120)) -> tuple[float, float]:
    r"""The least mean squared error of the return, given the whole past, and that of the best constant.

    Let Y be the return from the step before a cue on, I the interval and P the pause: with
    $Y = \gamma^I (1 + \gamma) + \gamma^{I + 2 + P} Y'$, Y' independent and distributed like Y, its first two moments
    solve linear equations; those of the return at every step follow, with I or P conditioned on having lasted so far.
    """
    _check_ranges(interval, pause)
    g = discount
    i, p = (np.arange(low, high + 1) for low, high in (interval, pause))
    tail = g**2 * np.mean(g**p)
    tail2 = g**4 * np.mean(g ** (2 * p))
    mean = np.mean(g**i) * (1 + g) / (1 - np.mean(g**i) * tail)
    square = np.mean(g ** (2 * i)) * ((1 + g) ** 2 + 2 * (1 + g) * tail * mean)
    square /= 1 - np.mean(g ** (2 * i)) * tail2
    rows = []  # of each step of a trial: how often it comes, the mean and the mean square of its return
    for n in range(interval[1]):  # after step n of a trial the outcome is i - 1 - n steps of waiting away
        left = g ** (i[i > n] - 1 - n)
        after = np.array([(1 + g) + tail * mean, (1 + g) ** 2 + 2 * (1 + g) * tail * mean + tail2 * square])
        rows.append((np.mean(i > n), np.mean(left) * after[0], np.mean(left**2) * after[1]))
    rows.append((1.0, 1 + tail / g * mean, 1 + 2 * tail / g * mean + tail2 / g**2 * square))  # the outcome's first step
    for n in range(pause[1] + 1):  # its last step, and the pause: the next cue is on after p - n more steps
        left = g ** (p[p >= n] - n)
        rows.append((np.mean(p >= n), np.mean(left) * mean, np.mean(left**2) * square))
    often, means, squares = np.array(rows).T
    often /= often.sum()
    return float(often @ (squares - means**2)), float(often @ squares - (often @ means) ** 2)


def _check_ranges(interval: Range, pause: Range) -> None:
    for name, (low, high), least in (("interval", interval, CUE + 1), ("pause", pause, 1)):
        if not least <= low <= high:
            raise ValueError(f"{name}: expected two integers, {least} <= shortest <= longest, got {(low, high)}")
