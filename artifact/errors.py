"""Mistakes that a user can mend: reported as one line, without a traceback."""

import sys
from collections.abc import Callable


class ArtifactError(Exception):
    """What is wrong and what to do about it, in one line."""


def run(main: Callable[[], None]) -> None:
    """Runs a command; an `ArtifactError`, or one of the system, becomes one line on stderr and exit status 1."""
    try:
        main()
    except ArtifactError as error:
        sys.exit(f"error: {error}")
    except OSError as error:  # a full disk, a folder that is gone
        sys.exit(f"error: {error.strerror or error}: {error.filename or 'a file'}")
    except KeyboardInterrupt:
        sys.exit("interrupted")
