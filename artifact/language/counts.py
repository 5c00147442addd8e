"""Counts of what followed each context, mixed with each other and with a network's predictions, bit by bit."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int, UInt8

from artifact.language.contexts import CONTEXTS, LONGEST, Contexts

BITS = 8
LOG_SLOTS = 22
"""Each context has 2²² pairs of counts; two that fall into the same slot share it."""
MOST = 15
"""No count is higher: one byte holds a pair."""
RATE, LOWEST_RATE, OF_CHANCES, OF_LAST = 0.02, 0.002, 0.02, 0.1
"""Learning rates of the weights at the start and at least, of the chances, and of the last weights to the others."""
SETS = 2**BITS, 2**BITS, LONGEST + 1
"""Weights for each beginning of the byte, for each byte before, and for each length of a repeat."""


class Mixture(NamedTuple):
    """What has been counted and learned."""

    slots: UInt8[Array, " slots"]  # 16 zeros + ones
    chances: Float[Array, "contexts pairs"]  # of a one, after so many zeros and ones in this kind of context
    sure: Float[Array, " lengths"]  # how often a repeat goes on
    weights: Float[Array, "rows inputs"]
    last: Float[Array, "beginnings sets"]
    bytes: Int[Array, ""]


class Predicted(NamedTuple):
    """A prediction, and what it came from."""

    chance: Float[Array, ""]
    slots: Int[Array, " contexts"]
    pairs: Int[Array, " contexts"]
    length: Int[Array, ""]
    goes_on: Bool[Array, ""]
    inputs: Float[Array, " inputs"]
    rows: Int[Array, " sets"]
    scores: Float[Array, " sets"]


def begin(networks: int = 0) -> Mixture:
    """Nothing counted; chances of k of n are (k + 0.4) / (n + 0.8)."""
    zeros, ones = np.divmod(np.arange((MOST + 1) ** 2), MOST + 1)
    chances = jnp.asarray((ones + 0.4) / (zeros + ones + 0.8), jnp.float32)
    log_odds = CONTEXTS + 1 + networks
    weights = jnp.concatenate([jnp.full(log_odds, 0.3), jnp.zeros(log_odds + 1)]).astype(jnp.float32)
    return Mixture(
        slots=jnp.zeros(CONTEXTS << LOG_SLOTS, jnp.uint8),
        chances=jnp.tile(chances, (CONTEXTS, 1)),
        sure=jnp.full(LONGEST + 1, 0.75, jnp.float32),
        weights=jnp.tile(weights, (sum(SETS), 1)),
        last=jnp.full((2**BITS, len(SETS)), 1 / len(SETS), jnp.float32),
        bytes=jnp.zeros((), jnp.int32),
    )


def _after() -> UInt8[np.ndarray, "2 pairs"]:
    """The pair of counts after a zero and after a one: that count rises, and the other, if it is high, falls."""
    fallen = np.minimum(np.arange(MOST + 1), 2 + np.arange(MOST + 1) // 3)
    pairs = [(zeros, ones) for zeros in range(MOST + 1) for ones in range(MOST + 1)]
    zero = [(min(zeros + 1, MOST), fallen[ones]) for zeros, ones in pairs]
    one = [(fallen[zeros], min(ones + 1, MOST)) for zeros, ones in pairs]
    return (np.array([zero, one]) @ [MOST + 1, 1]).astype(np.uint8)


AFTER = _after()


def log_odds(chance: Float[Array, "..."]) -> Float[Array, "..."]:
    return jnp.log(chance) - jnp.log1p(-chance)


def predict(
    mixture: Mixture, at: Contexts, beginning: Int[Array, ""], networks: Float[Array, " networks"]
) -> Predicted:
    r"""The chance that the next bit is a one, after the bits of this byte that are known.

    $$p = \sigma\Big(\sum_s v_s\, w_s \cdot x\Big), \quad x = \Big(\log\frac{p_i}{1 - p_i},\; 2 p_i - 1,\; 0.3\Big)$$

    over the chances of all contexts that have been seen, of the repeat, and of the networks; w from three sets, v for
    the beginning. Mixing in log odds is that of PAQ: Mahoney (2005), "Adaptive weighing of context models for lossless
    data compression", Florida Tech CS-2005-16. `beginning` is 1 and the known bits behind it.
    """
    mixed = (at.hashes ^ (beginning.astype(jnp.uint32) * jnp.uint32(0x9E3779B1))) * jnp.uint32(0x85EBCA6B)
    mixed = (mixed ^ (mixed >> 15)) * jnp.uint32(0xC2B2AE35)
    slots = (jnp.arange(CONTEXTS) << LOG_SLOTS) + (mixed >> (32 - LOG_SLOTS)).astype(jnp.int32)
    pairs = mixture.slots[slots].astype(jnp.int32)
    of_contexts = jnp.where(pairs > 0, mixture.chances[jnp.arange(CONTEXTS), pairs], 0.5)

    known = 31 - lax.clz(beginning)
    expected = at.expected + 2**BITS
    length = jnp.where(expected >> (BITS - known) == beginning, at.repeated, 0)
    goes_on = (expected >> (BITS - 1 - known)) & 1 == 1
    of_repeat = jnp.where(goes_on, mixture.sure[length], 1 - mixture.sure[length])
    chances = jnp.concatenate([of_contexts, jnp.where(length > 0, of_repeat, 0.5)[None], networks])

    inputs = jnp.concatenate([log_odds(chances), 2 * chances - 1, jnp.full(1, 0.3, chances.dtype)])
    rows = jnp.stack([beginning, SETS[0] + at.before, SETS[0] + SETS[1] + length])
    scores = jnp.clip(mixture.weights[rows] @ inputs, -12, 12)
    chance = jnp.clip(jax.nn.sigmoid(mixture.last[beginning] @ scores), 1e-5, 1 - 1e-5)
    return Predicted(chance, slots, pairs, length, goes_on, inputs, rows, scores)


def learn(mixture: Mixture, seen: Predicted, bit: Int[Array, ""]) -> Mixture:
    """Counts the bit; every weight takes a step down the code length of its own set's prediction."""
    came, everyone = bit.astype(jnp.float32), jnp.arange(CONTEXTS)
    rate = jnp.maximum(LOWEST_RATE, RATE / jnp.sqrt(1 + mixture.bytes.astype(jnp.float32) / 1000))
    missed = came - jax.nn.sigmoid(seen.scores)
    right = (seen.goes_on == (bit == 1)).astype(jnp.float32)
    of_repeat = jnp.where(seen.length > 0, OF_CHANCES * (right - mixture.sure[seen.length]), 0)
    of_contexts = OF_CHANCES * (came - mixture.chances[everyone, seen.pairs])
    after = jnp.asarray(AFTER)[bit, seen.pairs]
    return mixture._replace(
        slots=mixture.slots.at[seen.slots].set(after, unique_indices=True, mode="promise_in_bounds"),
        chances=mixture.chances.at[everyone, seen.pairs].add(of_contexts, unique_indices=True),
        sure=mixture.sure.at[seen.length].add(of_repeat),
        weights=mixture.weights.at[seen.rows].add(jnp.outer(rate * missed, seen.inputs), unique_indices=True),
        last=mixture.last.at[seen.rows[0]].add(OF_LAST * rate * (came - seen.chance) * seen.scores),
    )


