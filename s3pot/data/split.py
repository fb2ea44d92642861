"""Training and validation faces."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from s3pot.data.face_folder import (
    FaceFiles,
    find_faces,
)


def split(
    datapath: Path, val_fraction: float, seed: int
) -> tuple[list[FaceFiles], list[FaceFiles]]:
    """Training and validation faces of a data folder.

    ``D/train`` and ``D/val`` when both exist, else all of D, shuffled by ``seed`` and cut. At least
    one face stays on each side when there are two; a fraction of 0 leaves validation empty.
    """
    parts = [datapath / "train", datapath / "val"]
    if all(part.is_dir() for part in parts):
        return find_faces(parts[0]), find_faces(parts[1])
    faces = find_faces(datapath)
    count = min(max(round(len(faces) * val_fraction), int(val_fraction > 0)), len(faces) - 1)
    held = set(np.random.default_rng(seed).permutation(len(faces))[:count].tolist())
    train = [face for index, face in enumerate(faces) if index not in held]
    return train, [faces[index] for index in sorted(held)]
