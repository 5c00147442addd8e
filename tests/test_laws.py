"""Right or refused: for every kind of cell and every estimator, the gradient that is documented, or one line."""

import functools
import math

import equinox as eqx
import jax
import jaxtyping
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from law_cells import KINDS, halves, stream, template, varied
from law_estimators import ESTIMATORS, STEPS, programs, promised
from law_oracles import loop, squared
from law_settings import EXAMPLES, SHORT, examples_of_each

import rtrl

PROGRAMS = programs(short=SHORT)
EACH = math.ceil(0.9 * EXAMPLES / len(PROGRAMS))
TOLERANCE = {"float64": (1e-10, 1e-13, 1e-12), "float32": (1e-3, 1e-5, 1e-4)}
"""Of a leaf's size, of the size of the whole gradient, of the loss."""
RANDOM = ("UORO", "KFRTRL", "OK 1", "OK full")
OPTIONS = examples_of_each(EACH)


@st.composite
def examples(draw):
    """Everything that is data: seeds and sizes of parameters and inputs, resets, weights."""
    steps = {"min_size": STEPS, "max_size": STEPS}
    return {
        "seed": draw(st.integers(0, 2**20)),
        "scale": draw(st.sampled_from([0.5, 0.0, 0.1, 1.0])),
        "inputs": draw(st.sampled_from([1.0, 0.0, 0.01, 3.0])),
        "reset": np.array(draw(st.lists(st.booleans(), **steps))),
        "weight": np.array(draw(st.lists(st.sampled_from([1.0, 0.0, 0.5, -2.0]), **steps))),
    }


@pytest.mark.parametrize(("kind", "name", "dtype", "flags"), PROGRAMS)
def test_the_gradient_is_the_documented_one_leaf_by_leaf(kind, name, dtype, flags):
    @OPTIONS
    @given(examples())
    def right(example):
        check_example(kind, name, dtype, flags, example)

    right()


@pytest.mark.parametrize("name", ESTIMATORS)
def test_what_an_estimator_cannot_serve_it_refuses_in_one_line(name):
    served = ESTIMATORS[name].serves
    assert served
    for kind in KINDS:
        if kind not in served:
            with pytest.raises((TypeError, ValueError)) as caught:
                rtrl.start(ESTIMATORS[name].make(kind), template(kind), jax.random.key(0))
            assert is_one_line(caught.value), (kind, caught.value)


def test_there_are_as_many_examples_as_promised():
    assert EACH * len(PROGRAMS) >= 0.9 * EXAMPLES
    assert {kind for kind, *_ in PROGRAMS} == set(KINDS)
    assert {name for _, name, *_ in PROGRAMS} == set(ESTIMATORS)


def shapes_around(*right):
    """The right shape, or one with an axis more, less, or of another length."""
    wrong = [right[:-1], (*right, 1), (right[0] + 1, *right[1:]), (0, *right[1:]), (*right[:-1], 3), ()]
    return st.sampled_from([right, right, right, *wrong])


KINDS_OF_NUMBERS = st.sampled_from(["float64", "float64", "float64", "float32", "int32", "bool", "complex128"])


@settings(OPTIONS, max_examples=60)
@given(
    st.fixed_dictionaries(
        {
            "xs": st.tuples(shapes_around(STEPS, 2), KINDS_OF_NUMBERS),
            "ys": st.tuples(shapes_around(STEPS, 2), KINDS_OF_NUMBERS),
            "reset": st.none() | st.tuples(shapes_around(STEPS), KINDS_OF_NUMBERS),
            "weight": st.none() | st.tuples(shapes_around(STEPS), KINDS_OF_NUMBERS),
        }
    ),
    st.sampled_from(["elman", "elstm", "ode"]),
    st.sampled_from(["RTRL", "TBPTT 3", "chunks of 3", "SnAp 1"]),
    st.sampled_from([None, 2]),
)
def test_streams_of_any_shape_and_dtype_are_taken_or_refused_in_one_line(given, kind, name, batch_size):
    """By `sequence_gradient`, `run` and `step`. Nothing but tracing; without run-time type checks, as users run it."""
    streams = [None if of is None else np.ones(*of) for of in given.values()]
    first = [None if a is None else a[0] if a.ndim and len(a) else a for a in streams]
    estimator, every = ESTIMATORS[name].make(kind), ESTIMATORS[name].every
    learner = rtrl.Learner(squared, estimator, optax.sgd(0.1), update_every=every)

    def gradient(model, xs, ys, reset, weight):
        return rtrl.sequence_gradient(estimator, model, squared, xs, ys, reset=reset, weight=weight, update_every=every)

    def run(model, xs, ys, reset, weight):
        return learner.run(learner.init(model, batch_size=batch_size), xs, ys, reset=reset, weight=weight)

    def step(model, x, y, reset, weight):
        return learner.step(learner.init(model, batch_size=batch_size), x, y, reset=reset, weight=weight)

    with unchecked():
        assert is_taken_or_refused(gradient, template(kind), *streams)
        assert is_taken_or_refused(run, template(kind), *streams)
        assert is_taken_or_refused(step, template(kind), *first)


