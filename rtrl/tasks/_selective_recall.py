"""Selective recall: one symbol among many is marked, and must be named much later."""

import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from rtrl._sizes import check_sizes
from rtrl.sequences import Sequences
from rtrl.tasks._trials import check_fits, one_after_another


def selective_recall(
    key: PRNGKeyArray, steps: int, delay: int, *, symbols: int = 2, marked: int = 1, random_delay: bool = False
) -> Sequences:
    r"""Random symbols, one at each step; some are marked, and asked for a delay of D steps later.

    $$x_t = (e_{s_t}, m_t, q_t), \quad s_t \sim U\{1 \ldots S\}, \qquad y_t = s_{t-D} \text{ where } q_t \neq 0$$

    A trial marks the symbols of its first `marked` steps, the j-th on line j of m, and asks for them in the same
    order D steps later, the j-th on line j of q; the next trial follows at once. With `random_delay` each trial draws
    D from U{⌈D/2⌉ … ⌊3D/2⌋}. Steps after the last complete trial bring symbols only: streams of further keys may
    follow. Returns xs (time, symbols + 2 marked), ys (time,), the numbers of the symbols, `reset`, true where a trial
    begins (it is the user's choice to tell a learner), and `weight`, 1 where a symbol is asked for and 0 elsewhere.

    Perfect recall costs 0; one that knows nothing of the marked symbol is right once in S times and pays log S nats,
    and so does all that sees only the last D steps (with `random_delay`, D/2).

    **Raises:** `ValueError` if `symbols` is below 2, the shortest delay below `marked`, or a trial longer than the
    stream.
    """
    check_sizes(steps=steps, delay=delay, symbols=symbols, marked=marked)
    if symbols < 2:
        raise ValueError(f"symbols: expected at least 2, got {symbols}")
    shortest, longest = (-(-delay // 2), 3 * delay // 2) if random_delay else (delay, delay)
    if shortest < marked:
        raise ValueError(f"delay: expected none shorter than the {marked} marked symbols, got {shortest}")
    check_fits("delay", longest + marked, steps)
    delay_key, symbol_key = jax.random.split(key)
    delays = jax.random.randint(delay_key, (steps // (shortest + marked),), shortest, longest + 1)
    trials = one_after_another(delays + marked, steps)
    symbol = jax.random.randint(symbol_key, (steps,), 0, symbols)
    since = trials.position - delays[trials.number]
    mark, ask = (
        jax.nn.one_hot(jnp.where(trials.inside, place, -1), marked, dtype=float) for place in (trials.position, since)
    )
    asked = ask.any(axis=1)
    wanted = symbol[jnp.maximum(jnp.arange(steps) - delays[trials.number], 0)]
    xs = jnp.concatenate([jax.nn.one_hot(symbol, symbols, dtype=float), mark, ask], axis=1)
    begins = trials.inside & (trials.position == 0)
    return Sequences(xs, jnp.where(asked, wanted, 0), begins, asked.astype(float))
