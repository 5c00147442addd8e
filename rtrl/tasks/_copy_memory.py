"""Copy memory: a word, a long pause, and the word again."""

import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from rtrl._sizes import check_sizes
from rtrl.sequences import Sequences
from rtrl.tasks._trials import check_fits, one_after_another


def copy_memory(key: PRNGKeyArray, steps: int, delay: int, *, symbols: int = 8, length: int = 10) -> Sequences:
    r"""Words of `length` random symbols, each to be repeated after a pause of `delay` steps.

    $$x_t = e_{s_t} \;(t < L), \quad x_t = \text{blank} \;(L \le t), \quad x_{L+D-1} = \text{go}, \qquad
      y_{L+D+j} = s_j$$

    A trial has 2 L + D steps, and the next one follows at once; steps after the last complete one are blank. Returns
    xs (time, symbols + 2), one-hot, the last two lines being blank and go; ys (time,), the numbers of the symbols;
    `reset`, true where a trial begins, and `weight`, 1 on the L steps that repeat the word. Each symbol must be kept
    for L + D steps, and in its order.

    Perfect recall costs 0; one that knows nothing pays log S nats for a symbol and is right once in S times.
    [Hochreiter & Schmidhuber (1997)][hochreiter1997]; in this form [Arjovsky, Shah & Bengio (2016)][arjovsky2016],
    arXiv 1511.06464, section 5.1, who count the blanks as well.

    **Raises:** `ValueError` if `symbols` is below 2 or a trial longer than the stream.
    """
    check_sizes(steps=steps, delay=delay, symbols=symbols, length=length)
    if symbols < 2:
        raise ValueError(f"symbols: expected at least 2, got {symbols}")
    whole = 2 * length + delay
    check_fits("delay", whole, steps)
    count = steps // whole
    trials = one_after_another(jnp.full(count, whole), steps)
    words = jax.random.randint(key, (count, length), 0, symbols)
    shown = trials.inside & (trials.position < length)
    wanted = trials.inside & (trials.position >= length + delay)
    place = jnp.where(wanted, trials.position - length - delay, jnp.minimum(trials.position, length - 1))
    symbol = words[trials.number, place]
    go = trials.inside & (trials.position == length + delay - 1)
    line = jnp.where(shown, symbol, jnp.where(go, symbols + 1, symbols))
    begins = trials.inside & (trials.position == 0)
    ys = jnp.where(wanted, symbol, 0)
    return Sequences(jax.nn.one_hot(line, symbols + 2, dtype=float), ys, begins, wanted.astype(float))
