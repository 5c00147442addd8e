"""Streams of any length: how they are cut, what is refused, and what survives when a process is killed."""

import functools
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import weakref
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pandas as pd
import pytest
from cells import make_model, make_stream, weighted_loss
from compiling import quick_flags
from hypothesis import given, settings
from hypothesis import strategies as st

import rtrl
from rtrl._learner_state import StepOutput


class Recorder(eqx.Module):
    """Stands for a learner: keeps what it is given, and counts its steps."""

    calls: list = eqx.field(static=True, default_factory=list)

    def run(self, state, xs, ys, **given):
        self.calls.append({"x": xs, "y": ys} | given)
        steps = len(jax.tree.leaves((xs, ys))[0])
        return state + steps, StepOutput(jnp.ones(steps), None, jnp.ones(steps, bool))


def chunks_of(stream, chunk=4, **options):
    """What a learner gets to see of a stream."""
    recorder = Recorder()
    for _ in rtrl.follow(recorder, jnp.zeros((), int), stream, chunk=chunk, progress=False, **options):
        pass
    return recorder.calls


def pieces_of(arrays, sizes):
    """The arrays one after the other in pieces of these sizes, the last one what remains."""
    ends = [*np.cumsum(sizes, dtype=int), len(jax.tree.leaves(arrays)[0])]
    return [
        jax.tree.map(lambda a, begin=begin, end=end: a[begin:end], arrays)
        for begin, end in zip([0, *ends], ends, strict=False)
    ]


def assert_same_bits(one, other):
    assert jax.tree.structure(one) == jax.tree.structure(other)
    is_key = lambda a: jnp.issubdtype(a.dtype, jax.dtypes.prng_key)  # noqa: E731
    for a, b in zip(*(jax.tree.leaves(eqx.filter(tree, eqx.is_array)) for tree in (one, other)), strict=True):
        assert a.dtype == b.dtype
        assert is_key(a) or a.weak_type == b.weak_type
        np.testing.assert_array_equal(*(jax.random.key_data(k) if is_key(k) else k for k in (a, b)))


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 12), max_size=20), st.integers(1, 9), st.integers(1, 80))
def test_pieces_of_any_size_make_the_same_chunks(sizes, chunk, steps):
    sizes = np.diff(np.minimum(np.cumsum([0, *sizes]), steps))
    stream = {"a": np.arange(steps), "b": (np.arange(2 * steps).reshape(steps, 2) / 7,)}, np.arange(steps) * 3
    calls = chunks_of(pieces_of(stream, sizes), chunk)
    lengths = [len(call["y"]) for call in calls]
    assert lengths[:-1] == [chunk] * (len(lengths) - 1)
    assert 0 < lengths[-1] <= chunk
    whole = jax.tree.map(lambda *a: np.concatenate(a), *calls)
    assert set(whole) == {"x", "y"}
    jax.tree.map(np.testing.assert_array_equal, (whole["x"], whole["y"]), stream)


def test_a_learner_sees_what_run_would_show_it_and_is_compiled_once():
    traced = []

    def loss(prediction, target):
        traced.append(1)
        return weighted_loss(prediction, target)

    model, stream = make_model("elman"), make_stream(50)
    learner = rtrl.Learner(loss, rtrl.RTRL(block_size=4), optax.adam(1e-2))
    expected, outputs = learner.init(model), []
    for piece in pieces_of(stream, [11] * 4):
        expected, output = learner.run(expected, *piece)
        outputs.append(output)
    traces = len(traced)
    following = rtrl.follow(learner, learner.init(model), pieces_of(stream, [1, 2, 30]), chunk=11, progress=False)
    for state, output in following:  # noqa: B007
        assert_same_bits(output, outputs.pop(0))
    assert_same_bits(state, expected)
    assert not outputs
    assert len(traced) == traces


