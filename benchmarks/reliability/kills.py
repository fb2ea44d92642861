"""Killing a command anywhere, and comparing a rerun's files with those of an undisturbed run."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.reliability.children import Child, Ended, run
from benchmarks.reliability.faults import (
    MOMENTS,
    Fault,
    count_writes,
    kill_at_write,
    signal_at_write,
    stop_the_clock,
)
from benchmarks.reliability.folders import differences, snapshot, temporaries
from benchmarks.reliability.report import Trial
from benchmarks.reliability.workplace import calls, fresh

INTERRUPTED = 130
# Endings of records that complete an item: after a kill, an item with one is not processed again.
RECORDS = ("_result.json", "_align.json")
SUMMARIZED = ("generate_reference", "train_per_image", "inference")


@dataclass(frozen=True)
class Baseline:
    """An undisturbed run of a command.

    Attributes:
        name: The name of the command.
        files: The files that it left.
        seconds: How long it took.
        writes: How many files it wrote.
    """

    name: str
    files: dict[str, bytes]
    seconds: float
    writes: int


def baseline(inputs: Path, folder: Path, name: str) -> Baseline:
    """Run a command undisturbed; RuntimeError if it fails."""
    fresh(inputs, folder)
    counter = folder.with_name(f"{folder.name}.count")
    ended = run(calls()[name], folder, count_writes(counter))
    if ended.code != 0:
        raise RuntimeError(f"{name} failed undisturbed, with code {ended.code}:\n{ended.output}")
    writes = int(counter.read_text(encoding="utf-8"))
    counter.unlink()
    return Baseline(name, snapshot(folder), ended.seconds, writes)


def kill_trials(
    inputs: Path, folder: Path, base: Baseline, count: int, seed: int
) -> Iterator[Trial]:
    """Kill a command ``count`` times, half of them at a write, half at a random moment."""
    random = np.random.default_rng((seed, len(base.files), base.writes))
    for number in range(count):
        if number % 2 == 0:
            at_write = int(random.integers(base.writes))
            moment = MOMENTS[int(random.integers(len(MOMENTS)))]
            what = f"killed {moment} write {at_write}"
            yield _killed_at_write(inputs, folder, base, what, kill_at_write(at_write, moment))
        else:
            seconds = float(random.uniform(0, base.seconds))
            yield _killed_after(inputs, folder, base, seconds)


def every_write(inputs: Path, folder: Path, base: Baseline) -> Iterator[Trial]:
    """Kill a command at each of its writes, at each moment of the write."""
    for at_write in range(base.writes):
        for moment in MOMENTS:
            what = f"killed {moment} write {at_write}"
            yield _killed_at_write(inputs, folder, base, what, kill_at_write(at_write, moment))


def signal_trials(inputs: Path, folder: Path, base: Baseline, count: int) -> Iterator[Trial]:
    """Interrupt a command: exit code 130, a summary, and all files after a rerun."""
    for number in range(count):
        which = (signal.SIGINT, signal.SIGTERM)[number % 2]
        at_write = 1 + number * (base.writes - 1) // count  # the first is not an item's
        what = f"{which.name} before write {at_write}"
        fresh(inputs, folder)
        ended = run(calls()[base.name], folder, signal_at_write(at_write, which))
        faults = []
        if ended.code != INTERRUPTED:
            faults.append(f"exit code {ended.code} instead of 130: {ended.output[-500:]}")
        if "interrupted" not in ended.output:
            faults.append("no word about the interruption")
        # All items may be done, and the interruption may hit the summary itself.
        is_summary_due = base.name in SUMMARIZED and _count_records(folder) < _records_of(base)
        if is_summary_due and not re.search(r"\d of \d \w+ (is|are) in out", ended.output):
            faults.append("no summary")
        if temporaries(folder):
            faults.append("a temporary file is left")
        yield _checked_again(folder, base, what, faults)


def _killed_at_write(inputs: Path, folder: Path, base: Baseline, what: str, fault: Fault) -> Trial:
    fresh(inputs, folder)
    ended = run(calls()[base.name], folder, fault)
    faults = []
    if ended.code != -signal.SIGKILL:
        faults.append(f"was not killed but ended with {ended.code}")
    return _checked_again(folder, base, what, faults)


def _killed_after(inputs: Path, folder: Path, base: Baseline, seconds: float) -> Trial:
    fresh(inputs, folder)
    child = Child(calls()[base.name], folder, stop_the_clock)
    time.sleep(seconds)
    child.kill()
    child.wait()
    return _checked_again(folder, base, f"killed after {seconds:.2f} s", [])


def _checked_again(folder: Path, base: Baseline, what: str, faults: list[str]) -> Trial:
    """Run a command again and compare everything with the undisturbed run."""
    half = len(temporaries(folder))
    finished = _finished_items(folder)
    ended = run(calls()[base.name], folder, stop_the_clock)
    if ended.code != 0:
        faults.append(f"the re-run ended with {ended.code}: {ended.output[-800:]}")
    faults += differences(snapshot(folder), base.files)
    for path, stamp in finished.items():
        if _stamp(path) != stamp:
            faults.append(f"done twice: {path.name}")
    faults += _epochs_done_twice(folder, ended)
    return Trial(base.name, what, tuple(faults), note=f"{half} half files" if half else "")


def _finished_items(folder: Path) -> dict[Path, tuple[int, int]]:
    """Return the files of all items with a record, with the stamps that a rewrite changes."""
    finished = {}
    for record in (folder / "out").rglob("*.json"):
        ending = next((end for end in RECORDS if record.name.endswith(end)), None)
        if ending is not None:
            stem = record.name[: -len(ending)]
            for path in record.parent.glob(f"{stem}_*"):
                if path.suffix != ".tmp":
                    finished[path] = _stamp(path)
    return finished


def _count_records(folder: Path) -> int:
    return sum(path.name.endswith(RECORDS) for path in (folder / "out").rglob("*.json"))


def _records_of(base: Baseline) -> int:
    return sum(name.endswith(RECORDS) for name in base.files)


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_ino, status.st_mtime_ns


def _epochs_done_twice(folder: Path, ended: Ended) -> list[str]:
    """Compare where a training run resumed with the epochs that it then did."""
    went_on = re.search(r"resuming after epoch (\d+)", ended.output)
    if went_on is None:
        return []
    again = [int(epoch) for epoch in re.findall(r"epoch (\d+)/\d+:", ended.output)]
    first = int(went_on.group(1)) + 1
    wanted = list(range(first, first + len(again)))
    return [] if again == wanted else [f"{folder.name}: went on after {first - 1}, did {again}"]
