"""Sizes, counts and scales that a user gives."""

import operator
from typing import Any


def check_sizes(**sizes: Any) -> None:
    """Raises `ValueError` unless every size is an integer of at least 1."""
    for name, size in sizes.items():
        try:
            enough = operator.index(size) >= 1 and not isinstance(size, bool)
        except TypeError:
            enough = False
        if not enough:
            raise ValueError(f"{name}: expected an integer of at least 1, got {size!r}")


def named(value: Any, most: int = 60) -> str:
    """A value for a message: what it looks like if that is short, else its type."""
    return repr(value) if len(repr(value)) <= most else type(value).__name__


def check_positive(**numbers: float) -> None:
    """Raises `ValueError` unless every number is above 0."""
    for name, number in numbers.items():
        if not number > 0:
            raise ValueError(f"{name}: expected a positive number, got {number}")