def test_resets_and_weights_count_from_the_chunk_on_that_brings_them():
    y = lambda steps: np.zeros(steps)  # noqa: E731
    resets, weights = np.array([True, False, True]), np.array([0.5, 2.0])
    stream = [(y(5), y(5)), (y(4), y(4), None), (y(3), y(3), resets), (y(2), y(2), None, weights), (y(3), y(3))]
    first, second, third, fourth, fifth = chunks_of(stream)
    assert set(first) == set(second) == {"x", "y"}
    np.testing.assert_array_equal(third["reset"], [False, True, False, True])
    np.testing.assert_array_equal(fourth["reset"], [False] * 4)
    np.testing.assert_array_equal(fourth["weight"], [0.5, 2.0, 1.0, 1.0])
    assert fifth["reset"].dtype == bool
    assert "weight" not in third
    np.testing.assert_array_equal(fifth["weight"], [1.0])
    batched = [(y(3), y(3), None, np.full((3, 2), 0.25)), (y(1), y(1))]
    np.testing.assert_array_equal(chunks_of(batched)[0]["weight"], [[0.25, 0.25]] * 3 + [[1.0, 1.0]])


def test_what_numpy_can_read_may_be_a_piece():
    table = pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0]})
    (call,) = chunks_of([(table, table["a"]), [[[5.0, 6.0]], [7.0]], (jnp.ones((1, 2)), jnp.ones(1))])
    np.testing.assert_array_equal(call["x"], [[1.0, 3.0], [2.0, 4.0], [5.0, 6.0], [1.0, 1.0]])
    np.testing.assert_array_equal(call["y"], [1.0, 2.0, 7.0, 1.0])
    (call,) = chunks_of([(None, [1.0, 2.0]), (None, [3.0])])
    assert call["x"] is None
    (call,) = chunks_of([([np.zeros(2), np.ones((2, 3))], np.zeros(2))])  # a list of arrays is a pytree
    assert [a.shape for a in call["x"]] == [(2,), (2, 3)]


def test_a_stream_may_write_every_piece_into_the_same_memory():
    def stream():
        x = np.zeros(3)
        for first in range(0, 30, 3):
            x[:] = first + np.arange(3)
            yield x, x

    calls = chunks_of(stream())
    np.testing.assert_array_equal(np.concatenate([call["x"] for call in calls]), np.arange(30.0))


def test_no_more_than_a_piece_and_a_chunk_is_held():
    alive, seen, living = [0], [], set()

    class Watched(np.ndarray):
        """An array whose end is noticed."""

    def watched(size):
        x = np.zeros((size, 1)).view(Watched)
        alive[0] += 1
        weakref.finalize(x, lambda: alive.__setitem__(0, alive[0] - 1))
        return x

    def stream():
        for size in [1] * 250 + [5_000] * 5 + [1] * 250:
            seen.append(alive[0])
            yield watched(size), np.zeros(size)

    learner = rtrl.Learner(lambda p, y: (p[0] - y) ** 2, rtrl.RTRL(), optax.sgd(1e-3))
    begin = learner.init(rtrl.Model(rtrl.ElmanCell(1, 2, key=jax.random.key(0)), lambda h: h))
    for _state, _output in rtrl.follow(learner, begin, stream(), chunk=100, progress=False):
        living.add(sum(array.nbytes for array in jax.live_arrays()))
    assert set(seen) == {0}  # whenever a piece is asked for
    assert len(living) <= 2  # after the first chunk, and after all the others


