"""Where a weight file lies, checked."""

from __future__ import annotations

from pathlib import Path

from s3pot.types import S3potError
from s3pot.weights.hashing import checked_sha256
from s3pot.weights.registry import (
    MissingWeights,
    WeightFile,
    default_folder,
    find,
    how_to_get,
)


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


def mini_path(name: str, folder: Path | None = None) -> Path:
    """Where a mini model (parser, generator, sam, adapter) lies, bundled or in ``folder``."""
    path = (folder or Path(__file__).parent / "mini") / f"{name}.pth"
    if not path.is_file():
        cure = "restore it from the repository or run: python tools/train_mini.py"
        raise MissingWeights(f"mini {name}: no file {path}; {cure}")
    return path