def is_taken_or_refused(function, *arguments):
    try:
        eqx.filter_eval_shape(function, *arguments)
    except (TypeError, ValueError) as error:
        return is_one_line(error)
    return True


@functools.cache
def program(kind, name, flags):
    """The gradient as the package gives it, compiled once; `flags`: whether resets and weights are given."""
    estimator, every = ESTIMATORS[name].make(kind), ESTIMATORS[name].every

    def gradient(model, xs, ys, reset, weight, seed):
        key = jax.random.key(seed) if name in RANDOM else None
        given = {"reset": reset, "weight": weight} if flags else {}
        return rtrl.sequence_gradient(estimator, model, squared, xs, ys, update_every=every, key=key, **given)

    return gradient


def check_example(kind, name, dtype, flags, example):
    reset, weight = example["reset"], example["weight"].astype(dtype)
    if not flags:
        reset, weight = np.zeros(STEPS, bool), np.ones(STEPS, dtype)
    model = varied(kind, dtype, example["seed"], example["scale"])
    xs, ys = stream(kind, dtype, example["seed"], STEPS, example["inputs"])
    ys = np.where(weight[:, None] == 0, np.nan, ys).astype(dtype)
    value, gradient = program(kind, name, flags)(model, xs, ys, reset, weight, example["seed"])
    credit = promised(name, kind) or (np.full(STEPS, -1), np.zeros(STEPS, int))
    expected, reference = loop(kind, dtype)(halves(model)[0], xs, ys, reset, weight, *credit)
    of_leaf, of_tree, of_loss = TOLERANCE[dtype]
    np.testing.assert_allclose(value, expected, rtol=of_loss, atol=of_loss * 10 * np.abs(weight).sum())
    leaves, references = jax.tree.leaves_with_path(gradient), jax.tree.leaves(reference)
    rounded = [0.0] * len(leaves)
    if dtype == "float32":
        rounded = rounding(kind, references, halves(model)[0], xs, ys, reset, weight, *credit)
    size = max(np.abs(leaf).max() for leaf in references)
    for (path, leaf), wanted, off in zip(leaves, references, rounded, strict=True):
        place = jax.tree_util.keystr(path)
        assert leaf.dtype == wanted.dtype, place
        if promised(name, kind) is None and ".readout" not in place:
            assert np.isfinite(leaf).all(), place
        else:
            atol = of_leaf * np.abs(wanted).max() + of_tree * size + 10 * off  # two roundings of one kind
            np.testing.assert_allclose(leaf, wanted, rtol=0, atol=atol, err_msg=place)


def rounding(kind, references, params, *given):
    """By how much float32 moves the plain loop itself, leaf by leaf; near 1 it keeps no digit of 1 - tanh²."""
    inexact, rest = eqx.partition((params, *given), eqx.is_inexact_array_like)
    doubled = jax.tree.map(lambda a: a.astype(np.promote_types(a.dtype, np.float64)), inexact)
    _, exact = loop(kind, "float64")(*eqx.combine(doubled, rest))
    return [np.abs(a - b).max() for a, b in zip(references, jax.tree.leaves(exact), strict=True)]


def is_one_line(error):
    return "\n" not in str(error) and 0 < len(str(error)) < 500


class unchecked:  # noqa: N801
    """Without the run-time checks of types, which have messages of their own."""

    def __enter__(self):
        jaxtyping.config.update("jaxtyping_disable", True)

    def __exit__(self, *_):
        jaxtyping.config.update("jaxtyping_disable", False)
