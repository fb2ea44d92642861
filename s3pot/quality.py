"""Whether a result can be trusted: evidence that the parsed region is not a face.

A parser finds a face in anything. In a picture of something else its region is a blob, the
reference is a face that does not resemble the picture anywhere, and the difference of the two is
reported as an occlusion. The checks in this module look at the photo's alignment, the region and
the reference, and say why a result is doubtful. They do not change the result.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import cv2
import numpy as np

from s3pot.geometry import Alignment
from s3pot.labels import CLASSES, pixels_of, region_of, resize_labels
from s3pot.types import AlignedFace, S3potError

logger = logging.getLogger(__name__)

OK = "ok"
DOUBTFUL = "doubtful: "

# Limits for the region of an aligned face, occluded or not. Portraits and drawn faces stay well
# within them: 0.14 to 0.62 of the image, solidity from 0.87, width / height 0.64 to 1.2.
REGION_SHARE = (0.04, 0.8)  # of the image
MIN_LARGEST_PIECE = 0.5  # share of the region in one piece; an occluder may cut it
MIN_SOLIDITY = 0.65  # area divided by that of the convex hull
ASPECT = (0.4, 1.6)  # width / height of the bounding box
CENTER_X = (0.25, 0.75)  # center of the region, as a share of the image
CENTER_Y = (0.25, 0.85)
MIN_CONTRAST = 3.0  # standard deviation of the gray values in the region, in [0, 255]
# Share of the region that must lie in the photo. In 20 close portraits it is 0.86 to 1, and 0.46 to
# 0.78 of the crop; in photos that show 50 to 65 % of such a portrait it is 0.38 to 0.53.
MIN_INSIDE = 0.6
_SAMPLES = 256  # rows and columns, at least, at which it is measured
LIKENESS_QUANTILE = 0.75  # as little as a quarter of the region may be visible

_FEATURES = ("eyebrows", "eyes", "nose", "lip", "mouth", "eye_glass")


@dataclass(frozen=True)
class QualityLimits:
    """Limits that depend on the models.

    Attributes:
        min_score: Detector confidence below which an alignment is uncertain.
        min_likeness: Similarity of image and reference, see ``likeness``, below which there is
            probably no face; 0 turns the check off.
        strict: Whether a doubtful face counts as failed.
    """

    min_score: float = 0.0
    min_likeness: float = 0.0
    strict: bool = False


@dataclass(frozen=True, eq=False)
class Evidence:
    """The data that a result's quality is judged by.

    Attributes:
        face: Working image, parsing and reference.
        similarity: FE's token cosines, float (G, G) in [-1, 1]; None if SAM has not run yet.
        alignment: Position of the working image in the photo; None if it is not known.
        looked_for_face: Whether a detector looked for a face in the photo.
    """

    face: AlignedFace
    similarity: np.ndarray | None = None
    alignment: Alignment | None = None
    looked_for_face: bool = False


def find_doubts(evidence: Evidence, limits: QualityLimits) -> list[str]:
    """List the reasons to doubt a result, in a few words each; empty if there are none."""
    region = region_of(evidence.face.parsing)
    doubts = []
    if evidence.alignment is not None:
        doubts += _alignment_doubts(evidence.alignment, evidence.looked_for_face, limits)
        doubts += _doubts_about_photo(evidence.alignment, region)
    doubts += _region_doubts(region)
    if not region.any():
        return doubts
    features = [CLASSES.index(name) for name in _FEATURES]
    if not pixels_of(evidence.face.parsing, features).any():
        doubts.append("no eyes, nose or mouth")
    if _contrast(evidence.face.image, region) < MIN_CONTRAST:
        doubts.append("nothing is visible in the face region")
    elif evidence.similarity is not None and (
        likeness(evidence.similarity, region) < limits.min_likeness
    ):
        doubts.append("the reference hardly resembles the image anywhere")
    return doubts


def judge(evidence: Evidence, limits: QualityLimits, quiet: bool = False) -> str:
    """Judge a result: a doubtful one causes a warning in the log or, in strict runs, an error.

    Args:
        evidence: The data it is judged by.
        limits: Limits that depend on the models.
        quiet: Omit the warning, because the result is judged again later.

    Returns:
        ``ok``, or ``doubtful: `` followed by the reasons.

    Raises:
        S3potError: It is doubtful, and the limits are strict.
    """
    doubts = find_doubts(evidence, limits)
    if doubts and limits.strict:
        raise S3potError(
            f"the result would be doubtful ({'; '.join(doubts)}), which counts as a failure here; "
            "without quality.strict (--strict) it is written and marked"
        )
    if doubts and not quiet:
        logger.warning("%s: the result is doubtful: %s", evidence.face.name, "; ".join(doubts))
    return quality_text(doubts)


def quality_text(doubts: list[str]) -> str:
    """Format doubts for the summary: ``ok``, or ``doubtful: `` followed by the reasons."""
    return DOUBTFUL + "; ".join(doubts) if doubts else OK


def likeness(similarity: np.ndarray, region: np.ndarray) -> float:
    """Measure how well the reference matches the image where it matches best.

    A face keeps some visible skin under almost any occluder, and there its reference agrees with
    it. This is therefore the upper quartile of the similarity in the region.

    Args:
        similarity: Token cosines, (G, G) in [-1, 1].
        region: bool (H, W), the same frame at any size.

    Returns:
        In [-1, 1]; -1 if no token's center lies in the region.
    """
    inside = similarity[resize_labels(region, similarity.shape)]
    return float(np.quantile(inside, LIKENESS_QUANTILE)) if inside.size else -1.0


def _alignment_doubts(
    alignment: Alignment, looked_for_face: bool, limits: QualityLimits
) -> list[str]:
    doubts = []
    if looked_for_face and alignment.score is None:
        doubts.append("no face found in the photo")
    if alignment.score is not None and alignment.score < limits.min_score:
        score = _score_below_limit(alignment.score, limits.min_score)
        doubts.append(f"unsure alignment (detector {score}, limit {limits.min_score:g})")
    height, width = alignment.photo_size
    if alignment.is_whole and height != width:
        doubts.append(
            f"the photo is {width} x {height} and was not aligned (align.mode=auto does it)"
        )
    return doubts


def _score_below_limit(score: float, limit: float) -> str:
    """Format a score below a limit with two digits, or as many as show the difference."""
    digits = next((count for count in range(2, 7) if float(f"{score:.{count}f}") < limit), 7)
    return f"{score:.{digits}f}"


def _doubts_about_photo(alignment: Alignment, region: np.ndarray) -> list[str]:
    """Say whether much of a region, bool (H, W), lies outside the photo, where pixels are made up.

    The rest of the crop does not count: in a portrait that is cut close around the face, half of it
    may lie outside the photo.
    """
    lowest, highest = -0.5, np.array(alignment.photo_size[::-1]) - 0.5
    if ((alignment.corners >= lowest) & (alignment.corners <= highest)).all():
        return []
    step = max(1, max(region.shape) // _SAMPLES)
    sampled = region[::step, ::step]
    if not sampled.any():
        return []
    top_left, bottom_left, _, top_right = alignment.corners
    down, across = (
        ((np.arange(0, side, step) + 0.5) / side)[:, None] * (corner - top_left)
        for side, corner in zip(region.shape, (bottom_left, top_right))
    )
    points = top_left + down[:, None] + across  # (rows, columns, 2)
    is_inside = ((points >= lowest) & (points <= highest)).all(axis=2)
    outside = 1 - float(is_inside[sampled].mean())
    if outside <= 1 - MIN_INSIDE:
        return []
    return [f"much of the face lies outside the photo ({outside:.0%} of it)"]


def _region_doubts(region: np.ndarray) -> list[str]:
    """List what is unusual about a region, bool (H, W), for a face."""
    share = float(region.mean())
    if share < REGION_SHARE[0]:
        return ["no face region" if share == 0 else f"small face region ({share:.1%} of the image)"]
    doubts = []
    if share > REGION_SHARE[1]:
        doubts.append(f"large face region ({share:.0%} of the image)")
    count, pieces, boxes, centers = cv2.connectedComponentsWithStats(region.astype(np.uint8))
    largest = 1 + int(np.argmax(boxes[1:, cv2.CC_STAT_AREA]))
    if boxes[largest, cv2.CC_STAT_AREA] < MIN_LARGEST_PIECE * region.sum():
        doubts.append(f"the face region is in {count - 1} pieces")
    aspect = boxes[largest, cv2.CC_STAT_WIDTH] / boxes[largest, cv2.CC_STAT_HEIGHT]
    if not ASPECT[0] <= aspect <= ASPECT[1] or _solidity(pieces == largest) < MIN_SOLIDITY:
        doubts.append("odd shape of the face region")
    center_x, center_y = centers[largest] / region.shape[::-1]
    if not (CENTER_X[0] <= center_x <= CENTER_X[1] and CENTER_Y[0] <= center_y <= CENTER_Y[1]):
        doubts.append("the face region lies at the edge of the image")
    return doubts


def _solidity(piece: np.ndarray) -> float:
    """Area of a piece, bool (H, W), divided by that of its convex hull."""
    contours = cv2.findContours(piece.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    hull = cv2.convexHull(contours[-2][0])
    filled = cv2.fillConvexPoly(np.zeros(piece.shape, np.uint8), hull, 1)
    return float(piece.sum() / filled.sum())


def _contrast(image: np.ndarray, region: np.ndarray) -> float:
    """Standard deviation of the gray values of an image in a region of it.

    Args:
        image: uint8 (H, W, 3).
        region: bool (h, w), the same frame at any size.

    Returns:
        In [0, 128); 0 if no pixel's center lies in the region.
    """
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    inside = gray[resize_labels(region, gray.shape)]
    return float(inside.std()) if inside.size else 0.0
