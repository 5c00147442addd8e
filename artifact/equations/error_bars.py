"""Error bars from the influence matrix, and what makes them right."""

import equinox as eqx
import jax
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

import rtrl
from artifact.statistics import newey_west_lags


@eqx.filter_jit
@eqx.filter_vmap
def influence_rows(
    model: rtrl.Model, xs: PyTree, ys: Float[Array, "time 1"]
) -> tuple[Float[Array, "time parameters"], Float[Array, " time"]]:
    r"""The derivative of each scalar prediction, $g_t = \nabla c\, J_t$, and its error $y_t - \hat y_t$.

    Along a stream with the parameters as they are. Vmapped over models and streams.
    """

    def step(carry: tuple, xy: tuple) -> tuple:
        state, pullback, memory = rtrl.RTRL().step(model.cell, carry[0], xy[0], carry[1])
        gradient = pullback(jax.grad(lambda h: model.predict(h, xy[0])[0])(state))
        return (state, memory), (ravel_pytree(gradient)[0], xy[1][0] - model.predict(state, xy[0])[0])

    start = model.cell.initial_state(), rtrl.RTRL().init(model.cell, model.cell.initial_state())
    return jax.lax.scan(step, start, (xs, ys))[1]


def newton_step(
    rows: Float[np.ndarray, "time parameters"], errors: Float[np.ndarray, " time"]
) -> dict[str, Float[np.ndarray, " parameters"]]:
    r"""How far least squares is from here, $\delta = (\sum g^\top g)^{-1} \sum g^\top e$, and standard errors.

    One Gauss-Newton step from an estimate near enough is as good as the least-squares estimate itself: Le Cam's
    one-step estimator; van der Vaart (1998), "Asymptotic statistics", 5.7. `white` are the standard errors for white
    prediction errors, $s^2 (\sum g^\top g)^{-1}$, `robust` those of Newey & West (1987), "A simple, positive
    semi-definite, heteroskedasticity and autocorrelation consistent covariance matrix", Econometrica 55(3), with
    4 (T/100)^(2/9) lags. NaN where a network has diverged.
    """
    import statsmodels.api as sm  # here, because it takes a second or two that most notebooks need not wait for

    if not (np.isfinite(rows).all() and np.isfinite(errors).all()):
        return dict.fromkeys(("step", "white", "robust"), np.full(rows.shape[1], np.nan))
    regression = sm.OLS(np.asarray(errors, float), np.asarray(rows, float))
    robust = regression.fit(cov_type="HAC", cov_kwds={"maxlags": newey_west_lags(len(errors))})
    information = np.asarray(rows, float).T @ rows / np.mean(np.square(errors, dtype=float))
    white = np.sqrt(np.diag(np.linalg.inv(information)))
    return {"step": robust.params, "white": white, "robust": robust.bse}
