"""Rivals that follow a stream without a recurrent network: they predict, are scored, and learn."""

from typing import Any

import numpy as np
from jaxtyping import Float

from artifact.comparison import Stream

Features = Float[np.ndarray, "streams steps features"]


def lagged(values: Float[np.ndarray, "streams steps channels"], lags: int) -> Features:
    """At each step the last `lags` values of all channels, the newest first, zeros before the beginning, and a one."""
    streams, steps, channels = values.shape
    padded = np.concatenate([np.zeros((streams, lags - 1, channels)), values], axis=1)
    windows = np.lib.stride_tricks.sliding_window_view(padded, lags, axis=1)[..., ::-1]
    ones = np.ones((streams, steps, 1))
    return np.concatenate([windows.transpose(0, 1, 3, 2).reshape(streams, steps, -1), ones], axis=2)


def recursive_least_squares(
    xs: Features, ys: Float[np.ndarray, "streams steps"], forgetting: Float[np.ndarray, " streams"]
) -> Float[np.ndarray, "streams steps"]:
    r"""Squared errors of linear predictions, each made before its target is learned from.

    $$g = P x / (\lambda + x^\top P x), \quad w \leftarrow w + g\,(y - w^\top x), \quad
      P \leftarrow (P - g\, x^\top P) / \lambda,$$

    from $w = 0$, $P = 100\,I$, with a factor λ for each stream; P is kept symmetric, or rounding would grow.
    Haykin (2002), Adaptive Filter Theory, chapter 9.
    """
    streams, steps, size = xs.shape
    weights, P = np.zeros((streams, size)), np.tile(100 * np.eye(size), (streams, 1, 1))
    factor, errors = forgetting[:, None], np.empty((streams, steps))
    for t in range(steps):
        x = xs[:, t]
        Px = np.matmul(P, x[:, :, None])[:, :, 0]
        spread = factor + (x * Px).sum(axis=1, keepdims=True)
        errors[:, t] = ys[:, t] - (weights * x).sum(axis=1)
        weights += Px / spread * errors[:, t, None]
        Px /= np.sqrt(spread)  # so that the product below, and P with it, stays symmetric to the last bit
        P -= Px[:, :, None] * Px[:, None, :]
        P /= factor[:, :, None]
    return errors**2


def tuned_least_squares(
    tuning: Stream, stream: Stream, factors: Float[np.ndarray, " tried"], lags: int
) -> Float[np.ndarray, "streams steps"]:
    """Its squared errors on each stream, at the one of the forgetting factors with the lowest mean on the tuning ones.

    It sees the last `lags` inputs; targets have one channel.
    """
    (first, target), (xs, ys) = tuning, stream
    known, count = lagged(first, lags), len(first)
    means = [recursive_least_squares(known, target[..., 0], np.full(count, f)).mean() for f in factors]
    return recursive_least_squares(lagged(xs, lags), ys[..., 0], np.full(len(xs), factors[int(np.argmin(means))]))


def predict_then_learn(
    model: Any, xs: Float[np.ndarray, "steps features"], ys: Float[np.ndarray, " steps"], detector: Any = None
) -> Float[np.ndarray, " steps"]:
    """Squared errors of a regressor of river, each made before its target is learned from.

    With a `detector` of drift, which watches the squared errors, the model starts anew whenever it finds one.
    """
    names, errors = [str(i) for i in range(xs.shape[1])], np.empty(len(ys))
    for t, (values, y) in enumerate(zip(xs.tolist(), ys.tolist(), strict=True)):
        x = dict(zip(names, values, strict=True))
        errors[t] = model.predict_one(x) - y
        model.learn_one(x, y)
        if detector is not None:
            detector.update(errors[t] ** 2)
            model = model.clone() if detector.drift_detected else model
    with np.errstate(over="ignore"):  # of one that breaks down
        return errors**2


def forecast_then_learn(model: Any, ys: Float[np.ndarray, " steps"]) -> Float[np.ndarray, " steps"]:
    """The same for a forecaster of river, which keeps the lags itself."""
    errors = np.empty(len(ys))
    for t, y in enumerate(ys.tolist()):
        errors[t] = model.forecast(1)[0] - y
        model.learn_one(y)
    with np.errstate(over="ignore"):
        return errors**2
