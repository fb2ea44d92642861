"""Faults at a chosen write of a command: a kill, a signal, a full disk.

Every write ends with ``Path.replace``, which moves a temporary file into place. The fault is
injected there: before it, with the temporary file complete or cut in half, or after it. Each fault
is a function for ``Child(prepare=...)``.
"""

from __future__ import annotations

import errno
import itertools
import os
import resource
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.reliability.folders import TEMPORARY

Fault = Callable[[], None]
MOMENTS = ("half", "before", "after")


def stop_the_clock() -> None:
    """Stop the clock that measures, because results contain seconds, which differ in every run."""
    time.perf_counter = _zero


def _zero() -> float:
    return 0.0


def kill_at_write(number: int, moment: str) -> Fault:
    """Kill the process at its ``number``-th write, from 0; ``moment`` is one of ``MOMENTS``."""
    return partial(_strike_at_write, number, moment, partial(_raise_signal, signal.SIGKILL))


def signal_at_write(number: int, which: signal.Signals) -> Fault:
    """Send the process a signal before its ``number``-th write."""
    return partial(_strike_at_write, number, "before", partial(_raise_signal, which))


def full_disk_at_write(number: int, forever: bool, error: int = errno.ENOSPC) -> Fault:
    """Let the ``number``-th write fail with an error, with half of the file written.

    Args:
        number: From 0.
        forever: Whether all later writes fail too.
        error: No space, quota exceeded, input/output error, read-only file system, ...
    """
    return partial(_strike_at_write, number, "half", partial(_raise_error, error), forever)


def file_size_limit(limit: int) -> Fault:
    """Let the operating system refuse to write any file beyond ``limit`` bytes."""
    return partial(resource.setrlimit, resource.RLIMIT_FSIZE, (limit, limit))


def count_writes(report: Path) -> Fault:
    """Let the process record in a file how many writes it has done so far."""
    return partial(_count_writes, report)


def _strike_at_write(
    number: int, moment: str, strike: Callable[[], None], forever: bool = False
) -> None:
    stop_the_clock()
    replace = Path.replace
    numbers = itertools.count()

    def replace_or_strike(self: Path, target: Any) -> Path:
        if self.suffix != TEMPORARY:
            return replace(self, target)
        seen = next(numbers)
        strikes = seen == number or (forever and seen > number)
        if strikes and moment == "half":
            os.truncate(self, self.stat().st_size // 2)
        if strikes and moment != "after":
            strike()
        result = replace(self, target)
        if strikes and moment == "after":
            strike()
        return result

    Path.replace = replace_or_strike  # type: ignore[method-assign, assignment]


def _count_writes(report: Path) -> None:
    stop_the_clock()
    replace = Path.replace
    numbers = itertools.count(1)

    def replace_and_count(self: Path, target: Any) -> Path:
        if self.suffix == TEMPORARY:
            report.write_text(str(next(numbers)), encoding="utf-8")
        return replace(self, target)

    Path.replace = replace_and_count  # type: ignore[method-assign, assignment]


def _raise_signal(which: signal.Signals) -> None:
    os.kill(os.getpid(), which)


def _raise_error(error: int) -> None:
    raise OSError(error, os.strerror(error))
