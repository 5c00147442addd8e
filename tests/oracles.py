"""References that share no code with what they test: plain loops, plain NumPy formulas."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import rtrl


def is_frozen(node):
    return isinstance(node, rtrl.Frozen)


def without_frozen(tree):
    """A tree with `None` in place of what is frozen."""
    return eqx.filter(tree, lambda node: not is_frozen(node), is_leaf=is_frozen)


def loop_loss(model, loss, xs, ys):
    """The summed loss, by a plain loop over time, which `lax.scan` compiles in a third of the time of its steps."""

    def step(h, at):
        x, y = at
        h = model.cell(h, x)
        return h, loss(model.readout(model.cell.output(h, x)), y)

    return jax.lax.scan(step, model.cell.initial_state(), (xs, ys))[1].sum()


def textbook_training(cell, readout, loss, optimizer, streams, every=1):
    """Williams & Zipser's recursion with dense Jacobians, the mean gradient of the streams: all parameter vectors.

    An update every `every` steps, with the mean of their gradients.
    """
    theta, rebuild = jax.flatten_util.ravel_pytree((cell, readout))
    start, unravel = jax.flatten_util.ravel_pytree(cell.initial_state())
    forward = lambda h, theta, x: jax.flatten_util.ravel_pytree(rebuild(theta)[0](unravel(h), x))[0]  # noqa: E731
    score = lambda h, theta, x, y: loss(rebuild(theta)[1](rebuild(theta)[0].output(unravel(h), x)), y)  # noqa: E731
    step, jacobian = jax.jit(forward), jax.jit(jax.jacobian(forward, argnums=(0, 1)))
    gradient = jax.jit(jax.grad(score, argnums=(0, 1)))
    states = [start] * len(streams)
    influences = [np.zeros((start.size, theta.size))] * len(streams)
    state, waiting, visited = optimizer.init(theta), [], []
    for t in range(len(streams[0])):
        for b, stream in enumerate(streams):
            x, y = stream[t]
            D, immediate = jacobian(states[b], theta, x)
            influences[b] = np.asarray(D) @ influences[b] + np.asarray(immediate)
            states[b] = step(states[b], theta, x)
            v, direct = gradient(states[b], theta, x, y)
            waiting.append(np.asarray(v) @ influences[b] + np.asarray(direct))
        if (t + 1) % every == 0:
            updates, state = optimizer.update(jnp.asarray(np.mean(waiting, axis=0)), state, theta)
            theta, waiting = theta + updates, []
        visited.append(np.asarray(theta))
    return np.stack(visited)


def masked_recursion(model, loss, xs, ys, order):
    """SnAp's recursion with dense Jacobians in NumPy: entries not reached in `order` steps are set to zero."""
    cell, readout = model.cell, model.readout
    theta, rebuild = jax.flatten_util.ravel_pytree(cell)
    h, unravel = jax.flatten_util.ravel_pytree(cell.initial_state())
    forward = lambda h, theta, x: jax.flatten_util.ravel_pytree(rebuild(theta)(unravel(h), x))[0]  # noqa: E731
    score = lambda h, x, y: loss(readout(cell.output(unravel(h), x)), y)  # noqa: E731
    step, jacobian, gradient = (
        jax.jit(forward),
        jax.jit(jax.jacobian(forward, argnums=(0, 1))),
        jax.jit(jax.grad(score)),
    )
    kept = _kept(cell, order)
    influence, total = np.zeros((h.size, theta.size)), np.zeros(theta.size)
    for t in range(len(xs)):
        D, immediate = jacobian(h, theta, xs[t])
        influence = kept * (np.asarray(D) @ influence + np.asarray(immediate))
        h = step(h, theta, xs[t])
        total += np.asarray(gradient(h, xs[t], jax.tree.map(lambda a, t=t: a[t], ys))) @ influence
    return rebuild(jnp.asarray(total))


def _kept(cell, order):
    """Which states a parameter may act on: those of the units that its own reaches in order - 1 steps."""
    n = len(cell.mask.kept)
    reach = np.linalg.matrix_power(np.eye(n) + cell.mask.kept, order - 1) > 0
    parts = sum(part.size for part in jax.tree.leaves(cell.initial_state())) // n
    of_unit = lambda a: np.arange(n).reshape(-1, *[1] * (a.ndim == 3))  # noqa: E731
    owner = jax.tree.map(lambda a: jnp.broadcast_to(of_unit(a), a.shape), cell)
    return np.tile(reach[:, jax.flatten_util.ravel_pytree(owner)[0]], (parts, 1))


def assert_same_leaves(estimate, reference, rtol):
    """Each parameter by itself: the same within rtol of its own size, and zero only where the reference is."""
    pairs = zip(jax.tree.leaves_with_path(estimate), jax.tree.leaves(reference), strict=True)
    for (path, leaf), expected in pairs:
        name = jax.tree_util.keystr(path)
        scale = np.abs(expected).max()
        np.testing.assert_allclose(leaf, expected, rtol=0, atol=rtol * scale, err_msg=name)
        assert (scale == 0) == (np.abs(leaf).max() == 0), name