def bad_streams():
    x, y = np.zeros((3, 2)), np.zeros(3)
    pieces = "stream: expected pieces (x, y[, reset, weight]) of numeric arrays with a leading time axis, got "
    memory = "; a stream in memory is a list of one piece, [(xs, ys)]"
    before = "as in the pieces before, "
    return {
        f"{pieces}ndarray as piece 1{memory}": (x, y),
        f"{pieces}tuple of length 1 as piece 2{memory}": [(x, y), (x,)],
        f"{pieces}tuple of length 5 as piece 1{memory}": [(x, y, None, None, None)],
        f"{pieces}DataFrame as piece 1{memory}": [pd.DataFrame(x)],
        f"{pieces}x of type DataFrame and dtype object as piece 1{memory}": [(pd.DataFrame({"a": ["b"]}), [1.0])],
        f"{pieces}x.a of type list of length 2 as piece 1{memory}": [({"a": [[1.0], [1.0, 2.0]]}, y)],
        f"{pieces}the single number 1.0 as y as piece 1{memory}": [(x, 1.0)],
        f"{pieces}x of type str and dtype <U3 as piece 1{memory}": [("abc", y)],
        "stream: expected as many steps in every array of piece 2, got lengths [2, 3]": [(x, y), (x, y[:2])],
        "stream: expected as many steps in every array of piece 1, got no array": [(None, None)],
        f"stream: expected x of piece 3 {before}float64[time, 2], got float32[time, 2]": [
            (x, y),
            (x, y),
            (x.astype(np.float32), y),
        ],
        f"stream: expected x of piece 2 {before}float64[time, 2], got float64[time, 3]": [
            (x, y),
            (np.zeros((3, 3)), y),
        ],
        f"stream: expected y of piece 2 {before}(float64[time], float64[time]), got float64[time]": [
            (x, (y, y)),
            (x, y),
        ],
        f"stream: expected x of piece 2 {before}None, got float64[time, 2]": [(None, y), (x, y)],
        f"stream: expected reset of piece 3 {before}bool[time], got bool[time, 2]": [
            (x, y, y > 0),
            (x, y),
            (x, y, x > 0),
        ],
        "stream: expected at least 1 steps, got 0": iter([]),
    }


