"""Two concurrent commands: on one output folder, on one cache, on a cache that overflows."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.reliability.children import Call, Child, Ended
from benchmarks.reliability.faults import stop_the_clock
from benchmarks.reliability.folders import differences, snapshot, temporaries
from benchmarks.reliability.kills import Baseline
from benchmarks.reliability.report import Trial
from benchmarks.reliability.workplace import calls, fresh

GROUP = "races"
LIMIT = 240.0  # seconds within which both must end
LATER = 0.5  # maximum delay of the second command, as a share of the first one's time
BUSY = "Another process is training into"
NO_ROOM = ["cache.max_gb=0.00001"]  # less than one entry: each write evicts the others


def race_trials(
    inputs: Path, folder: Path, bases: dict[str, Baseline], count: int, seed: int
) -> Iterator[Trial]:
    """Run pairs of commands at once, ``count`` times each.

    Args:
        inputs: The folder written by ``make_inputs``.
        folder: The work folder.
        bases: Undisturbed runs of "inference", "train_per_image", "generate_reference" and
            "train_general".
        count: Trials of each pair.
        seed: Seed of the delays of the second command.
    """
    random = np.random.default_rng((seed, 8))
    for number in range(count):
        for name in ("inference", "train_per_image", "generate_reference"):
            base = bases[name]
            call = calls()[name]
            delay = float(random.uniform(0, LATER * base.seconds))
            ended = _at_once(inputs, folder, [call, call], delay)
            faults = _all_well(ended, folder) + differences(snapshot(folder), base.files)
            yield Trial(GROUP, f"{name} twice, {delay:.2f} s apart, {number}", tuple(faults))
        delay = float(random.uniform(0, LATER * bases["train_general"].seconds))
        yield _two_trainings(inputs, folder, bases["train_general"], delay)
        yield _one_cache(inputs, folder, bases, delay)
        yield _eviction(inputs, folder, bases["inference"], delay)


def _two_trainings(inputs: Path, folder: Path, base: Baseline, delay: float) -> Trial:
    """The second run is refused, or finds the first one finished."""
    call = calls()["train_general"]
    ended = _at_once(inputs, folder, [call, call], delay)
    refused = [entry for entry in ended if entry.code == 2 and BUSY in entry.output]
    others = [entry for entry in ended if entry not in refused]
    faults = _all_well(others, folder)
    if not others:
        faults.append("both were refused")
    faults += differences(snapshot(folder), base.files)
    note = "the second was refused" if refused else "one after the other"
    return Trial(GROUP, f"two trainings, {delay:.2f} s apart", tuple(faults), note)


def _one_cache(inputs: Path, folder: Path, bases: dict[str, Baseline], delay: float) -> Trial:
    """Training and inference on one data folder give the same files as if each ran alone."""
    trained = _moved(calls()["train_general"], "trained")
    segmented = _moved(calls()["inference"], "segmented")
    ended = _at_once(inputs, folder, [trained, segmented], delay)
    faults = _all_well(ended, folder)
    for name, place in (("train_general", "trained"), ("inference", "segmented")):
        wanted = _below(bases[name].files, "out/")
        faults += differences(_below(snapshot(folder), f"{place}/"), wanted)
    return Trial(GROUP, f"training and inference on one cache, {delay:.2f} s", tuple(faults))


def _eviction(inputs: Path, folder: Path, base: Baseline, delay: float) -> Trial:
    """Two runs with a full cache: each removes what the other is about to read."""
    runs = [_moved(calls()["inference"], place, NO_ROOM) for place in ("one", "two")]
    ended = _at_once(inputs, folder, runs, delay)
    faults = _all_well(ended, folder)
    wanted = _masks(_below(base.files, "out/"))
    for place in ("one", "two"):
        faults += differences(_masks(_below(snapshot(folder), f"{place}/")), wanted)
    return Trial(GROUP, f"a cache without room, {delay:.2f} s apart", tuple(faults))


def _moved(call: Call, place: str, options: Sequence[str] = ()) -> Call:
    """Return the same command with another output folder."""
    arguments = [place if argument == "out" else argument for argument in call.arguments]
    return replace(call, arguments=[*arguments, *options])


def _at_once(inputs: Path, folder: Path, pair: Sequence[Call], delay: float) -> list[Ended]:
    fresh(inputs, folder)
    first = Child(pair[0], folder, stop_the_clock)
    time.sleep(delay)
    second = Child(pair[1], folder, stop_the_clock)
    return [first.wait(LIMIT), second.wait(LIMIT)]


def _all_well(ended: Sequence[Ended], folder: Path) -> list[str]:
    left = [f"a temporary file is left: {path}" for path in temporaries(folder)]
    return left + [
        f"exit code {entry.code}{' after a standstill' if entry.timed_out else ''}: "
        f"{entry.output[-800:]}"
        for entry in ended
        if entry.code != 0 or "Traceback" in entry.output
    ]


def _below(files: dict[str, bytes], prefix: str) -> dict[str, bytes]:
    """Return the files below a folder by their names in it."""
    return {
        name[len(prefix) :]: content for name, content in files.items() if name.startswith(prefix)
    }


def _masks(files: dict[str, bytes]) -> dict[str, bytes]:
    return {name: content for name, content in files.items() if name.endswith("_occlusion.png")}
