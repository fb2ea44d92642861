"""Byte-identical results where promised: rerun, other caches, in parts, other batch sizes."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from benchmarks.reliability.children import Child
from benchmarks.reliability.faults import stop_the_clock
from benchmarks.reliability.folders import differences, snapshot
from benchmarks.reliability.report import Trial
from benchmarks.reliability.workplace import calls, fresh

# Rewritten by every call, with the settings of that call.
SETTINGS = "out/config.yaml"


@dataclass(frozen=True)
class Way:
    """Another way to obtain the same results.

    Attributes:
        name: Name in the report.
        command: The command to run.
        options: Options of each call, in sequence.
    """

    name: str
    command: str
    options: Sequence[Sequence[str]] = ((),)


def _parts(count: int) -> list[list[str]]:
    """Return calls that divide the items, and a final one that summarizes."""
    return [["--shard", f"{index}/{count}"] for index in range(count)] + [[]]


WAYS = (
    Way("again", "generate_reference"),
    Way("in two parts", "generate_reference", _parts(2)),
    Way("again", "train_general"),
    Way("cache in memory", "train_general", [["cache.mode=memory"]]),
    Way("no cache", "train_general", [["cache.mode=off"]]),
    Way("again", "train_per_image"),
    Way("in two parts", "train_per_image", _parts(2)),
    Way("again", "inference"),
    Way("cache in memory", "inference", [["cache.mode=memory"]]),
    Way("no cache", "inference", [["cache.mode=off"]]),
    Way("in three parts", "inference", _parts(3)),
    Way("pictures one by one", "inference", [["sam.batch=1"]]),
    Way("pictures three at once", "inference", [["sam.batch=3"]]),
    Way("again", "evaluate"),
)


def same_bytes_trials(inputs: Path, folder: Path) -> Iterator[Trial]:
    """Try all ways and compare their files with those of the plain call."""
    plain = {name: _files(inputs, folder, Way("", name)) for name in calls()}
    for way in WAYS:
        deviations = differences(_files(inputs, folder, way), plain[way.command])
        yield Trial(way.command, f"{way.command}, {way.name}", tuple(deviations))


def _files(inputs: Path, folder: Path, way: Way) -> dict[str, bytes]:
    """Run a command in a new work folder; returns its results."""
    fresh(inputs, folder)
    call = calls()[way.command]
    for options in way.options:
        changed = replace(call, arguments=[*call.arguments, *options])
        ended = Child(changed, folder, stop_the_clock).wait()
        if ended.code != 0:
            raise RuntimeError(f"{way}: code {ended.code}\n{ended.output}")
    return {
        name: _without_settings(content) if name.endswith(".pth") else content
        for name, content in snapshot(folder).items()
        if name.startswith("out/") and name != SETTINGS
    }


def _without_settings(checkpoint: bytes) -> bytes:
    """Return a checkpoint without its settings."""
    content = torch.load(io.BytesIO(checkpoint), weights_only=True)
    del content["config"]
    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()
