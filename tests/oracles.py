"""References that share no code with what they test: plain Python loops, plain NumPy formulas."""

import jax
import jax.numpy as jnp
import numpy as np


def loop_loss(model, loss, xs, ys):
    """The summed loss, by a Python loop over time."""
    h, total = model.cell.initial_state(), 0.0
    for x, y in zip(xs, ys, strict=True):
        h = model.cell(h, x)
        total = total + loss(model.readout(model.cell.output(h)), y)
    return total


def textbook_training(cell, readout, loss, optimizer, streams, every=1):
    """Williams & Zipser's recursion with dense Jacobians, the mean gradient of the streams: all parameter vectors.

    An update every `every` steps, with the mean of their gradients.
    """
    theta, rebuild = jax.flatten_util.ravel_pytree((cell, readout))
    start, unravel = jax.flatten_util.ravel_pytree(cell.initial_state())
    forward = lambda h, theta, x: jax.flatten_util.ravel_pytree(rebuild(theta)[0](unravel(h), x))[0]  # noqa: E731
    score = lambda h, theta, y: loss(rebuild(theta)[1](rebuild(theta)[0].output(unravel(h))), y)  # noqa: E731
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
            v, direct = gradient(states[b], theta, y)
            waiting.append(np.asarray(v) @ influences[b] + np.asarray(direct))
        if (t + 1) % every == 0:
            updates, state = optimizer.update(jnp.asarray(np.mean(waiting, axis=0)), state, theta)
            theta, waiting = theta + updates, []
        visited.append(np.asarray(theta))
    return np.stack(visited)
