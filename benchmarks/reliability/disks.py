"""Full, over-quota, broken and read-only disks, changing folders, and clocks that go back.

A command must end on its own with a message that names the problem, leave no partial file behind,
and produce the usual files once the problem is gone.
"""

from __future__ import annotations

import csv
import errno
import itertools
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.reliability.children import Child, Ended, run
from benchmarks.reliability.faults import (
    Fault,
    file_size_limit,
    full_disk_at_write,
    stop_the_clock,
)
from benchmarks.reliability.folders import (
    differences,
    result_differences,
    snapshot,
    temporaries,
)
from benchmarks.reliability.kills import Baseline
from benchmarks.reliability.report import Trial
from benchmarks.reliability.workplace import calls, fresh
from benchmarks.tiny import write_face

# A full disk affects all items alike and ends the run; other errors may concern one item.
ERRORS = {
    "disk full": errno.ENOSPC,
    "over quota": errno.EDQUOT,
    "input/output error": errno.EIO,
    "read-only": errno.EROFS,
}
# Files of finished items, which are not written again.
DONE_ONCE = ("_result.json", "_occlusion.png", "_align.json", "_ref.png", "_parsing_mask.npy")
SETTLED = (1, 2)  # exit codes: some items failed; nothing was done
CHANGING_FACES = 40
HOUR = 3600.0


def full_disk_trials(
    inputs: Path, folder: Path, base: Baseline, every: bool, seed: int
) -> Iterator[Trial]:
    """Let writes of a command fail, then run it again on a disk that has space.

    Args:
        inputs: The folder written by ``make_inputs``.
        folder: The work folder.
        base: The undisturbed run.
        every: Fail at every write; if not, at three of them.
        seed: Seed for the choice of the three.
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
    """List what is wrong with how a command ended that could not write everything."""
    faults = []
    if ended.timed_out:
        faults.append("it did not end")
    # Files besides the results, such as the cache, are optional.
    if ended.code not in (0, *SETTLED):
        faults.append(f"exit code {ended.code}: {ended.output[-800:]}")
    if "Traceback" in ended.output:
        faults.append(f"a traceback: {ended.output[-800:]}")
    return faults


def _again(folder: Path, base: Baseline, what: str, faults: list[str]) -> Trial:
    ended = run(calls()[base.name], folder, stop_the_clock)
    if ended.code != 0:
        faults.append(f"the re-run ended with {ended.code}: {ended.output[-800:]}")
    faults += result_differences(snapshot(folder), base.files)
    return Trial(base.name, what, tuple(faults))


def small_disk_trials(inputs: Path, folder: Path, base: Baseline) -> Iterator[Trial]:
    """Fill up a real small disk, and write to a read-only one; yields nothing unless root."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        return
    for option in ("size=4k", "size=16k", "size=48k", "size=96k", "ro"):
        fresh(inputs, folder)
        out = folder / "out"
        out.mkdir()
        _system("mount", "-t", "tmpfs", "-o", option, "tmpfs", str(out))
        try:
            ended = run(calls()[base.name], folder, stop_the_clock)
            faults = _settled(ended)
            _system("mount", "-o", "remount,rw,size=64m", str(out))
            if temporaries(folder):
                faults.append("a temporary file is left")
            yield _again(folder, base, f"results on a small disk: {option}", faults)
        finally:
            _system("umount", str(out))


def _system(*command: str) -> None:
    subprocess.run(command, check=True)


def clock_trials(inputs: Path, folder: Path, base: Baseline) -> Iterator[Trial]:
    """Set the clock back during a run, and date files in the future or in 1970."""
    fresh(inputs, folder)
    _date_files(folder, time.time() + 1000 * HOUR)
    ended = run(calls()[base.name], folder, _clock_goes_back)
    faults = [] if ended.code == 0 else [f"exit code {ended.code}: {ended.output[-800:]}"]
    yield _again(folder, base, "clock goes back, files from the future", faults)
    for name, moment in {"1970": 0.0, "the future": time.time() + 1000 * HOUR}.items():
        _date_files(folder, moment)
        before = _stamps(folder / "out")
        trial = _again(folder, base, f"files of a finished run from {name}", [])
        again = [
            path.name for path, stamp in _stamps(folder / "out").items() if before[path] != stamp
        ]
        twice = [name for name in again if name.endswith(DONE_ONCE)]
        yield replace(trial, faults=(*trial.faults, *(f"done twice: {name}" for name in twice)))


def _clock_goes_back() -> None:
    stop_the_clock()
    moments = itertools.count(time.time(), -HOUR)
    time.time = lambda: next(moments)


def _date_files(folder: Path, moment: float) -> None:
    for path in folder.rglob("*"):
        os.utime(path, (moment, moment))


def _stamps(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_ino for path in folder.rglob("*") if path.is_file()}


def changing_folder_trials(inputs: Path, folder: Path, count: int, seed: int) -> Iterator[Trial]:
    """Remove, truncate and replace files of a folder while inference reads it.

    Every face must be processed or reported, and once the folder is restored, a rerun must give the
    files of an undisturbed run.
    """
    random = np.random.default_rng((seed, 7))
    call = calls()["inference"]
    fresh(inputs, folder)
    _more_faces(folder)
    ended = run(call, folder, stop_the_clock)
    if ended.code != 0:
        raise RuntimeError(f"inference failed undisturbed:\n{ended.output}")
    wanted = snapshot(folder)
    for number in range(count):
        fresh(inputs, folder)
        _more_faces(folder)
        child = Child(call, folder, stop_the_clock)
        while child.is_alive():
            time.sleep(0.01)
            if any((folder / "out").glob("*_result.json")):  # by then it listed the faces
                _disturb(folder / "data", random)
        ended = child.wait()
        faults = _settled(ended)
        faults += _neither_done_nor_named(folder)
        _more_faces(folder, inputs)
        again = run(call, folder, stop_the_clock)
        if again.code != 0:
            faults.append(f"the re-run ended with {again.code}: {again.output[-800:]}")
        faults += differences(snapshot(folder), wanted)
        yield Trial("inference", f"folder that changes {number}", tuple(faults))


def _more_faces(folder: Path, inputs: Path | None = None) -> None:
    """Write all faces of the folder, and rewrite those of the inputs if they are given."""
    if inputs is not None:
        shutil.copytree(inputs / "data", folder / "data", dirs_exist_ok=True)
    for number in range(CHANGING_FACES):
        write_face(folder / "data", f"more_{number:02d}", seed=number)


def _disturb(data: Path, random: np.random.Generator) -> None:
    """Do something to a file of a face, or to all of them."""
    name = f"more_{random.integers(CHANGING_FACES):02d}"
    files = sorted(data.glob(f"{name}*"))
    kind = int(random.integers(4))
    for path in files if kind == 3 else files[: 1 + int(random.integers(2))]:
        if kind == 0:
            os.truncate(path, path.stat().st_size // 2)
        elif kind == 1:
            path.write_bytes(random.bytes(200))
        else:
            path.unlink()


def _neither_done_nor_named(folder: Path) -> list[str]:
    """List faces that the run of a changed folder lost silently."""
    out = folder / "out"
    with (out / "failures.csv").open(encoding="utf-8", newline="") as file:
        named = {row["name"] for row in csv.DictReader(file)}
    faces = [f"more_{number:02d}" for number in range(CHANGING_FACES)]
    return [
        f"neither done nor named: {face}"
        for face in faces
        if face not in named and not (out / f"{face}_result.json").is_file()
    ]
