"""Disks that are full, over quota, broken or read-only, folders that change, clocks that go back.

A command has to end by itself with a message that names the trouble, leave no half file behind, and
come to the same files as ever once the trouble is over.
"""

from __future__ import annotations

import errno
import itertools
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.reliability.children import Call, Child, Ended, run
from benchmarks.reliability.faults import (
    Fault,
    file_size_limit,
    full_disk_at_write,
    stop_the_clock,
)
from benchmarks.reliability.folders import differences, snapshot, temporaries
from benchmarks.reliability.kills import Baseline
from benchmarks.reliability.report import Trial
from benchmarks.reliability.workplace import calls, fresh
from benchmarks.tiny import tiny_options, write_face

# A full disk meets all items alike and ends the run; another error may be that of one item.
ERRORS = {
    "disk full": errno.ENOSPC,
    "over quota": errno.EDQUOT,
    "input/output error": errno.EIO,
    "read-only": errno.EROFS,
}
SETTLED = (1, 2)  # exit codes: some items failed; nothing was done
CHANGING_FACES = 40
HOUR = 3600.0


def full_disk_trials(
    inputs: Path, folder: Path, base: Baseline, every: bool, seed: int
) -> Iterator[Trial]:
    """Let writes of a command fail, then run it again on a disk that has space.

    Args:
        inputs: What ``make_inputs`` wrote.
        folder: The workplace.
        base: The undisturbed run.
        every: At every write; if not, at three of them.
        seed: Of the choice of the three.
    """
    random = np.random.default_rng((seed, base.writes))
    writes = list(range(base.writes))
    if not every:
        writes = sorted(random.choice(writes, size=min(3, len(writes)), replace=False).tolist())
    for number in writes:
        for forever in (False, True):
            fault = full_disk_at_write(number, forever)
            what = f"disk full {'from' if forever else 'at'} write {number}"
            yield _after(inputs, folder, base, what, fault)
    for name, error in ERRORS.items():
        number = int(random.integers(base.writes))
        fault = full_disk_at_write(number, forever=True, error=error)
        yield _after(inputs, folder, base, f"{name} from write {number}", fault)
    for limit in (200, 2000):
        what = f"no file may be larger than {limit} bytes"
        yield _after(inputs, folder, base, what, file_size_limit(limit))


def _after(inputs: Path, folder: Path, base: Baseline, what: str, fault: Fault) -> Trial:
    """Run a command with a fault, and once more without."""
    fresh(inputs, folder)
    ended = run(calls()[base.name], folder, partial(_both, stop_the_clock, fault))
    faults = _settled(ended)
    if temporaries(folder):
        faults.append("a temporary file is left")
    return _again(folder, base, what, faults)


def _both(first: Fault, second: Fault) -> None:
    first()
    second()


def _settled(ended: Ended) -> list[str]:
    """What is wrong with the end of a command that could not write everything."""
    faults = []
    if ended.timed_out:
        faults.append("it did not end")
    # What is written beside the results, such as the cache, may be done without.
    if ended.code not in (0, *SETTLED):
        faults.append(f"exit code {ended.code}: {ended.output[-800:]}")
    if "Traceback" in ended.output:
        faults.append(f"a traceback: {ended.output[-800:]}")
    return faults


def _again(folder: Path, base: Baseline, what: str, faults: list[str]) -> Trial:
    ended = run(calls(resumed=True)[base.name], folder, stop_the_clock)
    if ended.code != 0:
        faults.append(f"the re-run ended with {ended.code}: {ended.output[-800:]}")
    faults += differences(snapshot(folder), base.files)
    return Trial(base.name, what, tuple(faults))


def small_disk_trials(inputs: Path, folder: Path, base: Baseline) -> Iterator[Trial]:
    """Fill up a small disk for real, and write to one that is read-only; needs to be root."""
    used = sum(len(content) for content in base.files.values())
    given = sum(path.stat().st_size for path in inputs.rglob("*") if path.is_file())
    for share in (0.1, 0.5, 0.9):
        size = int(given + share * (used - given)) // 4096 * 4096 + (256 << 10)
        fresh(inputs, folder)
        with_disk = partial(_on_a_disk, folder, base, f"size={size}")
        yield with_disk(f"a disk of {size >> 10} KiB", None)
    yield _on_a_disk(folder, base, "size=64m", "a read-only disk", "ro")
