"""The registry of official weight files: names, sources and locations."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from s3pot.io import expand_home, read_yaml
from s3pot.types import S3potError

PAPER_SET = ("sam_vit_h", "bisenet", "e4s", "yunet")  # the files that configs/paper.yaml needs
OFFLINE_CHOICE = "the small bundled models need no download: --config mini, or s3pot.load('mini')"


class MissingWeights(S3potError):
    """A weight file is missing; the message says how to get it."""


@dataclass(frozen=True)
class WeightFile:
    """One published file.

    Attributes:
        name: Its name in configs and commands.
        file: Its name inside the weights folder.
        url: The URL from which a program can fetch it; None if it must be downloaded by hand.
        sha256: Its published hash; None if none is published, in which case the first file seen is
            pinned.
        size: Size in bytes; None if it is not published.
        license: The license of code and weights, as far as it is known.
        note: What it is, and where its authors offer it.
    """

    name: str
    file: str
    url: str | None = None
    sha256: str | None = None
    size: int | None = None
    license: str = "not known here; see its authors' page"
    note: str = ""


@cache
def weight_files() -> dict[str, WeightFile]:
    """Return the published files by name, as listed in ``registry.yaml``."""
    entries = read_yaml(Path(__file__).with_name("registry.yaml"))
    return {name: WeightFile(name=name, **values) for name, values in entries.items()}


def default_folder() -> Path:
    """Return the default folder of weights: ``S3POT_WEIGHTS_DIR``, or else ``./weights``."""
    return expand_home(os.environ.get("S3POT_WEIGHTS_DIR") or "weights")


def find(name: str) -> WeightFile:
    """Look up an entry by its name; S3potError if there is none."""
    entries = weight_files()
    if name not in entries:
        raise S3potError(
            f"There are no weights named {name!r}; expected one of: {', '.join(entries)}."
        )
    return entries[name]


def command_text(arguments: str, folder: Path) -> str:
    """Write a command about weights, such as ``download e4s``, for the files of a folder."""
    place = f" --weights_dir {folder}" if folder != default_folder() else ""
    return f"python -m s3pot.weights {arguments}{place}"


def missing_text(entries: Sequence[WeightFile], folder: Path, needed: Sequence[str] = ()) -> str:
    """Describe several missing files in one block: their sources, and the commands to get them.

    Args:
        entries: The missing files.
        folder: The folder in which they should be.
        needed: The names of those that this command needs, if other commands need the others.
    """
    rows = [(entry.name, size_text(entry.size), entry.file) for entry in entries]
    names = [entry.name for entry in entries if entry.url]
    which = f", of which this command needs {', '.join(needed)}" if needed else ""
    lines = [f"{len(rows)} weight files are missing in {folder}{which}:", *table_lines(rows)]
    if names:
        lines.append(f"Get them:     {command_text('download ' + ' '.join(names), folder)}")
    for entry in entries:
        lines.append(f"By hand:      {entry.name} from {entry.url or entry.note}")
        lines.append(f"              sha256 {entry.sha256 or 'not published; pinned on first use'}")
    lines.append(f"Details:      {command_text('list NAME', folder)}")
    lines.append(f"Without them: {OFFLINE_CHOICE}.")
    return "\n  ".join(lines)


def table_lines(rows: Sequence[Sequence[str]]) -> list[str]:
    """Format rows of texts in aligned columns, a line each."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows)]
    return ["  ".join(f"{cell:{w}}" for cell, w in zip(row, widths)).rstrip() for row in rows]


def size_text(size: int | None) -> str:
    """Format a number of bytes: ``2.6 GB``, ``233 kB``; ``unknown`` for None."""
    if size is None:
        return "unknown"
    for unit, bytes_of_unit in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= bytes_of_unit:
            amount = size / bytes_of_unit
            return f"{amount:.1f} {unit}" if amount < 10 else f"{amount:.0f} {unit}"
    return f"{size} B"


def how_to_get(entry: WeightFile, folder: Path) -> str:
    """Describe how to get a file: by command, by hand, its path, its hash, and doing without it.

    Returns:
        Text that starts with a line break, to be appended to a message.
    """
    lines = []
    if entry.url:
        lines.append(f"run:      {command_text(f'download {entry.name}', folder)}")
    lines.append(f"by hand:  {entry.url or entry.note}")
    place = f"put it:   {folder / entry.file}"
    lines.append(f"{place}, {entry.size:,} bytes" if entry.size else place)
    lines.append(f"sha256:   {entry.sha256 or 'none published; pinned on first use'}")
    lines.append(f"offline:  {OFFLINE_CHOICE}")
    return "".join(f"\n  {line}" for line in lines)
