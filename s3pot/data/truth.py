"""Ground truth: which file holds that of a face or photo, and how it is read."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from s3pot.data.face_folder import BadFace, FaceFiles, find_faces, load_labels
from s3pot.data.image import IMAGE_SUFFIXES, MAX_PIXELS, read_rgb
from s3pot.data.labelme import LabelPolicy, holds_shapes, read_labelme
from s3pot.data.masks import read_mask
from s3pot.labels import region_of, resize_labels
from s3pot.types import S3potError

logger = logging.getLogger(__name__)


def faces_with_truth(datapath: Path) -> list[FaceFiles]:
    """Find the faces of a folder that can be scored, sorted by name.

    A JSON file of another tool, without LabelMe's ``shapes``, is no truth.

    Raises:
        S3potError: There are none.
    """
    faces = [face for face in find_faces(datapath) if has_truth(face.occlusion_truth)]
    if not faces:
        raise S3potError(
            f"No face in {datapath} has a truth, <stem>_occlusion.png or a LabelMe <stem>.json. "
            "generate_reference.py --truth_dir brings the truth of photos along."
        )
    return faces


def has_truth(path: Path | None) -> bool:
    """Whether a file, if there is any, is a truth."""
    if path is None:
        return False
    return path.suffix.lower() != ".json" or holds_shapes(path)


def truth_and_region(
    face: FaceFiles, policy: LabelPolicy | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Read the true occlusion and the parsed region of a face.

    Args:
        face: Its files.
        policy: Which labels of a LabelMe file count; None for the default.

    Returns:
        Truth and region, both bool (H, W) in the working frame.

    Raises:
        S3potError: The face has no truth, or one of its files is damaged or does not fit.
    """
    truth = load_truth(face, policy)
    if truth is None:
        raise BadFace(f"{face.name} has no truth <stem>_occlusion.png or LabelMe <stem>.json.")
    return truth, region_of(resize_labels(load_labels(face.parsing), truth.shape))


def load_truth(face: FaceFiles, policy: LabelPolicy | None = None) -> np.ndarray | None:
    """Read the true occlusion of a face, a mask file or a LabelMe file.

    Args:
        face: Its files.
        policy: Which labels of a LabelMe file count; None for the default.

    Returns:
        bool (H, W) of the raw face; None if there is no truth.

    Raises:
        S3potError: The truth is damaged, no mask, or of another size or frame.
    """
    if face.occlusion_truth is None:
        return None
    return read_truth(face.occlusion_truth, read_rgb(face.raw).shape, policy)


def read_truth(
    path: Path,
    size: Sequence[int],
    policy: LabelPolicy | None = None,
    max_pixels: int = MAX_PIXELS,
) -> np.ndarray | None:
    """Read a truth for an image of height ``size[0]`` and width ``size[1]``; see ``load_truth``."""
    if path.suffix.lower() == ".json":
        return read_labelme(path, tuple(size[:2]), policy)
    mask = read_mask(path, max_pixels=max_pixels)
    if mask.shape != tuple(size[:2]):
        raise BadFace(
            f"{path} is {mask.shape[1]} x {mask.shape[0]}, but its image is {size[1]} x {size[0]}; "
            "a truth has the size of its image."
        )
    return mask


def try_truth(face: FaceFiles, policy: LabelPolicy | None = None) -> np.ndarray | None:
    """Read the true occlusion if it can be used: without one, a mask is still worth having.

    Returns:
        bool (H, W) of the raw face; None if there is none, or one that cannot be used, which is a
        warning.
    """
    try:
        return load_truth(face, policy)
    except S3potError as error:
        logger.warning("%s: no score, for its truth cannot be used: %s", face.name, error)
        return None


def find_truth(truth_dir: Path, name: str, photo: Path | None = None) -> Path | None:
    """Find the truth of a photo.

    Args:
        truth_dir: Folder of truths; may be the photos' own.
        name: The photo's path below its own folder, without its ending (``a/b``).
        photo: The photo, which is not its own truth.

    Returns:
        The first that exists of ``<name>_occlusion.png`` (or another image), a LabelMe
        ``<name>.json``, and a mask ``<name>.png`` (or another image); None if there is none.
    """
    suffixes = sorted(IMAGE_SUFFIXES, key=lambda suffix: (suffix != ".png", suffix))
    candidates = [truth_dir / f"{name}_occlusion{suffix}" for suffix in suffixes]
    candidates.append(truth_dir / f"{name}.json")
    if photo is None or photo.parent.resolve() != (truth_dir / name).parent.resolve():
        candidates += [truth_dir / f"{name}{suffix}" for suffix in suffixes]
    return next((path for path in candidates if path.is_file() and has_truth(path)), None)
