"""The files of the mini models: safetensors, or PyTorch's own format in older sets.

The size of a network, its name and the format version are stored as JSON in the file's metadata.
``SHA256SUMS`` beside the files holds their hashes in the format of the program ``sha256sum``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import Tensor

from s3pot.io import file_sha256, read_bytes, write_bytes
from s3pot.locks import exclusive
from s3pot.weights.hashing import HashMismatch
from s3pot.weights.load import METADATA_KEY, CheckpointError, read_checkpoint
from s3pot.weights.locate import MINI_ENDINGS, mini_path

FORMAT = 1
SUMS = "SHA256SUMS"
LARGEST_SIZE = 65_536  # of any width, depth or side: a larger one is an attack or a mistake
_CURE = "Restore it from the repository, or train the bundled models again: python -m s3pot_mini"


def read_mini(name: str, folder: Path | None = None) -> dict[str, Any]:
    """Read a mini model, located by ``mini_path``; its recorded hash, if any, is checked first.

    Returns:
        ``size``, plain values for the network's constructor, and ``state_dict``, float16.

    Raises:
        MissingWeights: The file does not exist.
        HashMismatch: Its hash differs from that in ``SHA256SUMS``.
        CheckpointError: It is damaged or has another version.
    """
    path = mini_path(name, folder)
    _check_sum(path)
    content = read_checkpoint(path)
    format_and_model = (content.get("format"), content.get("model"))
    expected = (FORMAT, f"mini-{name}")
    if format_and_model != expected:
        raise CheckpointError(
            f"{path} has format and model {format_and_model}, expected {expected}. {_CURE}"
        )
    if not isinstance(content.get("size"), dict) or not _is_bounded(content["size"]):
        raise CheckpointError(f"{path} does not name a valid network size. {_CURE}")
    return content


def write_mini(
    folder: Path, name: str, size: Mapping[str, Any], state_dict: Mapping[str, Tensor]
) -> Path:
    """Write a mini model as safetensors in half precision, replacing one in an older format.

    Equal weights give equal bytes.

    Args:
        folder: The folder, created if missing. Its ``SHA256SUMS`` is rewritten.
        name: parser, generator, sam, adapter or detector.
        size: Plain values for the network's constructor.
        state_dict: The weights, in any precision and on any device.

    Returns:
        The file.
    """
    half = {key: _half(value) for key, value in state_dict.items()}
    head = json.dumps({"format": FORMAT, "model": f"mini-{name}", "size": dict(size)})
    path = folder / f"{name}{MINI_ENDINGS[0]}"
    folder.mkdir(parents=True, exist_ok=True)
    with exclusive(folder / f".{SUMS}.lock"):
        # A single value, because safetensors writes several in no fixed order.
        write_bytes(path, save(half, metadata={METADATA_KEY: head}))
        for ending in MINI_ENDINGS[1:]:
            path.with_suffix(ending).unlink(missing_ok=True)
        write_sums(folder)
    return path


def write_sums(folder: Path) -> None:
    """Write the hashes of all mini models in a folder, in the format of ``sha256sum``."""
    files = sorted(path for path in folder.iterdir() if path.suffix in MINI_ENDINGS)
    lines = [f"{file_sha256(path)}  {path.name}\n" for path in files]
    write_bytes(folder / SUMS, "".join(lines).encode("utf-8"))


def read_sums(folder: Path) -> dict[str, str]:
    """Read ``SHA256SUMS``: hash by file name; empty if there is none."""
    path = folder / SUMS
    if not path.is_file():
        return {}
    sums = {}
    for line in read_bytes(path).decode("utf-8", errors="replace").splitlines():
        digest, _, name = line.partition(" ")
        sums[name.lstrip(" *")] = digest
    return sums


def _check_sum(path: Path) -> None:
    """Raise HashMismatch if a file differs from its entry in ``SHA256SUMS``."""
    expected = read_sums(path.parent).get(path.name)
    if expected is None:
        return
    digest = file_sha256(path)
    if digest != expected:
        raise HashMismatch(
            f"{path} has sha256 {digest}, but {SUMS} beside it says {expected}: it is damaged or "
            "a different file. Restore it from the repository; if the change is intended, delete "
            f"its line in {SUMS}."
        )


def _half(value: Tensor) -> Tensor:
    """Copy a tensor to the CPU, contiguous, unshared, and floats in half precision."""
    copy = value.detach().to("cpu", copy=True).contiguous()
    return copy.half() if copy.is_floating_point() else copy


def _is_bounded(value: Any) -> bool:
    """Whether a size consists of plain numbers, none of them absurdly large."""
    if isinstance(value, dict):
        return all(_is_bounded(item) for item in value.values())
    if isinstance(value, (list, tuple)):
        return all(_is_bounded(item) for item in value)
    return isinstance(value, (bool, int, float)) and abs(value) <= LARGEST_SIZE
