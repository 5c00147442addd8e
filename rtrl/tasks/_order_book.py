"""A limit order book in which a hidden pressure moves the price: synthetic, with its exact answer."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray


class OrderBook(eqx.Module):
    r"""The best bid and ask queues of a simulated market, one order an event.

    The four kinds of event come with probabilities proportional to

    $$\lambda,\ \lambda,\ \mu\,(1 - \kappa r),\ \mu\,(1 + \kappa r)$$

    an order added to the bid or to the ask queue, one taken from the bid or from the ask queue; the hidden pressure r =
    ±1 changes sign with probability `switching` before each event. A full queue takes no more. When a queue is empty
    the price moves one tick to its side, and both are drawn anew, uniformly from 1 to `deepest`. Rates by state of the
    book are the idea of [Huang, Lehalle & Rosenbaum (2015)][huang2015], "Simulating and analyzing order book data: the
    queue-reactive model"; the hidden pressure and the numbers are ours. This is no real market.
    """

    added: float = 1.0
    taken: float = 1.1
    pressure: float = 0.5
    switching: float = 0.01
    deepest: int = eqx.field(static=True, default=6)

    def events(
        self, key: PRNGKeyArray, steps: int
    ) -> tuple[Int[Array, "time 2"], Int[Array, " time"], Int[Array, " time"]]:
        """Queues (bid, ask) after each event, the event (0 to 3 as above) and the price's move with it (-1, 0, 1)."""

        def step(carry, key):
            queues, r = carry
            flip_key, kind_key, new_key = jax.random.split(key, 3)
            r = jnp.where(jax.random.bernoulli(flip_key, self.switching), -r, r)
            kind = jax.random.categorical(kind_key, jnp.log(self._probabilities(r)))
            queues = jnp.minimum(queues + jnp.asarray(CHANGES)[kind], self.deepest)
            move = (queues[1] == 0).astype(int) - (queues[0] == 0).astype(int)
            fresh = jax.random.randint(new_key, (2,), 1, self.deepest + 1)
            queues = jnp.where(move == 0, queues, fresh)
            return (queues, r), (queues, kind, move)

        start_key, step_key = jax.random.split(key)
        start = jax.random.randint(start_key, (2,), 1, self.deepest + 1), jnp.ones(())
        return jax.lax.scan(step, start, jax.random.split(step_key, steps))[1]

    def next_move_up(self) -> Float[np.ndarray, "2 bid ask"]:
        """The probability that the next move is up, for r = -1 and 1 and all queues, from a linear system."""
        n = self.deepest
        states = list(itertools.product(range(2), range(1, n + 1), range(1, n + 1)))
        index = {state: i for i, state in enumerate(states)}
        matrix, ends = np.eye(len(states)), np.zeros(len(states))
        for (r, bid, ask), i in index.items():
            for following, chance in ((r, 1 - self.switching), (1 - r, self.switching)):
                for p, (b, a) in zip(self._probabilities(2.0 * following - 1), CHANGES, strict=True):
                    left, right = min(bid + b, n), min(ask + a, n)
                    if left and right:
                        matrix[i, index[following, left, right]] -= chance * p
                    elif left:
                        ends[i] += chance * p
        return np.linalg.solve(matrix, ends).reshape(2, n, n)

    def best_guess(
        self, queues: Int[Array | np.ndarray, "time 2"], kinds: Int[Array | np.ndarray, " time"]
    ) -> Float[np.ndarray, " time"]:
        """The probability that the next move is up, given all events so far: Bayes' filter, which nobody can beat."""
        likelihood = jnp.stack([self._probabilities(-1.0), self._probabilities(1.0)], axis=1)[kinds]

        def step(belief, likely):
            belief = (1 - self.switching) * belief + self.switching * belief[::-1]
            belief = belief * likely / (belief @ likely)
            return belief, belief

        _, beliefs = jax.lax.scan(step, jnp.array([0.0, 1.0]), likelihood)
        bid, ask = np.asarray(queues).T - 1
        return (np.asarray(beliefs).T * self.next_move_up()[:, bid, ask]).sum(axis=0)

    def _probabilities(self, r: Float[Array, ""] | float) -> Float[Array, "4"]:
        rates = jnp.stack([jnp.asarray(rate) for rate in (
            self.added, self.added, self.taken * (1 - self.pressure * r), self.taken * (1 + self.pressure * r)
        )])  # fmt: skip
        return rates / rates.sum()


CHANGES = np.array([[1, 0], [0, 1], [-1, 0], [0, -1]])
"""What each kind of event does to the two queues."""
