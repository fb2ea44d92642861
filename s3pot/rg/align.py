"""FFHQ alignment: faces and landmarks (YuNet), the square around a face, which faces are taken.

The quad follows the recipe of FFHQ, which the E4S code shares; `s3pot.rg.warp` does the pixels.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from s3pot.rg.warp import Alignment, as_quad, picture_corners
from s3pot.types import S3potError

logger = logging.getLogger(__name__)

# A square picture counts as aligned when no corner of the quad that its landmarks ask for is
# further than this share of the side from the picture's own corner. Bare FFHQ faces stay within
# 0.07; occluders move the landmarks: 92 % of 160 with one large random shape stay within 0.2.
ALIGNED_TOLERANCE = 0.2


# Longest side in pixels at which the photo is searched, in this order, until a face is found: YuNet
# sees faces of roughly 10 to 300 px, so 320 is for faces that fill the photo, 1280 for far ones.
SEARCH_SIDES = (640, 320, 1280)


class NoFace(S3potError):
    """No face was found in a photo that does not look aligned either."""


@dataclass(frozen=True)
class Face:
    """One detected face, photo frame.

    Attributes:
        box: x, y, width, height in pixels; may reach beyond the photo.
        score: Detector confidence in [0, 1].
        landmarks: (5, 2) float64, x, y: eye, eye, nose tip, mouth corner, mouth corner; of each
            pair the subject's right one first, which is the left one in the picture.
    """

    box: tuple[float, ...]
    score: float
    landmarks: np.ndarray


class FaceDetector:
    """YuNet from an ONNX file; faces below ``min_score`` are dropped; S3potError if it is none."""

    def __init__(self, model_path: str | Path, min_score: float = 0.6) -> None:
        try:
            network = cv2.FaceDetectorYN.create(str(model_path), "", (320, 320), min_score)
        except cv2.error as error:
            found = f"{model_path} is missing or no YuNet model OpenCV {cv2.__version__} can read"
            cure = "move it away, then: python -m s3pot.weights download yunet"
            raise S3potError(f"{found}; {cure}, or set align.mode=never") from error
        self._network: Any = network

    def detect(self, image: np.ndarray) -> list[Face]:
        """Find the faces of a photo of any size, uint8 RGB (H, W, 3).

        Returns:
            Faces in the photo frame, largest first; empty if there is none.
        """
        for side in SEARCH_SIDES:
            scale = side / max(image.shape[:2])
            # Enlarging a second time finds nothing new.
            faces = self._search(image, scale) if side == SEARCH_SIDES[0] or scale <= 1 else []
            if faces:
                return sorted(faces, key=lambda face: -face.box[2] * face.box[3])
        return []

    def _search(self, image: np.ndarray, scale: float) -> list[Face]:
        height, width = image.shape[:2]
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        filtering = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        resized = cv2.resize(image, size, interpolation=filtering)
        self._network.setInputSize(size)
        _, found = self._network.detect(cv2.cvtColor(resized, cv2.COLOR_RGB2BGR))
        # A row: x, y, width, height, five landmarks x, y, score.
        rows = np.zeros((0, 15)) if found is None else np.asarray(found, dtype=np.float64)
        rows = rows[np.isfinite(rows).all(axis=1)]
        rows[:, :14] *= np.tile([width / size[0], height / size[1]], 7)
        return [Face(tuple(row[:4]), float(row[14]), row[4:14].reshape(5, 2)) for row in rows]


def quad_from_landmarks(points: np.ndarray) -> np.ndarray:
    """Lay the FFHQ square around a face.

    Args:
        points: Photo frame, x, y: (68, 2) in the usual order, or (5, 2) as in `Face`.

    Returns:
        Quad float64 (4, 2): top left, bottom left, bottom right, top right.

    Raises:
        ValueError: for another shape, or landmarks that fall into one point.
    """
    points = np.asarray(points, dtype=np.float64)
    if points.shape == (68, 2):
        eyes = [points[36:42].mean(axis=0), points[42:48].mean(axis=0)]
        points = np.stack([*eyes, *points[[30, 48, 54]]])
    if points.shape != (5, 2):
        raise ValueError(f"landmarks have shape {points.shape}; expected (68, 2) or (5, 2)")
    middle, between_eyes = (points[0] + points[1]) / 2, points[1] - points[0]
    to_mouth = (points[3] + points[4]) / 2 - middle
    x = between_eyes + np.array([to_mouth[1], -to_mouth[0]])
    length = np.hypot(*x)
    if not np.isfinite(length) or length == 0:
        raise ValueError("eyes and mouth fall into one point or are not finite: no face to align")
    x *= max(np.hypot(*between_eyes) * 2.0, np.hypot(*to_mouth) * 1.8) / length
    y = np.array([-x[1], x[0]])
    center = middle + 0.1 * to_mouth
    return np.stack([center - x - y, center - x + y, center + x + y, center + x - y])


def from_landmarks(
    points: np.ndarray,
    photo_size: tuple[int, int],
    size: int = 1024,
    borders: str = "reflect",
    score: float | None = None,
) -> Alignment:
    """Plan the FFHQ crop around landmarks as `quad_from_landmarks` takes them; see `Alignment`."""
    quad = quad_from_landmarks(points)
    shrink = max(1, int(np.hypot(*(quad[3] - quad[0])) / size / 2))
    return Alignment(as_quad(quad), (size, size), photo_size, shrink, borders, score)


def identity(image: np.ndarray, score: float | None = None) -> Alignment:
    """Take a whole picture (H, W, ...) as the working image (``align.mode: never``)."""
    size = (image.shape[0], image.shape[1])
    return Alignment(as_quad(picture_corners(size)), size, size, score=score)


def looks_aligned(size: tuple[int, int], landmarks: np.ndarray) -> bool:
    """Tell whether a picture of this height and width is an FFHQ crop already.

    It is when it is square and these landmarks ask for nearly the whole picture.
    """
    offset = np.linalg.norm(quad_from_landmarks(landmarks) - picture_corners(size), axis=1)
    return size[0] == size[1] and bool(offset.max() <= ALIGNED_TOLERANCE * size[0])


def find_alignments(
    photo: np.ndarray,
    detector: FaceDetector,
    size: int,
    borders: str,
    all_faces: bool = False,
    may_be_aligned: bool = True,
) -> list[Alignment]:
    """Decide which crops of a photo, uint8 (H, W, 3), are worked on: the largest face or all.

    Args:
        photo: The picture.
        detector: Finds the faces.
        size: Side of a crop.
        borders: ``reflect`` or ``black``.
        all_faces: Every face, largest first.
        may_be_aligned: Keep a picture that looks aligned already as it is, and also a square one
            without a face: heavily occluded faces are often missed.

    Raises:
        NoFace: No face, and not taken as aligned.
    """
    (height, width), faces = photo.shape[:2], detector.detect(photo)
    if not faces:
        if height != width or not may_be_aligned:
            cure = "align.mode=auto takes a square picture as it is, align.mode=never any"
            raise NoFace(f"no face found in a photo of {width} x {height}; {cure}")
        logger.info("no face found in a square picture: taken as aligned")
        return [identity(photo)]
    return [
        identity(photo, face.score)
        if may_be_aligned and looks_aligned((height, width), face.landmarks)
        else from_landmarks(face.landmarks, (height, width), size, borders, face.score)
        for face in (faces if all_faces else faces[:1])
    ]
