"""FFHQ alignment: faces and landmarks (YuNet), the square around a face, which faces are taken.

The quad follows the recipe of FFHQ, which the E4S code shares; `s3pot.rg.warp` does the pixels.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np

from s3pot.geometry import Alignment, as_quad, image_corners
from s3pot.rg.detect import FaceDetector, NoFace

logger = logging.getLogger(__name__)

# A square picture counts as aligned when no corner of the quad that its landmarks ask for is
# further than this share of the side from the picture's own corner. Bare FFHQ faces stay within
# 0.07; occluders move the landmarks: 92 % of 160 with one large random shape stay within 0.2.
ALIGNED_TOLERANCE = 0.2


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
    return Alignment(as_quad(image_corners(size)), size, size, score=score)


def looks_aligned(size: tuple[int, int], landmarks: np.ndarray) -> bool:
    """Tell whether a picture of this height and width is an FFHQ crop already.

    It is when it is square and these landmarks ask for nearly the whole picture.
    """
    offset = np.linalg.norm(quad_from_landmarks(landmarks) - image_corners(size), axis=1)
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


@dataclass(frozen=True)
class FaceAligner:
    """Decides which crops of a photo are worked on (``align`` in the config).

    Attributes:
        detector: Finds the faces; None takes every picture as it is.
        size: Side of a crop in pixels.
        borders: ``reflect`` or ``black``.
        may_be_aligned: Keep a picture that looks aligned already as it is.
    """

    detector: FaceDetector | None
    size: int
    borders: str
    may_be_aligned: bool

    def align(self, photo: np.ndarray, all_faces: bool = False) -> list[Alignment]:
        """Plan the crops of a photo, uint8 (H, W, 3): the largest face, or all, largest first.

        Raises:
            NoFace: There is no face, and the photo does not count as aligned.
        """
        if self.detector is None:
            return [identity(photo)]
        return find_alignments(
            photo,
            self.detector,
            self.size,
            self.borders,
            all_faces=all_faces,
            may_be_aligned=self.may_be_aligned,
        )
