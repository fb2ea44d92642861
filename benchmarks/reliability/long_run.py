"""Long inference and training runs, watched from outside: memory, open files and speed are stable.

Speed is measured in CPU time of the process, so that other work on the machine does not count.
"""

from __future__ import annotations

import os
import shutil
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.reliability.children import Call, Child
from benchmarks.reliability.report import Trial
from benchmarks.reliability.workplace import fresh
from benchmarks.tiny import tiny_options, write_face

INTERVAL = 0.5  # seconds between two samples
TRAINING_FACES = 24
BATCH = 3
LIMIT = 3600.0  # seconds
# How much the last quarter may differ from the second; the first is the warm-up.
MORE_MEMORY = 1.05
MORE_FILES = 1
LEAST_PACE = 0.8


@dataclass(frozen=True)
class Look:
    """A sample of a process's state.

    Attributes:
        done: How much of its work is done.
        memory: Memory in use, in MiB.
        files: Number of open files.
        seconds: CPU time.
    """

    done: int
    memory: float
    files: int
    seconds: float


def long_trials(inputs: Path, folder: Path, faces: int, steps: int) -> Iterator[Trial]:
    """Segment many faces and train for many steps.

    Args:
        inputs: The folder written by ``make_inputs``.
        folder: The work folder.
        faces: Number of faces to segment; each has four files.
        steps: Number of training steps, in epochs of eight steps.
    """
    fresh(inputs, folder)
    shutil.rmtree(folder / "data")
    for number in range(faces):
        write_face(folder / "data", f"face_{number:05d}", seed=number % 50)
    options = ["--datapath", "data", "--output_dir", "out", *tiny_options("weights")]
    call = Call("inference", options)
    yield _watched(folder, call, f"{faces} faces", "face", _count_results)
    fresh(inputs, folder)
    for number in range(TRAINING_FACES):
        write_face(folder / "data" / "train", f"face_{number:02d}", seed=number)
        if number < BATCH:
            write_face(folder / "data" / "val", f"held_{number:02d}", seed=100 + number)
    epochs = -(-steps * BATCH // TRAINING_FACES)
    options += ["--epochs", str(epochs), "--bsz", str(BATCH)]
    call = Call("train_general", options)
    done = f"{epochs} epochs, {epochs * TRAINING_FACES // BATCH} steps"
    yield _watched(folder, call, done, "epoch", _count_epochs)


def _count_results(folder: Path) -> int:
    out = folder / "out"
    return sum(1 for _ in out.glob("*_result.json")) if out.exists() else 0


def _count_epochs(folder: Path) -> int:
    history = folder / "out" / "history.jsonl"
    return history.read_bytes().count(b"\n") if history.exists() else 0


def _watched(folder: Path, call: Call, what: str, unit: str, count: Callable[[Path], int]) -> Trial:
    """Run a command and sample its state repeatedly."""
    child = Child(call, folder)
    looks: list[Look] = []
    while child.is_alive():
        with suppress(OSError):  # it has ended
            looks.append(_look(child.pid, count(folder)))
        time.sleep(INTERVAL)
    looks = [look for look in looks if look.memory > 0]
    ended = child.wait(LIMIT)
    faults = [] if ended.code == 0 else [f"exit code {ended.code}: {ended.output[-800:]}"]
    early, late = _quarter(looks, 1), _quarter(looks, 3)
    if min(len(early), len(late)) < 2:
        return Trial(call.command, what, (*faults, "over before it could be watched"))
    memory = [statistics.median(look.memory for look in part) for part in (early, late)]
    files = [round(statistics.median(look.files for look in part)) for part in (early, late)]
    pace = [_pace(part) for part in (early, late)]
    if memory[1] > MORE_MEMORY * memory[0]:
        faults.append("memory grows")
    if files[1] > files[0] + MORE_FILES:
        faults.append("open files grow")
    if pace[1] < LEAST_PACE * pace[0]:
        faults.append("it slows down")
    note = (
        f"{what}: {memory[0]:.0f} then {memory[1]:.0f} MiB, {files[0]} then {files[1]} open files, "
        f"{pace[0]:.1f} then {pace[1]:.1f} {unit}s per CPU second (second and last quarter)"
    )
    return Trial(call.command, what, tuple(faults), note)


def _look(pid: int, done: int) -> Look:
    process = Path("/proc") / str(pid)
    pages = int((process / "statm").read_text(encoding="ascii").split()[1])
    after_name = (process / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    ticks = int(after_name[11]) + int(after_name[12])  # in user and in system mode
    return Look(
        done=done,
        memory=pages * os.sysconf("SC_PAGE_SIZE") / 2**20,
        files=sum(1 for _ in (process / "fd").iterdir()),
        seconds=ticks / os.sysconf("SC_CLK_TCK"),
    )


def _quarter(looks: Sequence[Look], number: int) -> list[Look]:
    """Return the samples of one quarter of the work, from 0."""
    whole = max((look.done for look in looks), default=0)
    low, high = number * whole / 4, (number + 1) * whole / 4
    return [look for look in looks if low <= look.done <= high and look.done > 0]


def _pace(looks: Sequence[Look]) -> float:
    """Return the work done per second of CPU time."""
    first, last = looks[0], looks[-1]
    return (last.done - first.done) / max(last.seconds - first.seconds, 1e-9)
