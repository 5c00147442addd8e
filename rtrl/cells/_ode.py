"""The neural ordinary differential equation as a cell."""

from collections.abc import Callable

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PyTree

from rtrl._sizes import check_positive, check_sizes
from rtrl._trained import Frozen
from rtrl._types import Input, State
from rtrl.cells._base import AbstractCell
from rtrl.cells._solve import repeated, solver_step


class ODECell(AbstractCell):
    r"""The solution of an ordinary differential equation, from one observation to the next.

    $$h_t = h_{t-1} + \int_0^{\Delta t} f_\theta(s, h(s), x_t)\, ds$$

    `vector_field(s, y, args)` is any Equinox module, or a function, that gives dy/ds; its arrays are trained, also
    those that `eqx.Partial` carries for a function; s is the time since the last observation, and x is constant in
    between (`args`; `example_args` is one of them, for estimators with a window of inputs). State: any pytree like
    `initial`, which is not trained.

    Each interval has `substeps` equal steps of an explicit Diffrax solver; with a `controller` (a Diffrax
    step size controller) as many as the tolerances ask for. `time_step` is Δt, in the units of time of the vector
    field; with `time_step=None` it comes with every input, x = (Δt, args), for observations at irregular times. A
    negative Δt gives a state of NaN, which `Learner` reports.

    "Discretise, then differentiate": the influence is that of the discrete solution, exactly. With a `controller`
    estimators that push tangents forward (UORO, stacks) need `adjoint=diffrax.DirectAdjoint()`. Kidger (2022), "On
    neural differential equations", arXiv 2202.02435. Raises `ValueError` if `substeps` is below 1 or `time_step` is
    not positive, `TypeError` if the solver is implicit.
    """

    vector_field: Callable
    initial: Frozen
    solver: diffrax.AbstractSolver
    controller: diffrax.AbstractStepSizeController | None
    adjoint: diffrax.AbstractAdjoint
    time_step: float | None = eqx.field(static=True)
    substeps: int = eqx.field(static=True)
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
        example_args: PyTree = None,
    ):
        check_sizes(substeps=substeps)
        if time_step is not None:
            check_positive(time_step=time_step)
        self.vector_field, self.initial = vector_field, Frozen(jax.tree.map(jnp.asarray, initial))
        self.solver = diffrax.Heun() if solver is None else solver
        self.controller = controller
        self.adjoint = diffrax.RecursiveCheckpointAdjoint() if adjoint is None else adjoint
        self.time_step, self.substeps = time_step, substeps
        self.example_args = Frozen(example_args)
        if isinstance(self.solver, diffrax.AbstractImplicitSolver):
            raise TypeError(f"solver: expected an explicit Diffrax solver, got {type(self.solver).__name__}")

    def initial_state(self) -> State:
        return self.initial.value

    def example_input(self) -> Input:
        if self.time_step is not None:
            return self.example_args.value
        return jnp.ones((), jnp.result_type(*jax.tree.leaves(self.initial_state()))), self.example_args.value

    def __call__(self, state: State, x: Input) -> State:
        length, args = x if self.time_step is None else (self.time_step, x)
        length = jnp.asarray(length, jnp.result_type(*jax.tree.leaves(state)))
        length = jnp.where(length < 0, jnp.nan, length)
        term = diffrax.ODETerm(self.vector_field)
        if self.controller is not None:
            return self._adaptively(term, self.controller, state, length, args)
        step = length / self.substeps
        return repeated(
            lambda i, state: solver_step(self.solver, term, i * step, (i + 1) * step, state, args), state, self.substeps
        )

    def _adaptively(
        self,
        term: diffrax.ODETerm,
        controller: diffrax.AbstractStepSizeController,
        state: State,
        length: Float[Array, ""],
        args: PyTree,
    ) -> State:
        solution = diffrax.diffeqsolve(
            term,
            self.solver,
            t0=0.0,
            t1=length,
            dt0=length / self.substeps,
            y0=state,
            args=args,
            stepsize_controller=controller,
            adjoint=self.adjoint,
            throw=False,
        )
        return jax.tree.map(lambda y: y[-1], solution.ys)
