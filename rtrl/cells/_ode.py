"""The neural ordinary differential equation as a cell."""

from collections.abc import Callable
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PyTree

from rtrl._sizes import check_positive, check_sizes
from rtrl._trained import Frozen
from rtrl._types import Input, State
from rtrl.cells._backward import backward_only, plainly_refused
from rtrl.cells._base import AbstractCell
from rtrl.cells._solve import nan_unless, repeated, solver_step, time_dtype
from rtrl.cells._solver_checks import check_adjoint, check_controller, check_field, check_solver, floating, one_line
from rtrl.cells._stages import Diagonal


class ODECell(AbstractCell):
    r"""The solution of an ordinary differential equation, from one observation to the next.

    $$h_t = h_{t-1} + \int_0^{\Delta t} f_\theta(s, h(s), x_t)\, ds$$

    `vector_field(s, y, args)` is any Equinox module, or a function, that gives dy/ds; its arrays are trained, also
    those that `eqx.Partial` carries for a function; s is the time since the last observation, and x is constant in
    between (`args`; `example_args` is one of them, for estimators with a window of inputs). State: any pytree like
    `initial`, whose integers become floating-point numbers, and which is trained with `train_initial=True` only.

    Each interval has `substeps` equal steps of a Diffrax solver; with a `controller` (a Diffrax step size controller)
    as many as the tolerances ask for, up to `max_steps`. `time_step` is Δt, in the units of time of the vector field;
    with `time_step=None` it comes with every input, x = (Δt, args), for observations at irregular times.

    The state is NaN, in value and derivative, where there is no solution: `max_steps` were not enough, an implicit
    step has no root, or Δt is negative. `Learner` reports it.

    "Discretise, then differentiate": the influence is that of the discrete solution, exactly, at the step sizes that
    were taken. Stiff equations need an implicit solver: `Kvaerno3`, `Kvaerno4`, `Kvaerno5`, `ImplicitEuler`. Their
    stages are solved by Newton's method to rounding and differentiated at the root, whatever the controller's
    tolerances; a step costs some factorisations of a matrix of the size of the state.

    With a `controller`, estimators that push tangents forward (UORO, SketchedRTRL, stacks) need
    `adjoint=diffrax.DirectAdjoint()`, whose cost grows with `max_steps`.

    [Chen et al. (2018)][chen2018], "Neural ordinary differential equations"; [Kidger (2021)][kidger2021], "On neural
    differential equations", arXiv 2202.02435.

    **Raises:** `ValueError` if `substeps` or `max_steps` is below 1 or `time_step` is not positive; `TypeError` if the
    solver, the controller or the adjoint cannot give an exact influence, or `initial` is not a pytree of numbers; at a
    step, `ValueError` if the vector field does not give what looks like the state.

    **Example:**

    ```python
    cell = rtrl.ODECell(rtrl.tasks.Lorenz(), jnp.ones(3), time_step=0.02, substeps=2)
    state = cell(cell.initial_state(), None)  # the equations' parameters are trained
    ```
    """

    vector_field: Callable
    initial: Frozen | PyTree
    solver: diffrax.AbstractSolver
    controller: diffrax.AbstractStepSizeController | None
    adjoint: diffrax.AbstractAdjoint
    time_step: float | None = eqx.field(static=True)
    substeps: int = eqx.field(static=True)
    max_steps: int = eqx.field(static=True)
    example_args: Frozen

    def __init__(
        self,
        vector_field: Callable,
        initial: PyTree[ArrayLike],
        *,
        time_step: float | None,
        solver: diffrax.AbstractSolver | None = None,
        substeps: int = 1,
        controller: diffrax.AbstractStepSizeController | None = None,
        adjoint: diffrax.AbstractAdjoint | None = None,
        max_steps: int = 4096,
        train_initial: bool = False,
        example_args: PyTree = None,
    ):
        check_sizes(substeps=substeps, max_steps=max_steps)
        if time_step is not None:
            check_positive(time_step=time_step)
        initial = floating(initial)
        self.vector_field, self.initial = vector_field, initial if train_initial else Frozen(initial)
        self.solver = diffrax.Heun() if solver is None else solver
        self.controller = controller
        self.adjoint = diffrax.RecursiveCheckpointAdjoint() if adjoint is None else adjoint
        self.time_step, self.substeps, self.max_steps = time_step, substeps, max_steps
        self.example_args = Frozen(example_args)
        check_solver(self.solver, initial)
        check_controller(self.controller, self.solver)
        check_adjoint(self.adjoint)

    def initial_state(self) -> State:
        return self.initial.value if isinstance(self.initial, Frozen) else self.initial

    def example_input(self) -> Input:
        if self.time_step is not None:
            return self.example_args.value
        return jnp.ones((), time_dtype(self.initial_state())), self.example_args.value

    def __call__(self, state: State, x: Input) -> State:
        length, args = self._interval(state, x)
        check_field(self.vector_field, length, state, args)
        term = diffrax.ODETerm(self._slope)
        if self.controller is not None:
            return self._adaptively(term, self.controller, state, length, args)
        step = length / self.substeps
        return repeated(
            lambda i, state: solver_step(self.solver, term, i * step, (i + 1) * step, state, args), state, self.substeps
        )

    def _interval(self, state: State, x: Input) -> tuple[Float[Array, ""], Any]:
        """Δt, in the precision of the state and NaN if it is negative, and what is constant meanwhile."""
        if self.time_step is None and not (isinstance(x, tuple | list) and len(x) == 2 and jnp.ndim(x[0]) == 0):
            raise ValueError(f"x: expected a pair (Δt, args) with a scalar Δt, got {one_line(x)}")
        length, args = x if self.time_step is None else (self.time_step, x)
        length = jnp.asarray(length, time_dtype(state))
        return jnp.where(length < 0, jnp.nan, length), args

    def _slope(self, s: Any, y: State, args: PyTree) -> State:
        """dy/ds in the precision of the state, whatever that of parameters and inputs."""
        return jax.tree.map(lambda f, y: jnp.asarray(f, y.dtype), self.vector_field(s, y, args), y)

    def _adaptively(
        self,
        term: diffrax.ODETerm,
        controller: diffrax.AbstractStepSizeController,
        state: State,
        length: Float[Array, ""],
        args: PyTree,
    ) -> State:
        if not isinstance(self.adjoint, diffrax.DirectAdjoint):
            term, state, length = backward_only((term, state, length))
        with plainly_refused():
            solution = diffrax.diffeqsolve(
                term,
                Diagonal(self.solver) if isinstance(self.solver, diffrax.AbstractImplicitSolver) else self.solver,
                t0=0.0,
                t1=length,
                dt0=length / self.substeps,
                y0=state,
                args=args,
                stepsize_controller=controller,
                adjoint=self.adjoint,
                max_steps=self.max_steps,
                throw=False,
            )
        solved = (solution.result == diffrax.RESULTS.successful) & (length >= 0)
        new = jax.tree.map(lambda y, old: y[-1].astype(old.dtype), solution.ys, state)
        return nan_unless(solved, new)
