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

from s3pot.data.image import atomic_path
from s3pot.data.layout import BadFace, FaceFiles
from s3pot.types import Prompts

logger = logging.getLogger(__name__)

FORMAT = 1  # raised whenever what is stored, or how it is computed, changes
DIGEST = hashlib.sha256().digest_size


def entry_key(face: FaceFiles, oracle: bool, made_by: Mapping[str, Any]) -> str:
    """Hash all that a pair's prompts depend on: the bytes of its three files and ``made_by``.

    ``made_by`` holds plain values: weights hash, settings, device. BadFace where a file is missing.
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
    """What an entry would give back: on the CPU, tokens and similarity in half precision.

    Applied whether or not a cache is used, so that no result depends on it.
    """
    moved = {name: value.cpu() for name, value in vars(prompts).items() if name != "name"}
    for name in ("image_tokens", "similarity"):
        moved[name] = moved[name].half()
    return Prompts(prompts.name, **moved)


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
        digest, payload = content[:DIGEST], content[DIGEST:]
        if digest != _digest(key, payload):
            logger.warning("%s is damaged; it is computed again", path)
            return None
        with np.load(io.BytesIO(payload), allow_pickle=False) as arrays:
            tensors = {key: torch.from_numpy(arrays[key]) for key in arrays.files}
        packed = tensors["region_sam"].numpy()
        region = np.unpackbits(packed, axis=1, count=len(packed)).astype(bool)
        return Prompts(name, **{**tensors, "region_sam": torch.from_numpy(region)})

    def write(self, key: str, prompts: Prompts) -> None:
        """Write an entry, whole or not at all; a folder that takes none is a warning."""
        stream = io.BytesIO()
        arrays = {k: v.numpy() for k, v in vars(rounded(prompts)).items() if k != "name"}
        arrays["region_sam"] = np.packbits(arrays["region_sam"], axis=1)
        np.savez(stream, **arrays)
        payload = stream.getvalue()
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


def _digest(key: str, payload: bytes) -> bytes:
    return hashlib.sha256(key.encode() + payload).digest()
