"""The exit codes of the commands, also of one that is interrupted before it begins.

This module imports nothing heavy: an interrupt while it is imported ends in a traceback.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

SOME_FAILED = 1
NOTHING_DONE = 2
INTERRUPTED = 130


@contextmanager
def interruptible_imports() -> Iterator[None]:
    """End the program with one line and code 130 if it is interrupted while modules are imported.

    Raises:
        SystemExit: It was interrupted.
    """
    try:
        yield
    except KeyboardInterrupt:
        sys.stderr.write("interrupted before the command began\n")
        raise SystemExit(INTERRUPTED) from None
