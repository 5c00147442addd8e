"""The neural stochastic differential equation as a cell."""

import dataclasses
from collections.abc import Callable
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PRNGKeyArray, PyTree, Shaped

from rtrl._sizes import check_positive, check_sizes
from rtrl._trained import Frozen
from rtrl._types import Input, State
from rtrl.cells._base import AbstractCell
from rtrl.cells._solve import repeated, solver_step, stochastic_terms
from rtrl.cells._solver_checks import floating, one_line

COMMUTATIVE = diffrax.ItoMilstein, diffrax.StratonovichMilstein
"""Solvers that are right for commutative noise only."""


class SDECell(AbstractCell):
    r"""The solution of a stochastic differential equation from one observation to the next.

    $$dh = \mu_\theta(s, h, x_t)\, ds + \sigma_\theta(s, h, x_t)\, dW$$

    `drift(s, y, args)` gives (n,), `diffusion(s, y, args)` (n,) for diagonal noise or (n, m) for m Brownian motions;
    both are any Equinox modules or functions, whose arrays are trained. State: (n,), like `initial`, which is trained
    with `train_initial=True` only. Input: the pair (increments, args); args may be `None`, and `example_args` is one
    of them. The method `increments(key, time)` draws those of a whole stream. The noise is an input and not a random
    state, so that the state and its influence see the same path:

    $$dJ = (\partial_h \mu\, J + \partial_\theta \mu)\, ds + (\partial_h \sigma\, J + \partial_\theta \sigma)\, dW$$

    in the discretisation of `solver`, a Diffrax solver that decides between Itô's integral (Euler, ItoMilstein) and
    Stratonovich's (EulerHeun, Heun, and SRK methods such as SPaRK), with `substeps` equal steps in each `time_step`.
    Additive noise: a diffusion that does not use y. Milstein's methods need commutative noise: say
    `commutative=True` if a diffusion with m > 1 columns is.

    [Li et al. (2020)][li2020], "Scalable gradients for stochastic differential equations"; [Kidger (2021)][kidger2021],
    "On neural differential equations", arXiv 2202.02435.

    **Raises:** `ValueError` for a `substeps` below 1, a `time_step` that is not positive, a drift or diffusion of the
    wrong shape, or noise that is not declared commutative; `TypeError` if the solver cannot solve SDEs (an implicit one
    cannot), or `initial` is not an array; at a step, `ValueError` for increments of another shape than those that
    `increments` draws.

    **Example:**

    ```python
    drift = eqx.Partial(lambda rate, s, y, args: -rate * y, jnp.array(0.5))
    cell = rtrl.SDECell(drift, lambda s, y, args: jnp.ones(2), jnp.zeros(2), time_step=0.1)
    noise = cell.increments(key, 100)  # of a stream of 100 steps; the input of a step is (noise[t], None)
    state = cell(cell.initial_state(), (noise[0], None))
    ```
    """

    drift: Callable
    diffusion: Callable
    initial: Frozen | Float[Array, " n"]
    solver: diffrax.AbstractSolver
    time_step: float = eqx.field(static=True)
    substeps: int = eqx.field(static=True)
    commutative: bool = eqx.field(static=True)
    example_args: Frozen

    def __init__(
        self,
        drift: Callable,
        diffusion: Callable,
        initial: Shaped[ArrayLike, " n"],
        *,
        time_step: float,
        solver: diffrax.AbstractSolver | None = None,
        substeps: int = 1,
        commutative: bool = False,
        train_initial: bool = False,
        example_args: PyTree = None,
    ):
        check_sizes(substeps=substeps)
        check_positive(time_step=time_step)
        start = floating(initial)
        if getattr(start, "ndim", None) != 1 or jnp.iscomplexobj(start):
            raise TypeError(f"initial: expected real numbers of shape (n,), got {one_line(start)}")
        self.drift, self.diffusion, self.initial = drift, diffusion, start if train_initial else Frozen(start)
        self.solver = _differentiable(diffrax.EulerHeun() if solver is None else solver)
        self.time_step, self.substeps, self.commutative = time_step, substeps, commutative
        self.example_args = Frozen(example_args)

    def initial_state(self) -> State:
        return self.initial.value if isinstance(self.initial, Frozen) else self.initial

    def example_input(self) -> Input:
        increments = self.increments(jax.random.key(0), 1)
        return jax.tree.map(lambda w: w[0], increments), self.example_args.value

    def increments(self, key: PRNGKeyArray, time: int) -> Any:
        r"""Brownian increments for so many steps: $W \sim \mathcal N(0, \Delta t)$, (time, substeps, m).

        For SRK methods the pair (W, H), with the space-time Lévy area $H \sim \mathcal N(0, \Delta t / 12)$.
        """
        noise = jax.eval_shape(self.diffusion, 0.0, self.initial_state(), self.example_args.value)
        shape, dt = (time, self.substeps, noise.shape[-1]), self.time_step / self.substeps
        w_key, h_key = jax.random.split(key)
        w = dt**0.5 * jax.random.normal(w_key, shape, noise.dtype)
        if not isinstance(self.solver, diffrax.AbstractSRK):
            return w
        return w, (dt / 12) ** 0.5 * jax.random.normal(h_key, shape, noise.dtype)

    def __call__(self, state: State, x: Input) -> State:
        increments, args = x
        self._check(state, args)
        increments = self._checked(increments, state, args)
        dt = jnp.asarray(self.time_step / self.substeps, state.dtype)

        def step(i: Any, state: State) -> State:
            terms = stochastic_terms(
                self.drift, self.diffusion, _Increment(dt, jax.tree.map(lambda w: w[i], increments))
            )
            return solver_step(self.solver, terms, i * dt, (i + 1) * dt, state, args)

        return repeated(step, state, self.substeps)

    def _checked(self, increments: Any, state: Float[Array, " n"], args: Any) -> Any:
        """The increments, in the precision of the state."""
        noise = jax.eval_shape(self.diffusion, 0.0, state, args)
        expected = (self.substeps, noise.shape[-1])
        parts = 2 if isinstance(self.solver, diffrax.AbstractSRK) else 1
        found = increments if isinstance(increments, tuple | list) else (increments,)
        if len(found) != parts or any(jnp.shape(w) != expected for w in found):
            kind = "a pair of increments, both" if parts == 2 else "increments"
            raise ValueError(f"x: expected {kind} of shape {expected}, got {one_line(increments)}")
        return jax.tree.map(lambda w: jnp.asarray(w, state.dtype), increments)

    def _check(self, state: Float[Array, " n"], args: Any) -> None:
        drift, noise = (jax.eval_shape(f, 0.0, state, args).shape for f in (self.drift, self.diffusion))
        if drift != state.shape:
            raise ValueError(f"drift: expected shape {state.shape}, that of the state, got {drift}")
        if noise[:1] != state.shape or len(noise) > 2:
            raise ValueError(f"diffusion: expected shape {state.shape} or {(*state.shape, 'm')}, got {noise}")
        if isinstance(self.solver, COMMUTATIVE) and len(noise) == 2 and noise[1] > 1 and not self.commutative:
            raise ValueError(
                f"diffusion: expected commutative noise for {type(self.solver).__name__}, got {noise[1]} Brownian "
                f"motions that are not declared so; say commutative=True if they are, or use EulerHeun or Heun"
            )


