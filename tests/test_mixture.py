"""Counts of contexts mixed with a network, against a plain loop over dictionaries, and through the range coder."""

import math
import re
from collections import defaultdict

import jax
import numpy as np
import optax
import pytest

import rtrl
from artifact.data import Vocabulary
from artifact.language.contexts import History, contexts_of
from artifact.language.counts import begin, charge, of_bits
from artifact.language.mixed import byte_chances, one_pass
from artifact.language.mixed_coder import MixedCoder
from artifact.language.stacks import CAPACITY, cross_entropy, stack_model

TEXT = b"In the beginning the word. In the beginning the earth; and the word, and THE EARTH. In the beginnings, an end!"


def as_array(text):
    return np.frombuffer(text, np.uint8)


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def follow_of(text):
    """For each byte: its contexts as text, and the byte that a repeat of six expects with its length."""
    place, length, seen = 0, 0, {}
    for t in range(len(text)):
        words = re.findall(rb"[A-Za-z]+|[^A-Za-z]", text[:t].lower())
        letters = [word for word in words if word.isalpha()]
        inside = bool(words) and words[-1].isalpha()
        word = letters[-1] if inside else text[t - 1 : t]
        last = (letters[-2:-1] if inside else letters[-1:]) or [b""]
        yield (
            [*((k, text[max(t - k, 0) : t]) for k in range(7)), ("w", inside, word), ("ww", inside, word, *last)],
            (text[place] if length else 0, length),
        )
        goes_on = length and text[place] == text[t]
        place, length = (place + 1, min(length + 1, 63)) if goes_on else (0, 0)
        if t + 1 >= 6:
            recent = text[t - 5 : t + 1]
            if not goes_on and recent in seen:
                place, length = seen[recent], 1
            seen[recent] = t + 1