def of_bits(chances: Float[Array, "networks bytes"]) -> Float[Array, "networks nodes"]:
    """The chance of a one after each beginning, from those of the 256 bytes."""
    sums = [chances]
    while sums[0].shape[-1] > 1:
        sums.insert(0, sums[0].reshape(len(chances), sums[0].shape[-1] // 2, 2).sum(axis=-1))
    above, below = jnp.concatenate(sums[:-1], axis=-1), jnp.concatenate(sums[1:], axis=-1)
    ones = below[:, 1::2] / jnp.maximum(above, 1e-30)
    return jnp.clip(jnp.pad(ones, ((0, 0), (1, 0)), constant_values=0.5), 1e-5, 1 - 1e-5)


@functools.partial(jax.jit, donate_argnums=0)
def charge(
    mixture: Mixture, contexts: Contexts, text: Int[Array, " bytes"], networks: Float[Array, "bytes networks 256"]
) -> tuple[Mixture, Float[Array, " bytes"]]:
    """The bits charged for each byte of a stretch of text, given what networks said of it."""

    def of_byte(mixture: Mixture, at: tuple) -> tuple[Mixture, Array]:
        contexts, byte, networks = at
        ones = of_bits(networks)

        def of_bit(carry: tuple[Mixture, Array], place: Array) -> tuple[tuple[Mixture, Array], Array]:
            mixture, beginning = carry
            bit = (byte >> (BITS - 1 - place)) & 1
            seen = predict(mixture, contexts, beginning, ones[:, beginning])
            bits = -jnp.log2(jnp.where(bit == 1, seen.chance, 1 - seen.chance))
            return (learn(mixture, seen, bit), 2 * beginning + bit), bits

        (mixture, _), bits = lax.scan(of_bit, (mixture, jnp.int32(1)), jnp.arange(BITS, dtype=jnp.int32))
        return mixture._replace(bytes=mixture.bytes + 1), bits.sum()

    return lax.scan(of_byte, mixture, (contexts, text, networks))
