"""The official weight files: where they come from, where they lie, and that they are whole.

Downloads resume, check size, hash and free space, and run one process at a time. A lock file
remembers hashes: no start hashes gigabytes twice.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

from s3pot.types import S3potError

PAPER_SET = ("sam_vit_h", "bisenet", "e4s", "yunet")  # what configs/paper.yaml needs


class MissingWeights(S3potError):
    """A weight file is not where it should be; the text says how to get it."""


@dataclass(frozen=True)
class WeightFile:
    """One published file."""

    name: str  # what configs and commands call it
    file: str  # its name inside the weights folder
    url: str | None = None  # None where only a person can fetch it
    sha256: str | None = None  # None where nobody published it: pinned on first use
    size: int | None = None  # bytes, or None where nobody published it
    licence: str = "not known here; see its authors' page"
    note: str = ""  # what it is and where its authors offer it


@cache
def weight_files() -> dict[str, WeightFile]:
    """The published files by name, as ``registry.yaml`` lists them."""
    text = Path(__file__).with_name("registry.yaml").read_text(encoding="utf-8")
    return {name: WeightFile(name, **values) for name, values in yaml.safe_load(text).items()}


def default_folder() -> Path:
    """Where weights lie unless told otherwise: ``S3POT_WEIGHTS_DIR``, else ``./weights``."""
    return Path(os.environ.get("S3POT_WEIGHTS_DIR") or "weights").expanduser()


def find(name: str) -> WeightFile:
    """Return a registry entry; ``S3potError`` when there is none of this name."""
    known = weight_files()
    if name not in known:
        raise S3potError(f"no weights are called {name!r}; expected one of: {', '.join(known)}")
    return known[name]


def how_to_get(entry: WeightFile, folder: Path) -> str:
    """Instructions, a new line each: the command, by hand, the hash, the offline alternative."""
    command = f"\n  run:      python -m s3pot.weights download {entry.name} --weights_dir {folder}"
    return (
        f"{command if entry.url else ''}\n  by hand:  {entry.url or entry.note}"
        f"\n  put it:   {folder / entry.file}{f', {entry.size:,} bytes' if entry.size else ''}"
        f"\n  sha256:   {entry.sha256 or 'none published; pinned on first use'}"
        "\n  offline:  --config configs/mini.yaml uses the small bundled models instead"
    )
