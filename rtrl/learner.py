"""Online learning: a model, a gradient estimator and an optimizer, one update per time step or window of steps."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jax.core import Tracer
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, PRNGKeyArray, PyTree

from rtrl._checks import check_like, check_model, check_one, check_step, check_stream, flags, numbers
from rtrl._fingerprint import check_same, fingerprint
from rtrl._learner_state import LearnerState, NonFiniteError, OpenWindow, StepOutput, open_window
from rtrl._sizes import check_sizes, named
from rtrl._streams import branch, over_batch, over_streams, scan, stream_axes
from rtrl._trained import trained
from rtrl._types import Input, Target
from rtrl._update import ForUpdate, all_finite, updated
from rtrl.cells import begun
from rtrl.estimators import (
    AbstractEstimator,
    add,
    key_of,
    largest,
    outputs_of,
    over_steps,
    through_outputs,
)
from rtrl.gradient import (
    Loss,
    StepGradient,
    StreamState,
    begin_stream,
    check_online,
    loss_gradient,
    of_parts,
    to_shared,
    window_gradient,
)
from rtrl.memory import check_fits
from rtrl.model import ModelOrShared, whole
from rtrl.sharding import kept, readable


class Learner(eqx.Module):
    r"""Predict, score, learn: at every time step one gradient estimate and one optimizer update.

    $$\theta_{t+1} = \theta_t + \mathrm{optimizer}(g_t), \qquad g_t \approx w_t \, d\ell_t/d\theta$$

    `loss(prediction, target)` gives a scalar; `estimator` is any of `rtrl`'s online estimators; `optimizer`
    an optax gradient transformation, which is given the loss as `value`. With `update_every=k` the parameters stay for
    k steps and are updated with the mean of k gradients.

    `report(prediction, target)` replaces the predictions in the output, for metrics of long streams. `nonfinite` says
    what becomes of a loss or gradient that is not finite: `"report"` sets `finite` to false and goes on, `"raise"`
    raises `NonFiniteError` (under `jit` or `vmap` an `equinox.EquinoxRuntimeError`), `"restart"` leaves the stream's
    gradient out of the update and begins that stream anew. With `donate=True`, `step` and `run` take over the
    memory of the state they are given, which cannot be used again, and update the influence matrix in place.

    **Raises:** `ValueError` if `update_every` is no integer of at least 1 or `nonfinite` none of the three, `TypeError`
    if `optimizer` or `estimator` is not one.
    """

    loss: Loss
    estimator: AbstractEstimator
    optimizer: optax.GradientTransformation
    update_every: int = eqx.field(static=True, default=1)
    nonfinite: Literal["report", "raise", "restart"] = eqx.field(static=True, default="report", kw_only=True)
    report: Callable[[PyTree, Target], PyTree] | None = eqx.field(default=None, kw_only=True)
    donate: bool = eqx.field(static=True, default=False, kw_only=True)

    def __check_init__(self):
        check_sizes(update_every=self.update_every)
        if self.nonfinite not in ("report", "raise", "restart"):
            raise ValueError(f"nonfinite: expected 'report', 'raise' or 'restart', got {self.nonfinite!r}")
        if not isinstance(self.estimator, AbstractEstimator):
            raise TypeError(f"estimator: expected one such as rtrl.RTRL(), got {named(self.estimator)}")
        if self.donate and self.nonfinite == "raise":
            raise ValueError("donate: expected False with nonfinite='raise', which hands the last finite state back")
        if not hasattr(self.optimizer, "update"):
            raise TypeError(f"optimizer: expected an optax one such as optax.adam(1e-3), got {named(self.optimizer)}")

    def init(
        self, model: ModelOrShared, *, key: PRNGKeyArray | None = None, batch_size: int | None = None
    ) -> LearnerState:
        """The state before the first step; `batch_size=B` for B parallel streams, their gradients averaged.

        `key` feeds estimators and readouts that are random.

        **Raises:** `ValueError` if `batch_size` is below 1 or the estimator is offline, `TypeError` if the model cannot
        be trained, `MemoryError` if the influence does not fit.
        """
        if batch_size is not None:
            check_sizes(batch_size=batch_size)
        check_online(self.estimator)
        check_model(model)
        check_fits(self.estimator, model, batch_size or 1, in_place=self.donate)
        state = LearnerState(
            model,
            self.optimizer.init(trained(model)),
            *self._streams(model, key, batch_size),
            restart=jnp.zeros(() if batch_size is None else batch_size, bool) if self.nonfinite == "restart" else None,
            seed=None if key is None else jax.random.bits(jax.random.fold_in(key, 1), (2,), jnp.uint32),
            steps=jnp.zeros((), int),
            fingerprint=jnp.asarray(fingerprint(self, model)),
            batch_size=batch_size,
        )
        return _of_its_own(state, (self, model, key))

    def step(
        self,
        state: LearnerState,
        x: Input,
        y: Target,
        *,
        reset: ArrayLike | None = None,
        weight: ArrayLike | None = None,
    ) -> tuple[LearnerState, StepOutput]:
        """One time step: predict and score with the parameters of now, then update them.

        `reset`: before this step the stream begins anew, at the cell's initial state and without a past; `weight`: how
        much this step's loss counts, 1 unless given; at 0 nothing of the target, not even NaN, reaches the gradient,
        while state and influence move on. Both are (B,) with a batch; gradients are averaged over the streams with
        weight, and without any there is no update.

        **Raises:** `ValueError` if the input does not fit the cell or the state belongs to another learner, `TypeError`
        if a step changes the state's shape or the loss is no scalar.
        """
        check_same(self, state)
        check_one(state.batch_size, x=x, y=y, reset=reset, weight=weight)
        given = jax.tree.map(lambda a: jnp.asarray(a)[None], (x, y, flags(reset), numbers(weight)))
        after, output = self._call(state, given, None if self.update_every > 1 else 0)
        return after, jax.tree.map(lambda a: a[0], output)

    def run(
        self,
        state: LearnerState,
        xs: Input,
        ys: Target,
        *,
        reset: ArrayLike | None = None,
        weight: ArrayLike | None = None,
    ) -> tuple[LearnerState, StepOutput]:
        """`step` over the leading time axis of `xs` and `ys`, compiled once; outputs gain that axis.

        A stream may be cut into calls of `step` and `run` in any way: losses and parameters stay the same. Raises as
        `step` does, and `ValueError` if arrays are empty or differ in length.
        """
        check_same(self, state)
        check_stream(state.batch_size, xs=xs, ys=ys, reset=reset, weight=weight)
        return self._call(state, (xs, ys, flags(reset), numbers(weight)), self._lead(state))

    def _streams(
        self, model: ModelOrShared, key: PRNGKeyArray | None, batch_size: int | None
    ) -> tuple[StreamState, OpenWindow | None]:
        def stream(key: PRNGKeyArray | None) -> tuple[StreamState, OpenWindow | None]:
            begins = begin_stream(self.estimator, model, key)
            return begins, open_window(whole(model), begins.cell, self.update_every) if self.update_every > 1 else None

        if batch_size is None:
            return stream(key)
        keys = None if key is None else jax.random.split(key, batch_size)
        axes = stream_axes(jax.eval_shape(stream, key))
        return jax.vmap(stream, out_axes=axes, axis_size=batch_size)(keys)

    def _lead(self, state: LearnerState) -> int | None:
        """The steps until a window of `update_every` begins; `None` where that is known only when the program runs."""
        if state.window is None:
            return 0
        filled = state.window.filled.value
        return None if isinstance(filled, Tracer) else -int(filled.max()) % self.update_every

    def _call(self, state: LearnerState, given: tuple, lead: int | None) -> tuple[LearnerState, StepOutput]:
        known = not any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves((state, given)))
        steps = len(jax.tree.leaves(given)[0])
        run, fingerprint = _run, state.fingerprint
        if self.donate and known:
            run, state = _run_in_place, eqx.tree_at(lambda s: s.fingerprint, state, jnp.array(fingerprint, copy=True))
        after, outputs = run((self, given, lead if lead is None else min(lead, steps)), state)
        if known:  # the same array object, so that checking it again waits for nothing
            after = eqx.tree_at(lambda s: s.fingerprint, after, fingerprint)
        if self.nonfinite != "raise":
            return after, outputs
        if not known:
            message = "learner: expected finite losses and gradients, got NaN or infinity"
            return eqx.error_if(after, ~outputs.finite.all(), message), outputs
        if not outputs.finite.all():
            good = int(jnp.argmin(outputs.finite))
            before = jax.tree.map(lambda a: a[:good], given)
            raise NonFiniteError(good, _run((self, before, min(lead or 0, good)), state)[0] if good else state)
        return after, outputs

    def _steps(self, state: Any, given: tuple, lead: int | None) -> tuple[LearnerState, StepOutput]:
        """Single steps until a window begins, whole windows, and single steps of a window that stays open."""
        steps, k = len(jax.tree.leaves(given)[0]), self.update_every
        if lead is None:
            if steps < k:
                return self._steps(state, given, steps)
            begins = largest(state.window.filled.value) == 0
            go = functools.partial(self._steps, given=given)
            return branch(begins, functools.partial(go, lead=0), functools.partial(go, lead=steps), state)
        closed = lead + (steps - lead) // k * k
        parts = (self._single, 0, lead, 1), (self._window, lead, closed, k), (self._single, closed, steps, 1)
        collected = []
        for step, begin, end, window in parts:
            if begin < end:
                these = jax.tree.map(lambda a, begin=begin, end=end: a[begin:end], given)
                state, outputs = scan(step, state, these, window)
                collected.append(outputs)
        return state, collected[0] if len(collected) == 1 else jax.tree.map(lambda *a: jnp.concatenate(a), *collected)

    def _window(self, state: LearnerState, given: tuple) -> tuple[LearnerState, StepOutput]:
        """A whole window of `update_every` steps at the same parameters, and an update."""

        def of_stream(stream: StreamState, given: tuple) -> tuple[StreamState, ForUpdate, Any]:
            x, y, reset, weight, key = given
            stream, now = window_gradient(
                self.estimator, state.model, self.loss, stream, x, y, reset=reset, weight=weight, key=key
            )
            finite = jnp.isfinite(now.loss).all() & all_finite(now.gradient) & all_finite(stream.cell)
            weighted = jnp.asarray(self.update_every if weight is None else (weight != 0).sum(), float)
            return stream, ForUpdate(now.gradient, now.loss.sum(), weighted, finite), (now.loss, self._shown(y, now))

        state = kept(state)
        given = self._prepared(state, given)
        streams, for_update, (losses, shown) = over_streams(of_stream, state.stream, given, state.batch_size)
        after, finite = updated(self.optimizer, state, for_update, always=given[3] is None)
        losses = over_batch(losses, given[3], state.batch_size)
        window = None if state.window is None else dataclasses.replace(state.window, begin=streams.cell)
        after = dataclasses.replace(after, stream=streams, window=window, steps=state.steps + self.update_every)
        return kept(after), StepOutput(losses, shown[0], jnp.isfinite(losses).at[-1].min(finite), shown[1])

    def _single(self, state: LearnerState, given: tuple) -> tuple[LearnerState, StepOutput]:
        """One step of an open window; the step that fills it ends with an update."""
        state = kept(state)
        model = whole(state.model)

        def of_stream(owned: tuple[StreamState, OpenWindow], given: tuple) -> tuple:
            (stream, window), (x, y, reset, weight, key) = owned, given
            h = begun(model.cell, stream.cell, None if reset is None else reset[0])
            h = model.cell(h, jax.tree.map(lambda a: a[0], x))
            states = jax.tree.map(lambda a: a[None], h)
            outputs = outputs_of(model.cell, states, x)
            (losses, predictions), of_readout, v = loss_gradient(model.readout, self.loss, outputs, y, weight, key)
            of_cell, vs = through_outputs(model.cell, states, x, v)
            direct = of_parts(model, of_cell, of_readout)
            window = window.extended(x, vs, reset, weight, direct, losses[0])
            finite = jnp.isfinite(losses)
            shown = self._shown(y, StepGradient(losses, predictions, direct))
            return (StreamState(h, stream.memory), window), (), (losses, shown, finite)

        given = self._prepared(state, given)
        if model.cell.example_input() is not None:
            first = given[0] if state.batch_size is None else jax.tree.map(lambda a: a[:, 0], given[0])
            check_like(model.cell.example_input(), jax.tree.map(lambda a: a[0], first), type(model.cell).__name__)
        owned = state.stream, state.window
        (stream, window), _, (losses, shown, finite) = over_streams(of_stream, owned, given, state.batch_size)
        restart = None if state.restart is None else jnp.zeros_like(state.restart)
        state = dataclasses.replace(state, stream=stream, window=window, restart=restart, steps=state.steps + 1)
        full = largest(window.filled.value) == self.update_every
        state, closed = branch(full, self._closed, lambda state: (state, jnp.ones((), bool)), state)
        finite = finite if state.batch_size is None else finite.all(axis=1)
        losses = over_batch(losses, given[3], state.batch_size)
        return kept(state), StepOutput(losses, shown[0], finite & closed, shown[1])

    def _closed(self, state: LearnerState) -> tuple[LearnerState, Bool[Array, ""]]:
        """The update at the end of a window, from what its steps left, and whether its gradient was finite."""
        model = whole(state.model)

        def of_stream(owned: tuple[StreamState, OpenWindow], _: None) -> tuple:
            stream, window = owned
            _, residual = self.estimator.forward(model.cell, window.begin, window.xs, stream.memory, window.reset)
            through_time, _, memory = self.estimator.backward(model.cell, residual, window.vs)
            direct = eqx.tree_at(lambda g: g.cell, window.direct, add(window.direct.cell, through_time))
            gradient = to_shared(state.model, direct)
            finite = jnp.isfinite(window.loss) & all_finite(gradient) & all_finite(stream.cell)
            for_update = ForUpdate(gradient, window.loss, window.weighted, finite)
            window = open_window(model, stream.cell, self.update_every)
            return (StreamState(stream.cell, memory), window), for_update, None

        owned = state.stream, state.window
        (stream, window), for_update, _ = over_streams(of_stream, owned, None, state.batch_size)
        after, finite = updated(self.optimizer, state, for_update, always=False)
        return dataclasses.replace(after, stream=stream, window=window), finite

    def _prepared(self, state: LearnerState, given: tuple) -> tuple:
        """Inputs, targets, resets, weights and keys of some steps; checked, as they are for the first stream."""
        x, y, reset, weight = given
        steps, batch = len(jax.tree.leaves(given)[0]), () if state.batch_size is None else (state.batch_size,)
        if state.restart is not None:
            reset = jnp.zeros((steps, *batch), bool) if reset is None else reset
            reset = reset.at[0].set(reset[0] | state.restart)
        if reset is None and not jax.tree.leaves(x):
            reset = jnp.zeros((steps, *batch), bool)
        keys = None
        if (seed := state.seed) is not None:
            every = jax.vmap(lambda i: jax.random.fold_in(key_of(seed), i))(state.steps + jnp.arange(steps))
            keys = every if not batch else jax.vmap(lambda key: jax.random.split(key, batch))(every)
        first = jax.tree.map(lambda a: a[(0,) * (1 + len(batch))], (x, y, keys))
        check_step(whole(state.model), self.loss, *first)
        return x, y, reset, weight, keys

    def _shown(self, ys: Target, now: StepGradient) -> tuple[PyTree, PyTree]:
        """Predictions, or what `report` makes of them."""
        if self.report is None:
            return now.prediction, None
        return None, over_steps(self.report, now.prediction, ys)


def _of_its_own(state: LearnerState, given: Any) -> LearnerState:
    """The state with no array twice and none that the user holds, for `donate`, and without weak types, which the first
    update would change and `run` compile again for. An influence matrix is not copied.
    """
    seen = {id(a) for a in jax.tree.leaves(given)}

    def own(a: Any) -> Any:
        if not eqx.is_array(a):
            return a
        copy = id(a) in seen or isinstance(a, Tracer) or getattr(a, "weak_type", False)
        seen.add(id(a))
        return jnp.array(a, a.dtype, copy=True) if copy else a

    return jax.tree.map(own, state)


def _call(fixed: tuple[Learner, tuple, int | None], state: LearnerState) -> tuple[LearnerState, StepOutput]:
    learner, given, lead = fixed
    after, outputs = learner._steps(state, given, lead)
    return kept(after), readable(after, outputs)


_run = eqx.filter_jit(_call)
_run_in_place = eqx.filter_jit(_call, donate="all-except-first")
