"""However it is cut: a stream in pieces, saved and resumed in between, trains as one call of `run` does."""

import functools
import io
import itertools
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st
from law_cells import KINDS, stream, varied
from law_estimators import ESTIMATORS
from law_oracles import squared
from law_settings import EXAMPLES, SHORT, examples_of_each

import rtrl

STEPS, PIECE = 12, 4


@functools.cache
def learner_of(kind, name, every):
    optimizer = optax.chain(optax.clip_by_global_norm(3.0), optax.sgd(0.01, momentum=0.9))
    return rtrl.Learner(squared, ESTIMATORS[name].make(kind), optimizer, update_every=every)


@functools.cache
def beginning(kind, name, every, batch):
    """A state before the first step, as a compiled function of model and seed."""
    learner = learner_of(kind, name, every)
    start = eqx.filter_jit(lambda model, key: learner.init(model, key=key, batch_size=batch))
    return lambda model, seed: start(model, jax.random.key(seed))


@functools.cache
def unknowing(kind, name, every):
    """`run` where it is not known whether a window begins."""
    return eqx.filter_jit(learner_of(kind, name, every).run)


@functools.cache
def mapped(kind, name, every):
    """The same for two networks at once; what comes out is that of the first."""
    run = eqx.filter_vmap(learner_of(kind, name, every).run, in_axes=(eqx.if_array(0), None, None))

    def of_the_first(state, xs, ys):
        both = jax.tree.map(lambda a: jnp.stack([a, a]) if eqx.is_array(a) else a, state)
        return jax.tree.map(lambda a: a[0] if eqx.is_array(a) else a, run(both, xs, ys))

    return eqx.filter_jit(of_the_first)


def resumed(state, fresh):
    """The state from a file, into one that was made anew."""
    file = io.BytesIO()
    eqx.tree_serialise_leaves(file, state)
    file.seek(0)
    return eqx.tree_deserialise_leaves(file, fresh)


TRIED = [
    ("gru", "RTRL", 3, 2, True, "step run jit"),
    ("odd diagonal", "RTRL", 4, None, True, "step jit"),
    ("complex", "RTRL", 1, 2, True, "step run"),
    ("encoded", "RTRL", 3, None, True, "step jit"),
    ("tied words", "layer-local", 4, None, True, "step jit"),
    ("odd dense", "block 2", 3, None, True, "step jit"),
    ("elman", "block 4, every 3", 3, None, False, "step vmap"),
    ("frozen bias", "block 2", 1, 2, True, "step run"),
    ("odd dense", "chunks of 3", 3, None, True, "step jit"),
    ("words", "TBPTT 3", 1, 2, True, "step run"),
    ("nested", "TBPTT 4, every 3", 3, None, True, "step jit"),
    ("masked lstm", "SnAp 2", 1, None, True, "step run"),
    ("odd diagonal", "EProp", 1, None, False, "step run"),
    ("ctrnn", "RFLO", 1, 2, True, "step run"),
    ("nested", "UORO", 4, 2, True, "step jit"),
    ("odd dense", "KFRTRL", 1, None, True, "step run"),
    ("gru", "OK 1", 1, None, True, "step run"),
    ("ode", "sketched 1", 1, None, True, "step run"),
]
"""(kind, estimator, steps between updates, streams, whether there are resets and weights, how pieces are run)."""


def tried(short):
    """Those of a short run; or every kind and estimator, each with settings that change from one to the next."""
    if short:
        return TRIED
    pairs = [
        (kind, name) for name in ESTIMATORS for kind in KINDS if kind in ESTIMATORS[name].serves and name != "BPTT"
    ]
    options = itertools.product((3, 4, 1), (None, 2), (True, True, False))
    return [(*pair, *setting, "step run jit") for pair, setting in zip(pairs, itertools.cycle(options), strict=False)]


EACH = math.ceil(0.1 * EXAMPLES / len(tried(SHORT)))
OPTIONS = examples_of_each(EACH)


@pytest.mark.parametrize(("kind", "name", "every", "batch", "flags", "hows"), tried(SHORT))
def test_a_stream_in_pieces_trains_as_in_one(kind, name, every, batch, flags, hows):
    @OPTIONS
    @given(streams_of(kind, batch, flags), cuts(hows.split()))
    def same(drawn, pieces):
        check_cut(kind, name, every, batch, *drawn, pieces)

    same()


