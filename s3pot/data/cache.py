"""Prompts kept on disk: one file per image pair, whole and verified or not used at all."""

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
from s3pot.io import atomic_path
from s3pot.types import Prompts

logger = logging.getLogger(__name__)

FORMAT = 2  # raised whenever what is stored, or how it is computed, changes
DIGEST = hashlib.sha256().digest_size


def entry_key(face: FaceFiles, oracle: bool, made_by: Mapping[str, Any]) -> str:
    """Hash all that a pair's prompts depend on: the bytes of its three files and ``made_by``.

    ``made_by`` holds plain values: weights hash, settings, device. BadFace where a file is missing.
    """
    paths = (face.raw, face.clean if oracle and face.clean else face.reference, face.parsing)
    try:
        files = [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]
    except OSError as error:
        raise BadFace(f"cannot read {error.filename}; run generate_reference.py") from error
    text = json.dumps({"format": FORMAT, "files": files, **made_by}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


class FeatureCache:
    """A folder of entries; when they outgrow ``max_bytes``, the oldest go."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.folder, self.max_bytes = folder, max_bytes
        self._total = max_bytes  # until the folder was measured: at the first write

    def read(self, key: str, name: str) -> Prompts | None:
        """Read an entry; None where there is none, or one that is damaged or belongs elsewhere."""
        path = self.folder / f"{key}.feat"
        try:
            content = path.read_bytes()
        except OSError:
            return None
        if content[:DIGEST] != _digest(key, content[DIGEST:]):
            logger.warning("%s is damaged; it is computed again", path)
            return None
        return _unpack(content[DIGEST:], name)

    def write(self, key: str, prompts: Prompts) -> None:
        """Write an entry, whole or not at all; a folder that takes none is a warning."""
        payload = _pack(prompts.to("cpu"))
        try:
            with atomic_path(self.folder / f"{key}.feat") as temporary:
                temporary.write_bytes(_digest(key, payload) + payload)
            self._total += len(payload) + DIGEST
            if self._total > self.max_bytes:
                self._make_room()
        except OSError as error:
            logger.warning("no feature cache in %s: %s", self.folder, error.strerror)

    def _make_room(self) -> None:
        found = [(path.stat(), path) for path in self.folder.glob("*.feat")]
        self._total = sum(stat.st_size for stat, _ in found)
        for stat, path in sorted(found, key=lambda entry: (entry[0].st_mtime_ns, entry[1]))[:-1]:
            if self._total > self.max_bytes:
                path.unlink(missing_ok=True)
                self._total -= stat.st_size


def _pack(prompts: Prompts) -> bytes:
    """Turn prompts on the CPU into an npz; the region is packed to bits."""
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
    """Turn an npz of ``_pack`` back into prompts."""
    with np.load(io.BytesIO(payload), allow_pickle=False) as arrays:
        packed = arrays["region_sam"]
        region_sam = np.unpackbits(packed, axis=1, count=len(packed)).astype(bool)
        return Prompts(
            name=name,
            image_embedding=torch.from_numpy(arrays["image_tokens"]),
            points_sam=torch.from_numpy(arrays["points_sam"]),
            point_labels=torch.from_numpy(arrays["labels"]),
            similarity=torch.from_numpy(arrays["similarity"]),
            first_point_sam=torch.from_numpy(arrays["first_point_sam"]),
            region_sam=torch.from_numpy(region_sam),
        )


def _digest(key: str, payload: bytes) -> bytes:
    return hashlib.sha256(key.encode() + payload).digest()
