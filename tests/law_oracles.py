"""What the gradients of the laws are compared with: one plain loop over time, that knows where credit is cut."""

import functools

import jax
import jax.numpy as jnp
from law_cells import halves, template, whole

import rtrl


def squared(prediction, target):
    """A loss that is not quadratic in its slope."""
    return jnp.sum((prediction - target) ** 2) + jnp.sum(jnp.sin(prediction))


@functools.cache
def loop(kind, dtype):
    """(loss, gradient) of a stream. `cuts`: for each step's loss, the step before which credit ends (-1: nowhere).

    `apart`: for each step's loss, the step before which no credit passes from a layer of a stack to one below.
    """
    rest = halves(template(kind, dtype))[1]

    def total(params, xs, ys, reset, weight, cuts, apart):
        model, steps = whole(params, rest), jnp.arange(len(reset))
        known = jnp.where(weight[:, None] == 0, 0, ys)

        def of_step(t, cut, apart):
            def step(h, at):
                s, x, y, begins, w = at
                h = where(s == cut, jax.lax.stop_gradient(h), h)
                h = where(begins, model.cell.initial_state(), h)
                h, out = advance(model.cell, h, x, s < apart)
                return h, jnp.where(s == t, w * squared(model.readout(out), y), 0)

            return jax.lax.scan(step, model.cell.initial_state(), (steps, xs, known, reset, weight))[1].sum()

        return jax.vmap(of_step)(steps, cuts, apart).sum()

    return jax.jit(jax.value_and_grad(total))


def where(condition, one, other):
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), one, other)


def advance(cell, state, x, apart):
    """The next state and output; of a stack with what arrives in each cell as a constant where layers are `apart`."""
    if not isinstance(cell, rtrl.StackedCell):
        state = cell(state, x)
        return state, cell.output(state, x)
    states = []
    for layer, norm, mlp, old in zip(cell.layers, cell.norms, cell.mlps, state, strict=True):
        arrives, new = norm(x), ()
        if isinstance(layer, rtrl.AbstractCell):
            arrives = jnp.where(apart, jax.lax.stop_gradient(arrives), arrives)
            new = layer(old, arrives)
            out = mlp(layer.output(new, arrives))
            x = x + out if cell.residual else out
        else:
            x = layer(arrives)
        states.append(new)
    return tuple(states), x
