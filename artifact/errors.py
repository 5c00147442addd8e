"""Mistakes that a user can mend: reported as one line, without a traceback."""

import sys
from collections.abc import Callable


class ArtifactError(Exception):
    """What is wrong and what to do about it, in one line."""


def run(main: Callable[[], None]) -> None:
    """Runs a command; an `ArtifactError` becomes one line on stderr and exit status 1."""
    try:
        main()
    except ArtifactError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted")