@pytest.mark.parametrize(
    ("kind", "name", "every", "batch"),
    [("odd dense", "block 2", 1, None), ("odd diagonal", "RTRL", 1, None), ("lru", "chunks of 4", 4, 2)],
)
def test_episodes_of_a_stream_train_as_streams_of_their_own(kind, name, every, batch):
    """A reset is a new beginning with the trained model and the optimizer's state of then."""
    of = kind, name, every

    @OPTIONS
    @given(streams_of(kind, batch, flags=True), st.tuples(st.booleans(), st.booleans()))
    def same(drawn, begins):
        seed, (xs, ys, options) = drawn
        reset = np.zeros_like(options["reset"])
        reset[PIECE], reset[2 * PIECE] = begins
        streams = (xs, ys, {"reset": reset, "weight": options["weight"]})
        first = beginning(*of, batch)(varied(kind, "float64", seed, 0.3), seed)
        expected, one = learner_of(*of).run(first, *streams[:2], **streams[2])
        state, losses = first, []
        for k in range(STEPS // PIECE):
            if k and begins[k - 1]:
                anew = beginning(*of, batch)(state.model, seed)
                state = eqx.tree_at(lambda s: s.optimizer, anew, state.optimizer)
            xs, ys, options = piece_of(streams, k * PIECE, (k + 1) * PIECE)
            options = {**options, "reset": np.zeros_like(options["reset"])}
            state, output = learner_of(*of).run(state, xs, ys, **options)
            losses.append(output.loss)
        assert_same((np.concatenate(losses), state.model), (one.loss, expected.model))

    same()


def piece_of(streams, begin, end):
    return jax.tree.map(lambda a: a[begin:end], streams)


def advance(how, of, state, streams):
    """One piece of the stream; outputs have a time axis."""
    xs, ys, options = streams
    if how == "step":
        x, y, options = jax.tree.map(lambda a: a[0], streams)
        state, output = learner_of(*of).step(state, x, y, **options)
        return state, jax.tree.map(lambda a: a[None], output)
    if how == "run":
        return learner_of(*of).run(state, xs, ys, **options)
    if how == "vmap":
        return mapped(*of)(state, xs, ys)
    return unknowing(*of)(state, xs, ys, **options)


@st.composite
def cuts(draw, hows):
    """Pieces of the stream, each with how it is advanced and whether the state is saved and resumed before."""
    pieces, at = [], 0
    while at < STEPS:
        how = draw(st.sampled_from(hows)) if at + PIECE <= STEPS else "step"
        pieces.append((how, at, at + (1 if how == "step" else PIECE), draw(st.booleans())))
        at = pieces[-1][2]
    return pieces


@st.composite
def streams_of(draw, kind, batch, flags):
    lead = () if batch is None else (batch,)
    seed = draw(st.integers(0, 2**20))
    xs, ys = stream(kind, "float64", seed, STEPS, draw(st.sampled_from([0.1, 1.0])), lead)
    if not flags:
        return seed, (xs, ys, {})
    count = STEPS * (batch or 1)
    reset = np.reshape(
        draw(st.lists(st.sampled_from([False, False, True]), min_size=count, max_size=count)), (STEPS, *lead)
    )
    weights = draw(st.lists(st.sampled_from([1.0, 0.0, 0.5]), min_size=count, max_size=count))
    weight = np.reshape(weights, (STEPS, *lead))
    return seed, (xs, np.where(weight[..., None] == 0, np.nan, ys), {"reset": reset, "weight": weight})


def check_cut(kind, name, every, batch, seed, streams, pieces):
    of = kind, name, every
    make = beginning(*of, batch)
    first, fresh = make(varied(kind, "float64", seed, 0.3), seed), make(varied(kind, "float64", 0, 0.3), 0)
    xs, ys, options = streams
    expected, one = learner_of(*of).run(first, xs, ys, **options)
    state, outputs = first, []
    for how, begin, end, save in pieces:
        state = resumed(state, fresh) if save else state
        state, output = advance(how, of, state, piece_of(streams, begin, end))
        outputs.append(output)
    together = jax.tree.map(lambda *a: np.concatenate(a), *outputs)
    rtol = 1e-6 if isinstance(learner_of(*of).estimator, rtrl.OK) else 1e-9  # OK finds small terms in half the digits
    assert_same((together.loss, together.prediction), (one.loss, one.prediction), rtol)
    assert_same((state.model, state.optimizer), (expected.model, expected.optimizer), rtol)
    assert one.finite.all()
    assert together.finite.all()


def assert_same(ones, others, rtol=1e-9):
    """Leaf by leaf, within rounding of the leaf's size."""
    pairs = zip(*(jax.tree.leaves(eqx.filter(tree, eqx.is_inexact_array)) for tree in (ones, others)), strict=True)
    for one, other in pairs:
        size = max(np.abs(other).max(initial=0), 1e-3)
        np.testing.assert_allclose(one, other, rtol=0, atol=rtol * size)
