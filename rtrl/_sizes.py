"""Sizes, counts and scales that a user gives."""


def check_sizes(**sizes: int) -> None:
    """Raises `ValueError` unless every size is at least 1."""
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name}: expected an integer of at least 1, got {size}")


def check_positive(**numbers: float) -> None:
    """Raises `ValueError` unless every number is above 0."""
    for name, number in numbers.items():
        if not number > 0:
            raise ValueError(f"{name}: expected a positive number, got {number}")
