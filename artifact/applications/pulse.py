"""The pulse wave: heartbeats in it, artifacts put into it, and how well they are found."""

from collections.abc import Sequence
from typing import NamedTuple

import equinox as eqx
import heartpy
import jax
import numpy as np
import scipy.ndimage
import scipy.signal
from jaxtyping import Array, Bool, Float, Int
from sklearn.metrics import roc_auc_score, roc_curve

import rtrl
from artifact.applications.networks import Single
from artifact.comparison import ModelOf
from artifact.data import Recording

KINDS = ["flat line", "spikes", "motion", "lost pulse"]
FALSE_ALARMS = np.linspace(0, 1, 201)


def rate_of(recording: Recording) -> float:
    """Samples a second."""
    return float((len(recording.signal) - 1) / recording.seconds[-1])


class Beats(NamedTuple):
    """Seconds of the beats, the intervals between them in ms, and which of those are plausible."""

    seconds: Float[np.ndarray, " beats"]
    intervals: Float[np.ndarray, " intervals"]
    plausible: Bool[np.ndarray, " intervals"]


def beats_of(recording: Recording) -> Beats:
    """Beats as `heartpy` finds them; an interval a quarter off the median of the last eleven good ones is none."""
    hertz = rate_of(recording)
    seconds = np.array(heartpy.process(recording.signal, hertz)[0]["peaklist"]) / hertz
    intervals = 1000 * np.diff(seconds)
    plausible = np.ones(len(intervals), bool)
    for i, interval in enumerate(intervals):
        before = intervals[:i][plausible[:i]][-11:]
        plausible[i] = not len(before) or abs(interval / np.median(before) - 1) < 0.25
    return Beats(seconds, intervals, plausible)


def wave_of(recording: Recording) -> tuple[Float[np.ndarray, " samples"], int, float]:
    """A quarter of the samples, a whole number of thousands; half that number; and samples a second.

    Scaled by mean and standard deviation of the first half.
    """
    wave = scipy.signal.resample_poly(recording.signal - recording.signal.mean(), 1, 4)
    half = len(wave) // 1000 * 500
    return ((wave - wave[:half].mean()) / wave[:half].std())[: 2 * half], half, rate_of(recording) / 4


def disturbed_at(beats: Beats, samples: int, hertz: float) -> Bool[np.ndarray, " samples"]:
    """Where a recording has artifacts of its own: within three seconds of a beat that ends an implausible interval."""
    disturbed = np.zeros(samples, bool)
    for second in beats.seconds[1:][~beats.plausible]:
        disturbed[max(0, int((second - 3) * hertz)) : int((second + 3) * hertz)] = True
    return disturbed


def artifact(kind: str, piece: Float[np.ndarray, " samples"], rng: np.random.Generator) -> np.ndarray:
    """A piece of a wave, spoiled."""
    time = np.linspace(0, 1, len(piece))
    if kind == "flat line":
        return np.full(len(piece), piece[0])
    if kind == "spikes":
        return piece + rng.normal(0, 1.5, len(piece)) * (rng.uniform(size=len(piece)) < 0.2)
    if kind == "motion":
        return piece + 1.5 * np.sin(np.pi * time) * np.sin(2 * np.pi * rng.uniform(2, 4) * time + rng.uniform(0, 6))
    return piece.mean() + 0.1 * (piece - piece.mean())  # the pulse is lost


def injected(
    wave: Float[np.ndarray, " samples"], half: int, disturbed: Bool[np.ndarray, " samples"], seeds: Sequence[int]
) -> tuple[Float[np.ndarray, " samples"], Int[np.ndarray, " samples"]]:
    """The wave with three artifacts of each kind, 1 to 3 s long, at random places of its second half, and where."""
    rng, changed, marks = np.random.default_rng(seeds), wave.copy(), np.zeros(len(wave), int)
    for kind in 3 * KINDS:
        while True:
            at, length = rng.integers(half + 100, len(wave) - 200), rng.integers(25, 75)
            around = slice(at - 75, at + length + 75)
            if not (marks[around].any() or disturbed[around].any()):
                break
        changed[at : at + length] = artifact(kind, wave[at : at + length], rng)
        marks[at : at + length] = 1 + KINDS.index(kind)
    return changed, marks


def rolling_z(waves: Float[np.ndarray, "waves samples"], samples: int) -> Float[np.ndarray, "waves samples"]:
    """How far each sample is from the mean of the last ones, in their standard deviations."""
    mean, square = (np.asarray(scipy.signal.lfilter(np.ones(samples) / samples, 1, a)) for a in (waves, waves**2))
    return np.abs(waves - mean) / np.sqrt(np.maximum(square - mean**2, 1e-6))


def alarm(
    errors: Float[np.ndarray, "waves steps"], samples: int, smooth: int = 25
) -> Float[np.ndarray, "waves samples"]:
    """The mean of errors over a second around each sample; what is not finite, or not there, is no alarm."""
    padded = np.pad(np.nan_to_num(errors, nan=0, posinf=0), ((0, 0), (0, samples - errors.shape[1])))
    return scipy.ndimage.uniform_filter1d(padded, smooth, axis=1)


def detection(
    alarms: Float[np.ndarray, "waves samples"],
    marks: Int[np.ndarray, "waves samples"],
    counted: Bool[np.ndarray, "waves samples"],
    kind: int | None = None,
) -> tuple[Float[np.ndarray, "waves shares"], Float[np.ndarray, " waves"]]:
    """For each wave the share of artifacts detected at each of `FALSE_ALARMS`, and the area under the ROC curve.

    Of one kind of artifact only, if it is given. An alarm that is the same everywhere is chance, with area 1/2.
    """
    left = counted if kind is None else counted & ((marks == 0) | (marks == kind))
    curves, areas = [], []
    for values, mark, c in zip(alarms, marks, left, strict=True):
        false, true, _ = roc_curve(mark[c] > 0, values[c])
        curves.append(np.interp(FALSE_ALARMS, false, true))
        areas.append(roc_auc_score(mark[c] > 0, values[c]))
    return np.array(curves), np.array(areas)


def resonator(units: int) -> ModelOf:
    """From a key to recurrent trace units: damped rotations, which a pulse excites, and stable by construction."""

    def model_of(key: Array) -> rtrl.Model:
        cell_key, readout_key = jax.random.split(key)
        cell = rtrl.RTUCell(1, units, key=cell_key, max_phase=np.pi)
        return rtrl.Model(cell, Single(eqx.nn.Linear(2 * units, 1, key=readout_key)))

    return model_of