class _Increment(diffrax.AbstractPath):
    """The increments of one step, as Diffrax's control of the diffusion."""

    t0: Any
    t1: Any
    increment: diffrax.AbstractBrownianIncrement

    def __init__(self, dt: Float[Array, ""], drawn: Any):
        self.t0, self.t1 = 0.0, None
        if isinstance(drawn, tuple):
            self.increment = diffrax.SpaceTimeLevyArea(dt=dt, W=drawn[0], H=drawn[1])
        else:
            self.increment = diffrax.BrownianIncrement(dt=dt, W=drawn)

    def evaluate(self, t0: Any, t1: Any = None, left: bool = True, use_levy: bool = False) -> Any:
        return self.increment if use_levy else self.increment.W


def _differentiable(solver: diffrax.AbstractSolver) -> diffrax.AbstractSolver:
    """The solver, its loop over stages (if it is an SRK method) one that can be differentiated both ways."""
    refused = diffrax.AbstractImplicitSolver | diffrax.AbstractWrappedSolver | diffrax.AbstractFosterLangevinSRK
    if isinstance(solver, refused) or not isinstance(
        solver, diffrax.AbstractItoSolver | diffrax.AbstractStratonovichSolver
    ):  # a wrapped solver would use the increment of a whole step for each part of it
        raise TypeError(
            f"solver: expected an explicit Diffrax solver of stochastic differential equations, "
            f"such as EulerHeun() or ItoMilstein(), got {type(solver).__name__}"
        )
    return dataclasses.replace(solver, scan_kind="lax") if isinstance(solver, diffrax.AbstractSRK) else solver
