"""Reading the ground truth of a face or a photo; ``truth_paths.py`` says which files hold it.

If the truth is a mask of the visible face, the occlusion is the parsed region minus this mask,
which is the method's own rule; it therefore depends on the parser, and nothing outside the region
is scored. Slivers along the region's rim and specks, by which the two outlines differ on any face,
are not counted: otherwise an unoccluded face would count as occluded.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from s3pot.data.face_folder import (
    VISIBLE_FACE,
    BadFace,
    FaceFiles,
    load_labels_of_image,
)
from s3pot.data.image import MAX_PIXELS, read_rgb
from s3pot.data.label_policy import LabelPolicy
from s3pot.data.labelme import read_labelme
from s3pot.data.masks import read_mask_of_size
from s3pot.data.truth_paths import known_truth_file, truth_file
from s3pot.labels import CLASSES, region_of, resize_labels
from s3pot.occlusion_decision import remove_slivers, remove_small_pieces
from s3pot.types import S3potError

logger = logging.getLogger(__name__)

GLASSES_KEPT = "keep"  # glasses are scored as the truth says
GLASSES_OCCLUDE = "occlusion"  # glasses inside the region are occlusions
GLASSES_IGNORED = "ignore"  # their pixels are excluded from all scores
# Occluders hide less of an image than this; otherwise hardly any face would be visible.
MOST_COVERED = 0.6
_GLASSES = CLASSES.index("eye_glass")


@dataclass(frozen=True)
class TruthPolicy:
    """Which parts of a ground truth count.

    Attributes:
        labels: Which labels of a LabelMe file are occluders.
        glasses: ``GLASSES_KEPT``, ``GLASSES_OCCLUDE`` or ``GLASSES_IGNORED``. The true class map
            says where glasses are or, without one, the parsing.
        sliver_width: Differences between the outlines of region and true visible face that are
            thinner than this are not counted; in the unit of ``OcclusionDecision.sliver_width``.
        min_piece: Connected pieces of the region minus the true visible face that are smaller than
            this share of the region are not counted either.
    """

    labels: LabelPolicy = field(default_factory=LabelPolicy)
    glasses: str = GLASSES_KEPT
    sliver_width: float = 0.04
    min_piece: float = 0.005


@dataclass(frozen=True, eq=False)
class FaceTruth:
    """The true occlusion of a face, in the working frame.

    Attributes:
        occlusion: bool (H, W).
        region: The parsed region in which occlusions are searched for, bool (H, W).
        ignored: Pixels excluded from all scores, bool (H, W); None if all count.
    """

    occlusion: np.ndarray
    region: np.ndarray
    ignored: np.ndarray | None = None


def require_truth(
    face: FaceFiles,
    policy: TruthPolicy | None = None,
    size: tuple[int, int] | None = None,
    max_pixels: int = MAX_PIXELS,
) -> FaceTruth:
    """Read the ground truth of a face that must have one; see ``load_face_truth``.

    Raises:
        S3potError: The face has no ground truth, or one of its files is damaged or does not match.
    """
    truth = load_face_truth(face, policy, size, max_pixels)
    if truth is None:
        raise BadFace(
            f"{face.name} has no ground truth: <stem>_occlusion.png, LabelMe <stem>.json or "
            f"<stem>{VISIBLE_FACE}."
        )
    return truth


def load_face_truth(
    face: FaceFiles,
    policy: TruthPolicy | None = None,
    size: tuple[int, int] | None = None,
    max_pixels: int = MAX_PIXELS,
) -> FaceTruth | None:
    """Read the ground truth of a face, if it has one.

    Args:
        face: Its files.
        policy: What counts; None for the default.
        size: Height and width of the raw face, if it has been read; None reads it.
        max_pixels: A larger raw face is refused.

    Returns:
        The truth at the size of the raw face; None if there is none.

    Raises:
        S3potError: One of its files is damaged, not a mask, or of another size or frame.
    """
    policy = policy or TruthPolicy()
    path = truth_file(face)
    if path is None:
        return None
    if size is None:
        height, width = read_rgb(face.raw, max_pixels).shape[:2]
        size = (height, width)
    parsing = resize_labels(load_labels_of_image(face.parsing, size), size)
    region = region_of(parsing)
    ignored = None if face.ignore is None else read_mask_of_size(face.ignore, size)
    if path == face.visible_face_truth:
        visible_face = read_mask_of_size(path, size)
        truth = _without_visible_face(region, visible_face, ignored, policy)
    else:
        occlusion = read_truth(path, size, policy.labels)
        if occlusion is None:  # another tool's JSON
            return None
        truth = FaceTruth(occlusion, region, ignored)
    if policy.glasses == GLASSES_KEPT:
        return truth
    if face.true_parsing is not None:
        parsing = resize_labels(load_labels_of_image(face.true_parsing, size), size)
    return _with_glasses(truth, parsing == _GLASSES, policy.glasses)


def _without_visible_face(
    region: np.ndarray, visible_face: np.ndarray, ignored: np.ndarray | None, policy: TruthPolicy
) -> FaceTruth:
    """Subtract the true visible face from the region; slivers and specks are not counted."""
    difference = region & ~visible_face
    area = int(region.sum())
    occlusion = remove_slivers(difference, region, policy.sliver_width * math.sqrt(area))
    occlusion = remove_small_pieces(occlusion, policy.min_piece * area)
    not_counted = difference & ~occlusion
    if ignored is not None:
        not_counted |= ignored
    return FaceTruth(occlusion, region, not_counted if not_counted.any() else None)


def _with_glasses(truth: FaceTruth, glasses: np.ndarray, rule: str) -> FaceTruth:
    """Apply a rule other than ``GLASSES_KEPT`` to the pixels of glasses, bool (H, W)."""
    if rule == GLASSES_OCCLUDE:
        return FaceTruth(truth.occlusion | (glasses & truth.region), truth.region, truth.ignored)
    ignored = glasses if truth.ignored is None else truth.ignored | glasses
    return FaceTruth(truth.occlusion, truth.region, ignored)


def read_truth(
    path: Path,
    size: Sequence[int],
    labels: LabelPolicy | None = None,
    max_pixels: int = MAX_PIXELS,
) -> np.ndarray | None:
    """Read the true occlusion of an image, a mask file or a LabelMe file.

    Args:
        path: The file.
        size: Height and width of the image; further values are ignored.
        labels: Which labels of a LabelMe file count; None for the default.
        max_pixels: Larger masks are refused.

    Returns:
        bool (H, W); None if it is a JSON file of another tool.

    Raises:
        S3potError: The file is damaged, not a mask, or of another size or frame.
    """
    truth = decode_truth(path, size, labels, max_pixels)
    suspicion = None if truth is None else suspicion_of(float(truth.mean()))
    if suspicion is not None:
        logger.warning("%s: %s", path, suspicion)
    return truth


def decode_truth(
    path: Path,
    size: Sequence[int],
    labels: LabelPolicy | None = None,
    max_pixels: int = MAX_PIXELS,
) -> np.ndarray | None:
    """Read a true occlusion like ``read_truth``, without a warning if it looks inverted."""
    if path.suffix.lower() == ".json":
        return read_labelme(path, tuple(size[:2]), labels)
    return read_mask_of_size(path, size, max_pixels)


def suspicion_of(occluded_share: float) -> str | None:
    """Say why the share of an image that is occluded cannot be right; None if it can."""
    if occluded_share <= MOST_COVERED:
        return None
    return (
        f"the occlusion covers {100 * occluded_share:.0f} % of the image. Is it inverted, or is it "
        "the face? Occluders must be white and everything else black."
    )


def try_truth(
    face: FaceFiles,
    policy: TruthPolicy | None = None,
    size: tuple[int, int] | None = None,
) -> FaceTruth | None:
    """Read the ground truth of a face if it can be used; a mask is useful even without a score.

    Args:
        face: Its files.
        policy: See ``load_face_truth``.
        size: See ``load_face_truth``.

    Returns:
        The truth; None if there is none or, with a warning, if it cannot be used.
    """
    try:
        return load_face_truth(face, policy, size)
    except S3potError as error:
        logger.warning("%s: no score, because its truth cannot be used: %s", face.name, error)
        return None


def describe_truth(faces: Sequence[FaceFiles], policy: TruthPolicy) -> str:
    """Describe, for a table, the ground truth that its faces are scored against.

    Args:
        faces: The faces of the table; all have a ground truth.
        policy: Which parts of it count.
    """
    files = [path for path in map(known_truth_file, faces) if path is not None]
    sources = []
    if any(path.name.endswith(VISIBLE_FACE) for path in files):
        sources.append(
            f"parsed region minus true visible face without slivers below {policy.sliver_width:g} "
            f"and pieces below {policy.min_piece:g}"
        )
    if any(path.suffix.lower() == ".json" for path in files):
        sources.append("LabelMe shapes")
    if any(_is_occlusion_mask(path) for path in files):
        sources.append("occlusion masks")
    parts = [" and ".join(sources), f"glasses {policy.glasses}"]
    if any(face.ignore is not None for face in faces):
        parts.append("ignore masks")
    return "; ".join(parts)


def _is_occlusion_mask(path: Path) -> bool:
    return path.suffix.lower() != ".json" and not path.name.endswith(VISIBLE_FACE)
