"""Who speaks, frame by frame: networks, a linear classifier of single frames, and dynamic time warping."""

import functools
from typing import Literal

import equinox as eqx
import jax
import numpy as np
from dtaidistance import dtw_ndim
from jaxtyping import Array, Bool, Float, Int, Key
from sklearn.linear_model import LogisticRegression

import rtrl
from artifact.comparison import ModelOf, Rates, begin, best, stage
from artifact.data import Utterances

Rule = Literal["last frame", "accumulated"]
RULES: tuple[Rule, Rule] = ("last frame", "accumulated")
PENALTIES = 0.01, 0.1, 1.0, 10.0, 100.0
"""Of the linear classifier (the C of scikit-learn)."""
Decisions = Int[np.ndarray, "networks utterances frames"]


def scaled(utterances: Utterances, reference: Utterances) -> Utterances:
    """Frames in units of the reference's mean and standard deviation, zero past an utterance's end."""
    centre, spread = (of(reference.frames, axis=(0, 1)) for of in (np.nanmean, np.nanstd))
    return utterances._replace(frames=np.nan_to_num((utterances.frames - centre) / spread))


def in_order(spoken: Utterances, order: Int[np.ndarray, " said"]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Utterances one after the other: frames, their speakers, and whether a frame is an utterance's first.

    As many frames as there are utterances of them in all, whatever the order, so that all is compiled once.
    """
    lengths = spoken.lengths[order]
    first = np.cumsum(lengths) - lengths
    which, within = np.repeat(order, lengths), np.arange(lengths.sum()) - np.repeat(first, lengths)
    steps = slice(0, spoken.lengths.sum())
    return spoken.frames.astype(np.float32)[which, within][steps], spoken.speakers[which][steps], (within == 0)[steps]


def cross_entropy(logits: Array, speaker: Array) -> Array:
    """Minus the logarithm of the speaker's probability."""
    return -jax.nn.log_softmax(logits)[speaker]


@functools.cache
def speaker_network(units: int) -> ModelOf:
    """From a key to an eLSTM with a logit for each of nine speakers."""

    def model_of(key: Array) -> rtrl.Model:
        cell_key, readout_key = jax.random.split(key)
        return rtrl.Model(rtrl.ELSTMCell(12, units, key=cell_key), eqx.nn.Linear(units, 9, key=readout_key))

    return model_of


def taught(
    learner: rtrl.Learner,
    model_of: ModelOf,
    keys: Key[Array, " networks"],
    rates: Rates,
    spoken: Utterances,
    chosen: Bool[np.ndarray, " utterances"],
    passes: int,
    seed: int,
) -> rtrl.Model:
    """Networks after several passes, utterances each time in another order, the rate falling from pass to pass."""
    rng, enough = np.random.default_rng(seed), 2 * len(spoken.lengths)
    orders = [[np.resize(rng.permutation(np.flatnonzero(chosen)), enough) for _ in range(passes)] for _ in keys]
    falling = np.outer(0.5 + 0.5 * np.cos(np.pi * np.arange(passes) / passes), rates)
    states = begin(learner, model_of, keys)
    for now, of_networks in zip(falling.astype(np.float32), zip(*orders, strict=True), strict=True):
        frames, speakers, first = map(np.stack, zip(*(in_order(spoken, order) for order in of_networks), strict=True))
        states, _ = stage(learner, states, now, frames, speakers, reset=first)
    return states.model


@eqx.filter_jit
def log_probabilities(
    models: rtrl.Model, frames: Array | np.ndarray
) -> Float[Array, "networks utterances frames speakers"]:
    """Of networks that do not learn any more."""
    return eqx.filter_vmap(lambda model: jax.vmap(lambda xs: jax.nn.log_softmax(model.predictions(xs)))(frames))(models)


def decided(
    logs: Float[np.ndarray, "networks utterances frames speakers"], utterances: Utterances, rule: Rule
) -> Decisions:
    """The speaker named after each frame, and after an utterance's end still, from the log probabilities of frames."""
    named = (logs.cumsum(axis=2) if rule == "accumulated" else logs).argmax(axis=-1)
    last = np.minimum(np.arange(named.shape[2]), utterances.lengths[:, None] - 1)
    return np.take_along_axis(named, np.broadcast_to(last, named.shape), axis=2)


def network_logs(models: rtrl.Model, utterances: Utterances) -> np.ndarray:
    """`log_probabilities` of scaled utterances."""
    return np.asarray(log_probabilities(models, utterances.frames.astype(np.float32)))


def held_out(utterances: Utterances) -> Bool[np.ndarray, " utterances"]:
    """Every fifth utterance, which tuning does not train on."""
    return np.arange(len(utterances.lengths)) % 5 == 0


def frame_classifier(spoken: Utterances, chosen: Bool[np.ndarray, " utterances"], penalty: float) -> LogisticRegression:
    """Logistic regression of the speaker on a single frame, every frame of the chosen utterances an example."""
    frames, speakers, _ = in_order(spoken, np.flatnonzero(chosen))
    return LogisticRegression(C=penalty, max_iter=1000).fit(frames, speakers)


def frame_logs(classifier: LogisticRegression, utterances: Utterances) -> np.ndarray:
    """The classifier's log probabilities, (1, utterances, frames, speakers), as those of one network."""
    shape = utterances.frames.shape
    flat = classifier.predict_log_proba(utterances.frames.astype(np.float32).reshape(-1, shape[2]))
    return flat.reshape(1, *shape[:2], -1)


def linear(spoken: Utterances, heard: Utterances, rule: Rule) -> tuple[Decisions, float]:
    """Decisions on `heard`, and the penalty with the fewest errors on the training utterances held out."""
    held = held_out(spoken)

    def errors(penalty: float) -> float:
        logs = frame_logs(frame_classifier(spoken, ~held, penalty), spoken)
        return float((decided(logs, spoken, rule)[0, held, -1] != spoken.speakers[held]).mean())

    penalty = min(PENALTIES, key=errors)
    return decided(frame_logs(frame_classifier(spoken, held | ~held, penalty), heard), heard, rule), penalty


def warped(spoken: Utterances, heard: Utterances, frames_heard: int) -> Int[np.ndarray, " utterances"]:
    """The speaker of the nearest neighbour by dynamic time warping, after so many frames of each utterance."""
    ours, theirs = (
        [np.ascontiguousarray(f[: min(n, end)], float) for f, n in zip(u.frames, u.lengths, strict=True)]
        for u, end in ((spoken, spoken.frames.shape[1]), (heard, frames_heard))
    )
    distances = np.array([[dtw_ndim.distance_fast(b, a) for a in ours] for b in theirs])
    return spoken.speakers[distances.argmin(axis=1)]


def chosen_rule(
    logs: Float[np.ndarray, "runs utterances frames speakers"], spoken: Utterances, rates: Rates
) -> tuple[Rule, float]:
    """The rule and the rate with the fewest errors on the training utterances held out."""
    held = held_out(spoken)
    wrong = {rule: (decided(logs, spoken, rule)[:, held, -1] != spoken.speakers[held]).mean(axis=1) for rule in RULES}
    rule = min(RULES, key=lambda rule: wrong[rule].reshape(len(rates), -1).mean(axis=1).min())
    return rule, best(rates, wrong[rule])
