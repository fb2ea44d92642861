"""Locating weight files, and checking them."""

from __future__ import annotations

from pathlib import Path

from s3pot.io import BadFile
from s3pot.weights.contents import refuse_foreign
from s3pot.weights.hashing import HashCheck, check_hash
from s3pot.weights.registry import (
    MissingWeights,
    WeightFile,
    command_text,
    default_folder,
    find,
    how_to_get,
)

MINI_FOLDER = Path(__file__).parent / "mini"  # folder of the bundled models
MINI_ENDINGS = (".safetensors", ".pth")  # the first that exists is used


def locate(name: str, weights_dir: Path | None = None) -> Path:
    """Find an official weight file by its name and check it.

    Args:
        name: Its name in the registry.
        weights_dir: Its folder; None for ``default_folder()``.

    Raises:
        MissingWeights: The file does not exist.
        S3potError: It is a different file, or the name is unknown.
    """
    return verify(find(name), weights_dir).path


def weight_path(entry: WeightFile, weights_dir: Path | None = None) -> Path:
    """Return the path of a file in ``weights_dir``, or else in ``default_folder()``."""
    return Path(weights_dir or default_folder()) / entry.file


def verify(entry: WeightFile, weights_dir: Path | None = None, rehash: bool = False) -> HashCheck:
    """Check that a file is the expected one, by its first bytes, size and hash.

    Args:
        entry: The file.
        weights_dir: Its folder; None for ``default_folder()``.
        rehash: Read the whole file even if its hash is remembered.

    Raises:
        MissingWeights: The file does not exist.
        BadFile: It is clearly not a checkpoint, or has another size.
        HashMismatch: It has another hash.
    """
    path = weight_path(entry, weights_dir)
    if not path.is_file():
        raise MissingWeights(
            f"{entry.name}: the file {path} does not exist.{how_to_get(entry, path.parent)}"
        )
    size = path.stat().st_size
    if entry.size is not None and size != entry.size:
        refuse_foreign(path)
        state = "cut off" if size < entry.size else "a different file"
        raise BadFile(
            f"{path} has {size:,} bytes, expected {entry.size:,}: it is {state}. Move it away, "
            f"then run: {command_text(f'download {entry.name}', path.parent)}"
        )
    return check_hash(path, entry.sha256, rehash)


def mini_path(name: str, folder: Path | None = None) -> Path:
    """Find a mini model.

    Args:
        name: parser, generator, sam, sam_generic, adapter, adapter_generic or detector.
        folder: Its folder; None for that of the bundled models.

    Raises:
        MissingWeights: The file does not exist.
    """
    paths = [(folder or MINI_FOLDER) / f"{name}{ending}" for ending in MINI_ENDINGS]
    for path in paths:
        if path.is_file():
            return path
    raise MissingWeights(
        f"mini {name}: the file {paths[0]} does not exist, nor {paths[1].name}. Restore it from "
        "the repository, or train the bundled models again: python -m s3pot_mini"
    )
