"""Sizes, counts and horizons that a user gives."""


def check_sizes(**sizes: int) -> None:
    """Raises `ValueError` unless every size is at least 1."""
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name}: expected an integer of at least 1, got {size}")
