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


def textbook_training(cell, readout, loss, optimizer, xs, ys):
    """Williams & Zipser's recursion with dense Jacobians, one optimizer update a step: all parameter vectors."""
    (theta, rebuild), h = jax.flatten_util.ravel_pytree((cell, readout)), cell.initial_state()
    jacobian = jax.jit(jax.jacobian(lambda h, theta, x: rebuild(theta)[0](h, x), argnums=(0, 1)))
    gradient = jax.jit(jax.grad(lambda h, theta, y: loss(rebuild(theta)[1](h), y), argnums=(0, 1)))
    influence, state, visited = np.zeros((h.size, theta.size)), optimizer.init(theta), []
    for x, y in zip(xs, ys, strict=True):
        D, immediate = jacobian(h, theta, x)
        h, influence = rebuild(theta)[0](h, x), np.asarray(D) @ influence + np.asarray(immediate)
        v, direct = gradient(h, theta, y)
        updates, state = optimizer.update(jnp.asarray(v @ influence + direct), state, theta)
        theta = theta + updates
        visited.append(np.asarray(theta))
    return np.stack(visited)


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def gru(cell, h, x):
    """PyTorch's GRU formulas, written out."""
    W_hh, W_ih = np.asarray(cell.weight_hh), np.asarray(cell.weight_ih)
    b_hh, b_ih = np.asarray(cell.bias_hh), np.asarray(cell.bias_ih)
    r = sigmoid(W_ih[0] @ x + b_ih[0] + W_hh[0] @ h + b_hh[0])
    z = sigmoid(W_ih[1] @ x + b_ih[1] + W_hh[1] @ h + b_hh[1])
    candidate = np.tanh(W_ih[2] @ x + b_ih[2] + r * (W_hh[2] @ h + b_hh[2]))
    return (1 - z) * candidate + z * h


def elman(cell, h, x):
    return np.tanh(np.asarray(cell.weight_hh[0]) @ h + np.asarray(cell.weight_ih[0]) @ x + np.asarray(cell.bias))
