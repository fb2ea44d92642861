"""The split into training and validation faces."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from s3pot.data.face_folder import FaceFiles, find_faces


def split(
    datapath: Path, val_fraction: float, seed: int
) -> tuple[list[FaceFiles], list[FaceFiles]]:
    """Find the training and validation faces of a data folder.

    Args:
        datapath: D; ``D/train`` and ``D/val`` are used if both exist, otherwise all of D is
            shuffled and split.
        val_fraction: Share of validation faces, in [0, 1). If there are at least two faces,
            each side gets at least one; 0 leaves validation empty.
        seed: Seed of the shuffle.

    Returns:
        Training faces and validation faces, each sorted by name.

    Raises:
        S3potError: There is no face.
    """
    train_folder = datapath / "train"
    val_folder = datapath / "val"
    if train_folder.is_dir() and val_folder.is_dir():
        return find_faces(train_folder), find_faces(val_folder)
    faces = find_faces(datapath)
    least = 1 if val_fraction > 0 else 0
    count = min(max(round(len(faces) * val_fraction), least), len(faces) - 1)
    shuffled = np.random.default_rng(seed).permutation(len(faces))
    is_held_out = set(shuffled[:count].tolist())
    train = [face for index, face in enumerate(faces) if index not in is_held_out]
    val = [face for index, face in enumerate(faces) if index in is_held_out]
    return train, val
