"""Run reliability trials of the commands, and print a table of the results.

    python -m benchmarks.reliability                     # everything, about two hours on one core
    python -m benchmarks.reliability --only kill --kills 10
    python -m benchmarks.reliability --quick             # a few of each, five minutes

Models and faces are tiny; files and code paths are the real ones. The clock that measures is
stopped in these runs: results contain seconds, which differ between any two runs and would hide
other differences. It works on Linux and macOS, because it forks.
"""

from __future__ import annotations

import argparse
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import PIL
import torch

from benchmarks.reliability import disks, fuzz, kills, long_run, races, sameness, two_workers
from benchmarks.reliability.children import import_everything
from benchmarks.reliability.report import Report
from benchmarks.reliability.workplace import calls, make_inputs
from s3pot.version import __version__


@dataclass(frozen=True)
class Options:
    """The extent of the trials.

    Attributes:
        folder: Folder for all files, which are removed afterwards.
        inputs: The folder written by ``make_inputs``.
        commands: The commands that are killed.
        kills: Number of kills of each command.
        files: Number of broken files of each kind.
        file_kinds: Kinds of broken files; empty for all.
        seed: Seed of moments and mutations.
        quick: Only a few of each.
    """

    folder: Path
    inputs: Path
    commands: Sequence[str]
    kills: int
    files: int
    file_kinds: Sequence[str]
    seed: int
    quick: bool


def kill(options: Options, report: Report) -> None:
    """SIGKILL at random moments and at random writes; SIGINT and SIGTERM."""
    for name in options.commands:
        base = kills.baseline(options.inputs, options.folder / "base", name)
        place = options.folder / "killed"
        trials = kills.kill_trials(options.inputs, place, base, options.kills, options.seed)
        report.add(f"{name}: SIGKILL", trials)
        signals = 2 if options.quick else 10
        interrupted = kills.signal_trials(options.inputs, place, base, signals)
        report.add(f"{name}: SIGINT, SIGTERM", interrupted)


def write(options: Options, report: Report) -> None:
    """SIGKILL before, after and in the middle of every single write."""
    for name in options.commands if not options.quick else ():
        base = kills.baseline(options.inputs, options.folder / "base", name)
        every = kills.every_write(options.inputs, options.folder / "killed", base)
        report.add(f"{name}: SIGKILL at every write", every)


def workers(options: Options, report: Report) -> None:
    """Two workers of one training run, of which one or both are killed."""
    place = options.folder / "workers"
    count = 3 if options.quick else max(12, options.kills // 2)
    trials = two_workers.worker_trials(options.inputs, place, count, options.seed)
    report.add("train_general: two workers, SIGKILL", trials)


def torchrun(options: Options, report: Report) -> None:
    """The same with torchrun itself, for a training run and a folder command."""
    place = options.folder / "torchrun"
    for name in ("inference", "train_general"):
        count = 1 if options.quick else 5
        trials = two_workers.torchrun_trials(options.inputs, place, name, count, options.seed)
        report.add(f"{name}: torchrun with two workers", trials)


def disk(options: Options, report: Report) -> None:
    """Full or read-only disks, clocks that go back, folders that change."""
    place = options.folder / "disk"
    for name in options.commands:
        base = kills.baseline(options.inputs, options.folder / "base", name)
        every = not options.quick
        full = disks.full_disk_trials(options.inputs, place, base, every, options.seed)
        report.add(f"{name}: disk full, over quota, broken", full)
        small = disks.small_disk_trials(options.inputs, place, base)
        report.add(f"{name}: small and read-only disks", small)
        clock = disks.clock_trials(options.inputs, place, base)
        report.add(f"{name}: clock goes back", clock)
    count = 1 if options.quick else 10
    changing = disks.changing_folder_trials(options.inputs, place, count, options.seed)
    report.add("inference: folder that changes", changing)


def race(options: Options, report: Report) -> None:
    """Two concurrent commands on one output folder or one cache."""
    names = ("generate_reference", "train_general", "train_per_image", "inference")
    bases = {name: kills.baseline(options.inputs, options.folder / "base", name) for name in names}
    count = 1 if options.quick else 10
    place = options.folder / "race"
    report.add(
        "two commands at once",
        races.race_trials(options.inputs, place, bases, count, options.seed),
    )


def long(options: Options, report: Report) -> None:
    """Memory, open files and speed of a long inference and a long training run."""
    faces, steps = (200, 160) if options.quick else (2500, 500)
    trials = long_run.long_trials(options.inputs, options.folder / "long", faces, steps)
    report.add("long runs", trials)


def same(options: Options, report: Report) -> None:
    """Byte-identical results in a second run, in parts, with another cache."""
    trials = sameness.same_bytes_trials(options.inputs, options.folder / "same")
    report.add("the same bytes again, in parts, with other caches", trials)


def fuzzing(options: Options, report: Report) -> None:
    """Broken and hostile files of every kind, read by the commands that use them."""
    count = 2 if options.quick else options.files
    place = options.folder / "fuzzed"
    for name, trials in fuzz.trials(options.inputs, place, count, options.seed, options.file_kinds):
        report.add(f"broken files: {name}", trials)


GROUPS: dict[str, Callable[[Options, Report], None]] = {
    "kill": kill,
    "write": write,
    "workers": workers,
    "torchrun": torchrun,
    "disk": disk,
    "race": race,
    "long": long,
    "same": same,
    "fuzz": fuzzing,
}


def main(argv: list[str] | None = None) -> int:
    """Run the trials; returns 1 if one had a fault."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.reliability",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--only", choices=GROUPS, nargs="*", default=list(GROUPS), help="groups of trials")
    add("--commands", choices=calls(), nargs="*", default=list(calls()), help="commands to kill")
    add("--kills", type=int, default=60, help="kills of each command (default: 60)")
    add("--kinds", nargs="*", default=(), help="only these kinds of broken files")
    add("--files", type=int, default=120, help="broken files of each kind (default: 120)")
    add("--seed", type=int, default=0, help="seed of moments and mutations (default: 0)")
    add("--quick", action="store_true", help="a few of each")
    add("--out", type=Path, help="folder for reliability.json and reliability.md")
    args = parser.parse_args(argv)
    import_everything()
    report = Report(_facts(args.seed), args.out)
    folder = Path(tempfile.mkdtemp(prefix="s3pot-reliability-"))
    try:
        options = Options(
            folder=folder,
            inputs=make_inputs(folder / "inputs"),
            commands=args.commands,
            kills=3 if args.quick else args.kills,
            files=args.files,
            file_kinds=args.kinds,
            seed=args.seed,
            quick=args.quick,
        )
        for group in args.only:
            GROUPS[group](options, report)
    finally:  # after Ctrl-C a command may still be writing there
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if report.failed else 0


def _facts(seed: int) -> dict[str, str]:
    return {
        "s3pot": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "pillow": PIL.__version__,
        "opencv": cv2.__version__,
        "system": platform.platform(),
        "seed": str(seed),
    }


if __name__ == "__main__":
    sys.exit(main())
