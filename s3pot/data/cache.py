"""Prompts kept on disk: one file per image pair, whole and verified or not used at all."""

from __future__ import annotations

import hashlib
import io
import json
import logging
from collections.abc import Mapping
from dataclasses import replace
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


def rounded(prompts: Prompts) -> Prompts:
    """What an entry would give back: on the CPU, tokens and similarity in half precision.

    Applied whether or not a cache is used, so that no result depends on it.
    """
    near = prompts.to("cpu")
    return replace(near, image_tokens=near.image_tokens.half(), similarity=near.similarity.half())


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
        with np.load(io.BytesIO(content[DIGEST:]), allow_pickle=False) as arrays:
            found = dict(arrays)
        packed = found["region_sam"]
        found["region_sam"] = np.unpackbits(packed, axis=1, count=len(packed)).astype(bool)
        return Prompts(name, **{key: torch.from_numpy(array) for key, array in found.items()})

    def write(self, key: str, prompts: Prompts) -> None:
        """Write an entry, whole or not at all; a folder that takes none is a warning."""
        stream = io.BytesIO()
        arrays = {k: v.numpy() for k, v in vars(rounded(prompts)).items() if k != "name"}
        np.savez(stream, **{**arrays, "region_sam": np.packbits(arrays["region_sam"], axis=1)})
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
