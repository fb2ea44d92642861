"""The official weight files: their names, where they come from, where they lie."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

from s3pot.types import S3potError
from s3pot.weights.hashing import checked_sha256

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


def locate(name: str, weights_dir: Path | None = None) -> Path:
    """Find an official weight file by its name and check it; see ``verify``."""
    return verify(find(name), weights_dir)


def verify(entry: WeightFile, weights_dir: Path | None = None, rehash: bool = False) -> Path:
    """Return the path of a file in ``weights_dir``, else ``default_folder()``, once it is checked.

    Its hash is remembered, unless ``rehash`` has it read again. Raises ``MissingWeights`` when it
    is not there, ``S3potError`` when it has the wrong size or hash.
    """
    folder = Path(weights_dir or default_folder())
    path = folder / entry.file
    if not path.is_file():
        raise MissingWeights(f"{entry.name}: no file {path}{how_to_get(entry, folder)}")
    size = path.stat().st_size
    if entry.size not in (None, size):
        cure = f"move it away, then: python -m s3pot.weights download {entry.name}"
        raise S3potError(f"{path} has {size:,} bytes, expected {entry.size:,}: cut off; {cure}")
    checked_sha256(path, entry.sha256, rehash)
    return path


def how_to_get(entry: WeightFile, folder: Path) -> str:
    """Instructions, a new line each: the command, by hand, the hash, the offline alternative."""
    command = f"\n  run:      python -m s3pot.weights download {entry.name} --weights_dir {folder}"
    return (
        f"{command if entry.url else ''}\n  by hand:  {entry.url or entry.note}"
        f"\n  put it:   {folder / entry.file}{f', {entry.size:,} bytes' if entry.size else ''}"
        f"\n  sha256:   {entry.sha256 or 'none published; pinned on first use'}"
        "\n  offline:  --config configs/mini.yaml uses the small bundled models instead"
    )


def mini_path(name: str, folder: Path | None = None) -> Path:
    """Where a mini model (parser, generator, sam, adapter) lies, bundled or in ``folder``."""
    path = (folder or Path(__file__).parent / "mini") / f"{name}.pth"
    if not path.is_file():
        cure = "restore it from the repository or run: python tools/train_mini.py"
        raise MissingWeights(f"mini {name}: no file {path}; {cure}")
    return path
