"""Ground truth of faces."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from s3pot.data.face_folder import (
    BadFace,
    FaceFiles,
    _size,
    find_faces,
    load_labels,
)
from s3pot.data.image import read_rgb
from s3pot.data.labelme import read_labelme
from s3pot.labels import region_of, resize_labels
from s3pot.types import S3potError


def faces_with_truth(datapath: Path) -> list[FaceFiles]:
    """The faces of a folder that can be scored, at least one, sorted; else S3potError."""
    faces = [face for face in find_faces(datapath) if face.occlusion_truth is not None]
    if not faces:
        raise S3potError(f"no truth in {datapath}; generate_reference.py --truth_dir brings it")
    return faces


def truth_and_region(face: FaceFiles) -> tuple[np.ndarray, np.ndarray]:
    """True occlusion and parsed region in the working frame, bool (H, W); else S3potError."""
    truth = load_truth(face)
    if truth is None:
        raise S3potError(f"{face.name} has no truth <stem>_occlusion.png or <stem>.json")
    return truth, region_of(resize_labels(load_labels(face.parsing), truth.shape))


def load_truth(face: FaceFiles) -> np.ndarray | None:
    """Read the true occlusion, PNG of 0/255 or 0/1 or LabelMe, as bool (H, W) of the raw face.

    None where no truth is known; S3potError where it is damaged or of another size.
    """
    path, raw = face.occlusion_truth, read_rgb(face.raw)
    if path is None:
        return None
    if path.suffix == ".json":
        return read_labelme(path, raw.shape[:2])
    pixels = read_rgb(path).max(axis=2)
    if pixels.shape != raw.shape[:2]:
        raise BadFace(f"{path} is {_size(pixels)}; expected {_size(raw)}, the size of {face.raw}")
    return np.asarray(pixels > (127 if pixels.max() > 1 else 0))
