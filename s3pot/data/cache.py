"""Prompts kept on disk: one file per image pair, whole and verified or not used at all."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from s3pot.data.image import atomic_path
from s3pot.data.layout import BadFace, FaceFiles
from s3pot.types import Prompts

logger = logging.getLogger(__name__)

FORMAT = 1  # raised whenever what is stored, or how it is computed, changes
SUFFIX = ".feat"
DIGEST = hashlib.sha256().digest_size


def entry_key(face: FaceFiles, oracle: bool, made_by: Mapping[str, Any]) -> str:
    """Name of a pair's entry: a hash of all that its prompts depend on.

    Args:
        face: The bytes of its raw image, reference and class map count, not their names.
        oracle: The true clean face is the reference.
        made_by: Plain values: weights hash, settings, device.

    Raises:
        BadFace: A file cannot be read.
    """
    reference = face.clean if oracle and face.clean else face.reference
    parts = [json.dumps({"format": FORMAT, **made_by}, sort_keys=True).encode()]
    for path in (face.raw, reference, face.parsing):
        try:
            parts.append(hashlib.sha256(path.read_bytes()).digest())
        except OSError as error:
            problem = f"{path} cannot be read ({error.strerror}); run generate_reference.py"
            raise BadFace(problem) from error
    return hashlib.sha256(b"\n".join(parts)).hexdigest()


def rounded(prompts: Prompts) -> Prompts:
    """What a cache entry would give back: on the CPU, tokens and similarity in half precision.

    Applied whether or not a cache is used, so that no result depends on it.
    """
    moved = {name: value.cpu() for name, value in vars(prompts).items() if name != "name"}
    for name in ("image_tokens", "similarity"):
        moved[name] = moved[name].half()
    return Prompts(prompts.name, **moved)


class FeatureCache:
    """A folder of entries.

    Args:
        folder: Made at the first write.
        max_bytes: When the entries outgrow it, the oldest go.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.folder, self.max_bytes = folder, max_bytes
        self._total: int | None = None

    def read(self, key: str, name: str) -> Prompts | None:
        """Read an entry; None where there is none, or one that is damaged or belongs elsewhere."""
        path = self.folder / f"{key}{SUFFIX}"
        try:
            content = path.read_bytes()
        except OSError:
            return None
        digest, payload = content[:DIGEST], content[DIGEST:]
        if digest != _digest(key, payload):
            logger.warning("%s is damaged; it is computed again", path)
            return None
        with np.load(io.BytesIO(payload), allow_pickle=False) as arrays:
            tensors = {field: torch.from_numpy(arrays[field]) for field in arrays.files}
        side = int(tensors.pop("side"))
        region = np.unpackbits(tensors["region_sam"].numpy(), count=side * side)
        tensors["region_sam"] = torch.from_numpy(region.reshape(side, side).astype(bool))
        return Prompts(name, **tensors)

    def write(self, key: str, prompts: Prompts) -> None:
        """Write an entry, whole or not at all; a folder that takes none is a warning."""
        arrays = {k: v.numpy() for k, v in vars(rounded(prompts)).items() if k != "name"}
        arrays["side"] = np.int64(len(arrays["region_sam"]))
        arrays["region_sam"] = np.packbits(arrays["region_sam"])
        stream = io.BytesIO()
        np.savez(stream, **arrays)
        payload = stream.getvalue()
        try:
            with atomic_path(self.folder / f"{key}{SUFFIX}") as temporary:
                temporary.write_bytes(_digest(key, payload) + payload)
            self._make_room(DIGEST + len(payload))
        except OSError as error:
            logger.warning("no feature cache in %s: %s", self.folder, error.strerror)

    def _make_room(self, added: int) -> None:
        if self._total is not None:
            self._total += added
        if self._total is not None and self._total <= self.max_bytes:
            return
        entries = [(e.stat(), e.path) for e in os.scandir(self.folder) if e.name.endswith(SUFFIX)]
        self._total = sum(stat.st_size for stat, _ in entries)
        for stat, path in sorted(entries, key=lambda entry: (entry[0].st_mtime_ns, entry[1]))[:-1]:
            if self._total <= self.max_bytes:
                return
            Path(path).unlink(missing_ok=True)
            self._total -= stat.st_size


def _digest(key: str, payload: bytes) -> bytes:
    return hashlib.sha256(key.encode() + payload).digest()
