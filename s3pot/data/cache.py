"""Cached prompts on disk: one file per image pair, used only if it is complete and verified."""

from __future__ import annotations

import hashlib
import io
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from s3pot.data.face_folder import BadFace, FaceFiles
from s3pot.finite import is_finite
from s3pot.io import (
    BadFile,
    file_sha256,
    read_npy_stream,
    refuse_special,
    share,
    write_bytes,
)
from s3pot.stored_zip import read_members
from s3pot.types import Prompts, S3potError

logger = logging.getLogger(__name__)

FORMAT = 2  # increased whenever the stored content changes
DIGEST_BYTES = hashlib.sha256().digest_size
ENDING = ".feat"


def inputs_sha256(face: FaceFiles, oracle: bool) -> str:
    """Hash the files that a pair's prompts are computed from: image, reference and parsing.

    Args:
        face: The bytes of the files are hashed, not their paths.
        oracle: Whether the true clean face is the reference.

    Returns:
        64 hex digits.

    Raises:
        BadFace: A file is missing or cannot be read.
    """
    reference = face.clean if oracle and face.clean else face.reference
    try:
        hashes = [file_sha256(path) for path in (face.raw, reference, face.parsing)]
    except BadFile as error:
        raise BadFace(f"{error} generate_reference.py writes it again.") from error
    return hashlib.sha256(" ".join(hashes).encode()).hexdigest()


def entry_key(inputs: str, made_by: Mapping[str, Any]) -> str:
    """Hash everything that a pair's prompts depend on.

    Args:
        inputs: The hash of its files, see ``inputs_sha256``.
        made_by: Plain values: hashes of weights and code, settings, device.

    Returns:
        64 hex digits.
    """
    text = json.dumps({"format": FORMAT, "files": inputs, **made_by}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


class FeatureCache:
    """A folder of entries; if they exceed ``max_bytes``, the oldest are removed."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.folder = folder
        self.max_bytes = max_bytes
        self._total = max_bytes  # until the folder is measured at the first write

    def read(self, key: str, name: str) -> Prompts | None:
        """Read an entry.

        Returns:
            The prompts; None if there is no entry, or if it is damaged or belongs to other inputs.
        """
        path = self._path(key)
        try:
            refuse_special(path)
            content = path.read_bytes()
        except (OSError, BadFile):
            return None
        digest = content[:DIGEST_BYTES]
        payload = content[DIGEST_BYTES:]
        try:
            if digest != _digest(key, payload):
                raise ValueError("its digest does not match")
            prompts = _unpack(payload, name)
            _check(prompts)
        except (S3potError, ValueError, LookupError, TypeError) as error:
            logger.warning("%s is damaged and is recomputed (%s)", path, error)
            return None
        return prompts

    def write(self, key: str, prompts: Prompts) -> None:
        """Write an entry atomically.

        Raises:
            OSError: The folder cannot be written.
        """
        payload = _pack(prompts.to("cpu"))
        if not self.folder.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            share(self.folder)
        write_bytes(self._path(key), _digest(key, payload) + payload)
        share(self._path(key))
        self._total += len(payload) + DIGEST_BYTES
        if self._total > self.max_bytes:
            self._make_room()

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}{ENDING}"

    def _make_room(self) -> None:
        """Remove the oldest entries, never the newest; other processes may do so as well."""
        entries = []
        for path in self.folder.glob(f"*{ENDING}"):
            try:
                status = path.stat()
            except FileNotFoundError:
                continue
            entries.append((status.st_mtime_ns, path, status.st_size))
        entries.sort()
        self._total = sum(size for _, _, size in entries)
        for _, path, size in entries[:-1]:
            if self._total > self.max_bytes:
                path.unlink(missing_ok=True)
                self._total -= size


def _pack(prompts: Prompts) -> bytes:
    """Convert prompts on the CPU to an npz; the region is packed into bits."""
    stream = io.BytesIO()
    np.savez(
        stream,
        image_tokens=prompts.image_embedding.numpy(),
        points_sam=prompts.points_sam.numpy(),
        labels=prompts.point_labels.numpy(),
        similarity=prompts.similarity.numpy(),
        first_point_sam=prompts.first_point_sam.numpy(),
        region_sam=np.packbits(prompts.region_sam.numpy(), axis=1),
    )
    return stream.getvalue()


def _unpack(payload: bytes, name: str) -> Prompts:
    """Convert an npz of ``_pack`` back to prompts.

    ``np.load`` is not used, because a header may ask for more memory than there are bytes.

    Raises:
        S3potError, ValueError, LookupError, TypeError: It is not such an npz.
    """
    arrays = {}
    for member in read_members(io.BytesIO(payload)).values():
        content = io.BytesIO(payload[member.start : member.start + member.size])
        arrays[member.name] = read_npy_stream(content, member.size, member.name)
    packed = arrays["region_sam.npy"]
    if packed.shape != (len(packed), -(-len(packed) // 8)):
        raise ValueError(f"its region has shape {packed.shape}")
    region_sam = np.unpackbits(packed, axis=1, count=len(packed)).astype(bool)
    return Prompts(
        name=name,
        image_embedding=torch.from_numpy(arrays["image_tokens.npy"]),
        points_sam=torch.from_numpy(arrays["points_sam.npy"]),
        point_labels=torch.from_numpy(arrays["labels.npy"]),
        similarity=torch.from_numpy(arrays["similarity.npy"]),
        first_point_sam=torch.from_numpy(arrays["first_point_sam.npy"]),
        region_sam=torch.from_numpy(region_sam),
    )


def _check(prompts: Prompts) -> None:
    """Raise ValueError unless prompts have the types and shapes that ``Prompts`` documents."""
    side = prompts.image_embedding.shape[-1]
    size = prompts.region_sam.shape[-1]
    count = len(prompts.points_sam)
    wanted = {
        "image_embedding": (torch.float16, (len(prompts.image_embedding), side, side)),
        "points_sam": (torch.float32, (count, 2)),
        "point_labels": (torch.int64, (count,)),
        "similarity": (torch.float16, (side, side)),
        "first_point_sam": (torch.float32, (2,)),
        "region_sam": (torch.bool, (size, size)),
    }
    for field, (dtype, shape) in wanted.items():
        value: torch.Tensor = getattr(prompts, field)
        if value.dtype != dtype or value.shape != shape:
            raise ValueError(f"{field} is {value.dtype} of shape {tuple(value.shape)}")
        if not is_finite(value):
            raise ValueError(f"{field} holds values that are not finite numbers")
    if not bool(((prompts.point_labels == 0) | (prompts.point_labels == 1)).all()):
        raise ValueError("a label of a point is neither 0 nor 1")


def _digest(key: str, payload: bytes) -> bytes:
    return hashlib.sha256(key.encode() + payload).digest()