@pytest.mark.parametrize("message", bad_streams())
def test_what_is_no_stream_gets_one_clear_line(message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        chunks_of(bad_streams()[message])
    assert str(caught.value) == message


@pytest.mark.parametrize("option", ["chunk", "checkpoint_every", "keep"])
def test_sizes_are_at_least_one(option):
    with pytest.raises(ValueError, match=rf"^{option}: expected an integer of at least 1, got 0"):
        rtrl.follow(Recorder(), jnp.zeros((), int), [], **{option: 0})


def test_the_bar_shows_the_loss_and_where_the_stream_stands(capsys):
    list(rtrl.follow(Recorder(), jnp.zeros((), int), [(np.zeros(6), np.zeros(6))], chunk=4))
    shown = capsys.readouterr().err
    assert "6.00/6.00" in shown
    assert "loss=1" in shown
    assert "step/s" in shown
    list(rtrl.follow(Recorder(), jnp.zeros((), int), iter([([0.0] * 6, [0.0] * 6)]), total=12))
    assert "/12.0" in capsys.readouterr().err
    chunks_of([(np.zeros(6), np.zeros(6))])
    assert capsys.readouterr().err == ""


def test_many_learners_follow_side_by_side():
    """Anything with `run` is followed: here as many networks as there are keys."""

    class Seeds(eqx.Module):
        learner: rtrl.Learner

        @eqx.filter_jit
        def run(self, states, xs, ys):
            return eqx.filter_vmap(lambda state: self.learner.run(state, xs, ys))(states)

    learner, stream = rtrl.Learner(weighted_loss, rtrl.RTRL(), optax.sgd(0.1)), make_stream(10)
    states = eqx.filter_vmap(lambda seed: learner.init(make_model("elman", seed)))(jnp.arange(3))
    seen = [output.loss for _, output in rtrl.follow(Seeds(learner), states, [stream], chunk=5, progress=False)]
    assert [loss.shape for loss in seen] == [(3, 5), (3, 5)]


def test_a_loss_that_is_not_finite_is_said_to_be_in_which_chunk():
    model, (xs, (targets, _)) = make_model("elman"), make_stream(10)
    weights = jnp.ones(10).at[7].set(jnp.nan)
    learner = rtrl.Learner(weighted_loss, rtrl.RTRL(), optax.sgd(0.1), nonfinite="raise")
    with pytest.raises(rtrl.NonFiniteError, match="at step 3") as caught:
        list(rtrl.follow(learner, learner.init(model), [(xs, (targets, weights))], chunk=4, progress=False))
    assert caught.value.__notes__ == ["in the chunk that begins after 4 steps of the stream"]


def test_resets_and_weights_reach_the_learner_as_one_run_has_them():
    model, (xs, (targets, _)) = make_model("gru"), make_stream(10)
    learner = rtrl.Learner(lambda p, y: jnp.sum((p - y) ** 2), rtrl.RTRL(block_size=4), optax.sgd(0.1), update_every=3)
    reset, weight = np.arange(10) % 4 == 3, np.arange(10) % 3 / 2
    whole, _ = learner.run(learner.init(model), xs, targets, reset=reset, weight=weight)
    pieces = pieces_of((xs, targets, reset, weight), [2, 5])
    for state, _ in rtrl.follow(learner, learner.init(model), pieces, chunk=4, progress=False):  # noqa: B007
        pass
    for one, other in zip(jax.tree.leaves(state.model), jax.tree.leaves(whole.model), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10)


LEARNERS = {
    "blocks": (rtrl.RTRL(block_size=4), 1, None),
    "windows": (rtrl.RTRL(block_size=4), 3, None),
    "a random estimator": (rtrl.UORO(), 1, None),
    "a batch": (rtrl.TBPTT(3), 3, 2),
}


@functools.cache
def learning(kind="blocks", steps=50):
    """A learner, its first state and a stream; the same ones every time, so that they are compiled once."""
    estimator, every, batch = LEARNERS[kind]
    learner = rtrl.Learner(weighted_loss, estimator, optax.adam(1e-2), update_every=every)
    state = learner.init(make_model("elman"), key=jax.random.key(3), batch_size=batch)
    return learner, state, make_stream(steps, batch=(batch,) if batch else ())


def follow(learning, folder=None, chunks=None, **options):
    """The state after some chunks, or all of them."""
    learner, state, stream = learning
    options = {"chunk": 7, "checkpoint_every": 2, "progress": False} | options
    following = rtrl.follow(learner, state, pieces_of(stream, [3, 9, 1]), checkpoints=folder, **options)
    return list(itertools.islice(following, chunks))[-1][0]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The folder of a run that came to its end, and its last state; to be copied."""
    folder = tmp_path_factory.mktemp("written")
    return folder, follow(learning(), folder)


@pytest.fixture
def folder(written, tmp_path):
    return Path(shutil.copytree(written[0], tmp_path / "run"))


def files_of(folder):
    return {path: path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


@pytest.mark.parametrize("kind", LEARNERS)
def test_what_was_interrupted_goes_on_to_the_same_bits(kind, tmp_path):
    case = learning(kind)
    in_peace = follow(case)
    for chunks in (1, 3, 4, 2):  # the first one before there is a checkpoint
        follow(case, tmp_path / "run", chunks)
    assert_same_bits(follow(case, tmp_path / "run"), in_peace)


def test_a_stream_that_was_read_to_its_end_gives_its_state_once_more(folder, written):
    learner, state, stream = learning()
    ((state, output),) = rtrl.follow(learner, state, [stream], chunk=7, checkpoints=folder, progress=False)
    assert_same_bits(state, written[1])
    assert output.loss.shape == output.finite.shape == (0,)


def test_what_was_read_of_a_stream_is_passed_over(folder):
    """Also if the stream has grown; one that has become shorter is another stream."""
    longer = learning(steps=60)
    follow(learning()[:2] + longer[2:], folder)
    assert (folder / "steps_60").exists()
    with pytest.raises(ValueError, match=r"^stream: expected at least 60 steps as before, got 50$"):
        follow(learning(), folder)


def test_the_last_checkpoints_stay(tmp_path):
    follow(learning(), tmp_path, keep=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["steps_42", "steps_50"]


def test_arrays_keep_their_type_device_and_emptiness(tmp_path):
    state = {
        "weak": jnp.broadcast_to(jnp.asarray(2.5), 3),
        "half": jnp.arange(3, dtype=jnp.bfloat16),
        "empty": jnp.zeros((0, 3)),
        "key": jax.random.split(jax.random.key(5, impl="rbg"), 2),
        "complex": jnp.array([1j, jnp.nan]),
        "bool": jnp.array(True),
        "placed": jax.device_put(jnp.ones(2), jax.devices()[0]),
        "python": 3,
    }
    assert state["weak"].weak_type

    class Still(eqx.Module):
        def run(self, state, xs, ys):
            return state, StepOutput(jnp.zeros(len(ys)), None, jnp.ones(len(ys), bool))

    stream = [(None, np.zeros(5))]
    list(rtrl.follow(Still(), state, stream, checkpoints=tmp_path, progress=False))
    other = state | {name: state[name] * 0 for name in ("weak", "half", "complex", "placed", "python")}
    other |= {"bool": ~state["bool"], "key": jax.random.split(jax.random.key(6, impl="rbg"), 2)}
    ((restored, _),) = rtrl.follow(Still(), other, stream, checkpoints=tmp_path, progress=False)
    assert_same_bits(restored, state | {"python": 0})
    assert restored["placed"].committed
    assert not restored["half"].committed


def largest(newest):
    return max((path for path in newest.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)


def truncate(newest):
    largest(newest).write_bytes(largest(newest).read_bytes()[:-20])


def flip(newest):
    numbers = bytearray(largest(newest).read_bytes())
    numbers[len(numbers) // 2] ^= 1
    largest(newest).write_bytes(numbers)


def rewrite(change):
    """Changes the description in a checkpoint."""

    def damage(newest):
        path = newest / "about.json"
        path.write_text(json.dumps(change(json.loads(path.read_text()))))

    return damage


def foreign(newest):
    shutil.rmtree(newest)
    ocp.PyTreeCheckpointer().save(newest, {"w": np.zeros(3)})


def unreadable(newest):
    """Files that are as they were written, and still no arrays."""
    about = json.loads((newest / "about.json").read_text())
    shutil.rmtree(newest / "state")
    (newest / "about.json").write_text(json.dumps(about | {"files": {}}))


READABLE = "a checkpoint of rtrl.follow with a readable about.json, got "
OURS = "an about.json that rtrl.follow wrote, got "
DAMAGES = {
    "truncated": (truncate, "state/.* as it was written, got other bytes"),
    "a changed bit": (flip, "state/.* as it was written, got other bytes"),
    "no arrays": (lambda newest: shutil.rmtree(newest / "state"), "state/.* as it was written, got no such file"),
    "unreadable arrays": (unreadable, "arrays that Orbax can read, got .*"),
    "a cut description": (lambda newest: (newest / "about.json").write_text('{"for'), READABLE + "JSONDecodeError .*"),
    "of another program": (foreign, READABLE + r"FileNotFoundError \(No such file or directory\)"),
    "a file": (lambda newest: (shutil.rmtree(newest), newest.write_text("")), READABLE + "NotADirectoryError .*"),
    "another description": (rewrite(lambda about: {"steps": 1}), OURS + "a foreign one"),
    "half a description": (
        rewrite(lambda about: {"format": 1, "steps": 1}),
        OURS + r"one without \['files', 'leaves'\]",
    ),
    "older": (
        rewrite(lambda about: about | {"format": 0, "rtrl": "0.0.9"}),
        "format 1, got format 0, written by rtrl 0.0.9,",
    ),
    "newer": (rewrite(lambda about: {"format": 2, "rtrl": "3.0"}), "format 1, got format 2, written by rtrl 3.0,"),
    "renamed": (rewrite(lambda about: about | {"steps": 7}), "50 steps, as its name says, got 7"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_refused_in_one_line_and_nothing_is_touched(damage, folder, written):
    case = learning()
    do, expected = DAMAGES[damage]
    do(folder / "steps_50")
    before = files_of(folder)
    good = f"{folder}/steps_42: move newer ones away to go on from it"
    with pytest.raises(
        ValueError, match=rf"^checkpoints: expected {expected} in {folder}/steps_50; the last good one is {good}$"
    ):
        follow(case, folder)
    assert files_of(folder) == before
    (folder / "steps_50").rename(folder / "aside")
    assert_same_bits(follow(case, folder), written[1])


class Marked(eqx.Module):
    fingerprint: jax.Array
    inner: rtrl._learner_state.LearnerState


class MarkedLearner(eqx.Module):
    learner: rtrl.Learner

    def run(self, state, xs, ys):
        inner, output = self.learner.run(state.inner, xs, ys)
        return Marked(state.fingerprint, inner), output


def others():
    """Learners that a checkpoint does not fit, and what is said of it."""
    learner, state, stream = learning()
    batch = learning("a batch")
    wider = rtrl.Model(rtrl.ElmanCell(3, 6, key=jax.random.key(0)), eqx.nn.Linear(6, 2, key=jax.random.key(0)))
    momentum = rtrl.Learner(weighted_loss, rtrl.RTRL(block_size=4), optax.sgd(0.1))
    single = jax.tree.map(lambda a: a.astype(jnp.float32) if eqx.is_inexact_array(a) else a, state)
    return {
        "float64[1, 6, 6] at .model.cell.weight_hh, got float64[1, 5, 5]": (learner, learner.init(wider), stream),
        "no such leaf at .optimizer[0].count, got int32[]": (momentum, momentum.init(make_model("elman")), stream),
        "float32[1, 5, 5] at .model.cell.weight_hh, got float64[1, 5, 5]": (learner, single, stream),
        "float64[2, 5] at .stream.cell, got float64[5]": batch,
    }


@pytest.mark.parametrize("number", range(4))
def test_a_checkpoint_of_another_learner_is_refused_by_the_leaf_that_differs(number, folder):
    before = files_of(folder)
    expected, other = list(others().items())[number]
    message = f"checkpoints: expected {expected} in {folder}/steps_50; no other is good"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        follow(other, folder)
    assert files_of(folder) == before


def test_a_checkpoint_of_other_settings_is_refused_by_their_fingerprint(tmp_path):
    learner, state, stream = learning()
    marked = lambda mark: (MarkedLearner(learner), Marked(jnp.array(mark), state), stream)  # noqa: E731
    follow(marked([1, 2]), tmp_path)
    with pytest.raises(
        ValueError,
        match=r"^checkpoints: expected \.fingerprint \[1 3\], got \[1 2\], of another learner, in .*steps_50; no other",
    ):
        follow(marked([1, 3]), tmp_path)
    follow(marked([1, 2]), tmp_path)


def test_a_folder_that_is_none_and_a_missing_orbax_are_said(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"^checkpoints: expected a folder, got the file .*file$"):
        follow(learning(), tmp_path / "file")
    monkeypatch.setitem(sys.modules, "orbax.checkpoint", None)
    with pytest.raises(ImportError, match=r"^checkpoints: expected Orbax to be installed, got none; pip install"):
        follow(learning(), tmp_path)
    follow(learning(), None)


def test_what_else_lies_in_the_folder_stays(tmp_path):
    (tmp_path / "7").mkdir()
    (tmp_path / "steps_of_mine").mkdir()
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / ".steps_14.unfinished").mkdir()  # left by a process that was killed
    follow(learning(), tmp_path, 3)
    follow(learning(), tmp_path, keep=1)
    assert {path.name for path in tmp_path.iterdir()} == {"7", "steps_of_mine", "notes.txt", "steps_50"}


def test_fifty_kills_at_random_moments_change_no_bit(tmp_path):
    """One in five before the first chunk, the others as it learns or writes."""
    program = Path(__file__).with_name("killed.py")
    environment = os.environ | {"XLA_FLAGS": quick_flags(), "PYTHONPATH": str(Path(rtrl.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, program, tmp_path, "0"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    cases = json.loads(done.stdout)
    assert sum(case["killed"] for case in cases.values()) == 50, cases
    for name, case in cases.items():
        assert case["equal"], name
        assert case["kept"] == ["steps_189", "steps_196", "steps_200"], name