def charged(text, network=None):
    """The mixture's bits for each byte, from dictionaries instead of hashed slots, one number at a time."""
    counts = defaultdict(lambda: (0, 0))
    chance = defaultdict(dict)
    sure = defaultdict(lambda: 0.75)
    odds = 10 + (network is not None)
    weights = defaultdict(lambda: np.array([0.3] * odds + [0.0] * (odds + 1)))
    last = defaultdict(lambda: np.full(3, 1 / 3))
    bits = np.zeros(len(text))
    for t, (contexts, (expected, length)) in enumerate(follow_of(text)):
        known = "1"
        for digit in f"{text[t]:08b}":
            y = int(digit)
            pairs = [counts[c, known] for c in contexts]
            learned = [chance[i].get(z_o, (z_o[1] + 0.4) / (sum(z_o) + 0.8)) for i, z_o in enumerate(pairs)]
            p = [of_pair if sum(z_o) else 0.5 for of_pair, z_o in zip(learned, pairs, strict=True)]
            agrees = length > 0 and f"1{expected:08b}".startswith(known)
            goes_on = f"1{expected:08b}"[len(known)] == "1"
            row = length if agrees else 0
            p.append((sure[row] if goes_on else 1 - sure[row]) if agrees else 0.5)
            if network is not None:
                of_node = [network[t][b] for b in range(256) if f"1{b:08b}".startswith(known)]
                p.append(sum(of_node[len(of_node) // 2 :]) / sum(of_node))
            x = np.array([math.log(q / (1 - q)) for q in p] + [2 * q - 1 for q in p] + [0.3])
            rows = ("beginning", known), ("before", text[t - 1] if t else 0), ("length", row)
            scores = np.array([np.clip(weights[r] @ x, -12, 12) for r in rows])
            mixed = min(max(sigmoid(last[known] @ scores), 1e-5), 1 - 1e-5)
            bits[t] -= math.log2(mixed if y else 1 - mixed)
            rate = max(0.002, 0.02 / math.sqrt(1 + t / 1000))
            last[known] = last[known] + 0.1 * rate * (y - mixed) * scores
            for r, score in zip(rows, scores, strict=True):
                weights[r] = weights[r] + rate * (y - sigmoid(score)) * x
            if agrees:
                sure[row] += 0.02 * ((goes_on == (y == 1)) - sure[row])
            for i, (c, z_o) in enumerate(zip(contexts, pairs, strict=True)):
                chance[i][z_o] = learned[i] + 0.02 * (y - learned[i])
                fallen = lambda n: min(n, 2 + n // 3)  # noqa: E731
                zeros, ones = z_o
                counts[c, known] = (fallen(zeros), min(ones + 1, 15)) if y else (min(zeros + 1, 15), fallen(ones))
            known += digit
    return bits


def test_bits_are_those_of_a_plain_loop_over_dictionaries():
    bits, seconds = one_pass(as_array(TEXT))
    np.testing.assert_allclose(bits, charged(TEXT), rtol=2e-3, atol=2e-4)
    assert len(seconds) == 1
    assert bits[-60:].mean() < bits[:30].mean() - 2


def test_a_network_is_one_more_opinion():
    opinion = np.random.default_rng(0).dirichlet(np.full(256, 0.1), len(TEXT)).astype(np.float32) + np.float32(1e-4)
    opinion /= opinion.sum(axis=1, keepdims=True)
    bits, _ = one_pass(as_array(TEXT), iter([opinion]))
    np.testing.assert_allclose(bits, charged(TEXT, opinion), rtol=2e-3, atol=2e-4)


def test_an_oracle_is_soon_believed():
    text = as_array(bytes(np.random.default_rng(0).integers(0, 256, 400).tolist()))
    opinion = np.full((len(text), 256), 1e-4, np.float32)
    opinion[np.arange(len(text)), text] = 1
    bits, _ = one_pass(text, iter([opinion]))
    assert bits[300:].mean() < 0.5
    assert one_pass(text)[0][300:].mean() > 7


def test_the_text_may_be_cut_anywhere():
    text, history, mixture, bits = as_array(TEXT), History(), begin(), []
    for part in np.split(text, [1, 17, 60]):
        nobody = np.zeros((len(part), 0, 256), np.float32)
        mixture, charged = charge(mixture, contexts_of(part.tolist(), history), part.astype(np.int32), nobody)
        bits.append(charged)
    np.testing.assert_array_equal(np.concatenate(bits), one_pass(text)[0])


def test_chances_of_bits_multiply_to_those_of_bytes():
    chances = np.random.default_rng(0).dirichlet(np.full(256, 1.0), 3)
    ones = np.asarray(of_bits(jax.numpy.asarray(chances)))
    for byte in (0, 1, 97, 255):
        product, node = np.ones(3), 1
        for digit in f"{byte:08b}":
            product = product * (ones[:, node] if digit == "1" else 1 - ones[:, node])
            node = 2 * node + int(digit)
        np.testing.assert_allclose(product, chances[:, byte], rtol=1e-3, atol=1e-4)


def test_numbers_not_yet_given_have_no_chance_and_new_bytes_share_theirs():
    chances = np.array([[0.4, 0.3, 0.2, 0.1], [0.4, 0.3, 0.2, 0.1]])
    before, after = byte_chances(chances, np.array([1, 2]), b"xy")
    assert before[ord("x")] == pytest.approx(0.3 / 0.7)
    assert before[ord("y")] == before[ord("z")] == pytest.approx(0.4 / 255 / 0.7)
    assert after[ord("y")] == pytest.approx(0.2 / 0.9)
    np.testing.assert_allclose((before.sum(), after.sum()), 1, rtol=1e-6)


@pytest.mark.parametrize("data", [TEXT, b"", b"aaaaaaaaaa", bytes(range(70))])
def test_the_decoder_reads_what_the_encoder_wrote(data):
    learner = rtrl.Learner(cross_entropy, rtrl.LayerLocalRTRL(), optax.adam(0.001))
    coder = MixedCoder(learner, learner.init(stack_model(4, jax.random.key(0))))
    words, promised = coder.encode(data)
    assert coder.decode(words, len(data)) == data
    assert promised <= 32 * len(words) <= promised + 64


def test_more_symbols_than_classes_are_refused():
    learner = rtrl.Learner(cross_entropy, rtrl.LayerLocalRTRL(), optax.adam(0.001))
    coder = MixedCoder(learner, learner.init(stack_model(4, jax.random.key(0))))
    with pytest.raises(ValueError, match=f"text: expected at most {CAPACITY - 1} distinct bytes, got {CAPACITY}"):
        coder.encode(bytes(range(CAPACITY)))
    assert Vocabulary(CAPACITY).known == b""
