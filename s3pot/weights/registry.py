"""The official weight files: which there are, where they come from, where they lie."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from s3pot.io import read_yaml
from s3pot.types import S3potError

PAPER_SET = ("sam_vit_h", "bisenet", "e4s", "yunet")  # what configs/paper.yaml needs


class MissingWeights(S3potError):
    """A weight file is not where it should be; the message says how to get it."""


@dataclass(frozen=True)
class WeightFile:
    """One published file.

    Attributes:
        name: What configs and commands call it.
        file: Its name inside the weights folder.
        url: Where a program can fetch it; None if only a person can.
        sha256: Its published hash; None if nobody published one, then the first file seen counts.
        size: Bytes; None if nobody published them.
        licence: The licence of code and weights, as far as it is known.
        note: What it is and where its authors offer it.
    """

    name: str
    file: str
    url: str | None = None
    sha256: str | None = None
    size: int | None = None
    licence: str = "not known here; see its authors' page"
    note: str = ""


@cache
def weight_files() -> dict[str, WeightFile]:
    """The published files by name, as ``registry.yaml`` lists them."""
    entries = read_yaml(Path(__file__).with_name("registry.yaml"))
    return {name: WeightFile(name=name, **values) for name, values in entries.items()}


def default_folder() -> Path:
    """Where weights lie unless told otherwise: ``S3POT_WEIGHTS_DIR``, else ``./weights``."""
    return Path(os.environ.get("S3POT_WEIGHTS_DIR") or "weights").expanduser()


def find(name: str) -> WeightFile:
    """Look an entry up by its name; S3potError if there is none."""
    entries = weight_files()
    if name not in entries:
        raise S3potError(
            f"There are no weights called {name!r}; expected one of: {', '.join(entries)}."
        )
    return entries[name]


def how_to_get(entry: WeightFile, folder: Path) -> str:
    """Tell how to get a file, a line each: by command, by hand, its place, its hash, without it.

    Returns:
        Text that starts with a line break, to be put at the end of a message.
    """
    lines = []
    if entry.url:
        command = f"python -m s3pot.weights download {entry.name} --weights_dir {folder}"
        lines.append(f"run:      {command}")
    lines.append(f"by hand:  {entry.url or entry.note}")
    place = f"put it:   {folder / entry.file}"
    lines.append(f"{place}, {entry.size:,} bytes" if entry.size else place)
    lines.append(f"sha256:   {entry.sha256 or 'none published; pinned on first use'}")
    lines.append("offline:  --config configs/mini.yaml uses the small bundled models instead")
    return "".join(f"\n  {line}" for line in lines)
