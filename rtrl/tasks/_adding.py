"""The adding problem: the sum of two marked numbers, long after they were shown."""

import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from rtrl._sizes import check_sizes
from rtrl.sequences import Sequences
from rtrl.tasks._trials import check_fits, one_after_another


def adding_problem(key: PRNGKeyArray, steps: int, length: int) -> Sequences:
    r"""Random numbers, two of them marked in each trial of T steps; their sum is asked for at the trial's end.

    $$x_t = (u_t, m_t), \quad u_t \sim U(0, 1), \qquad y_T = u_a + u_b$$

    with m = 1 at a, uniform in the trial's first half, and at b, uniform in its second half; m = -1 at a trial's
    first and last step, m = 0 elsewhere. One trial follows another at once; steps after the last complete one have
    m = 0. Returns xs (time, 2), ys (time, 1), `reset`, true where a trial begins, and `weight`, 1 at its last step.

    In squared error the floor is 0; the best constant, 1, pays 1/6, and who knows one of the two numbers 1/12.
    [Hochreiter & Schmidhuber (1997)][hochreiter1997], "Long short-term memory", section 5.4, with numbers from U(-1, 1)
    and trials of varying length; the sum of numbers from U(0, 1) is that of [Arjovsky, Shah & Bengio
    (2016)][arjovsky2016], arXiv 1511.06464.

    **Raises:** `ValueError` if a trial has fewer than 6 steps or more than the stream.
    """
    check_sizes(steps=steps, length=length)
    if length < 6:
        raise ValueError(f"length: expected at least 6 steps, got {length}")
    check_fits("length", length, steps)
    number_key, first_key, second_key = jax.random.split(key, 3)
    count, half = steps // length, length // 2
    trials = one_after_another(jnp.full(count, length), steps)
    u = jax.random.uniform(number_key, (steps,))
    a = jax.random.randint(first_key, (count,), 1, half)
    b = jax.random.randint(second_key, (count,), half, length - 1)
    first, last = (trials.inside & (trials.position == end) for end in (0, length - 1))
    chosen = trials.inside & ((trials.position == a[trials.number]) | (trials.position == b[trials.number]))
    total = (u[: count * length] * chosen[: count * length]).reshape(count, length).sum(axis=1)
    ys = jnp.where(last, total[trials.number], 0.0)
    xs = jnp.stack([u, chosen.astype(float) - first - last], axis=1)
    return Sequences(xs, ys[:, None], first, last.astype(float))
