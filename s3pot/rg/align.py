"""FFHQ alignment: the square around a face, which faces are taken, which way the photo stands.

The quad follows the recipe of FFHQ, which the E4S code shares; `s3pot.rg.warp` does the pixels.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np

from s3pot.geometry import TURNS, Alignment, as_quad, image_corners, turned_points
from s3pot.rg.detect import Detector, Face, NoFace
from s3pot.rg.warp import crop
from s3pot.types import S3potError

logger = logging.getLogger(__name__)

# From a photo, uint8 (H, W, 3), and five landmarks of a face in it, (5, 2), to better landmarks.
Refine = Callable[[np.ndarray, np.ndarray], np.ndarray]

# A square image counts as aligned when no corner of the quad that its landmarks ask for is
# further than this share of the side from the image's own corner. Bare FFHQ faces stay within
# 0.07; occluders move the landmarks: 92 % of 160 with one large random shape stay within 0.2.
ALIGNED_TOLERANCE = 0.2

# The mini models have learned from faces that are framed more loosely and turned by up to 16
# degrees. 95 % of them share more than this with the crop that their landmarks ask for, out of the
# area that the image and the crop cover together.
PORTRAIT_OVERLAP = 0.45
PORTRAIT_TILT = 25.0  # degrees

# A turned photo wins if the second look at its face is surer than that at the photo as it is by
# this. Of 168 real faces, 144 of them with one large random shape over an eye, the nose or the
# mouth, YuNet turned none wrongly; of all 504 ways to turn them it righted 86 %, of the bare ones
# all 72.
TURN_MARGIN = 0.03
SECOND_SIDE = 256  # of the crop that is looked at a second time
SECOND_MARGIN = 72  # gray pixels around it


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
        right_eye = points[36:42].mean(axis=0)
        left_eye = points[42:48].mean(axis=0)
        points = np.stack([right_eye, left_eye, points[30], points[48], points[54]])
    if points.shape != (5, 2):
        raise ValueError(f"landmarks have shape {points.shape}; expected (68, 2) or (5, 2)")
    middle = (points[0] + points[1]) / 2
    between_eyes = points[1] - points[0]
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
    """Plan the FFHQ crop around landmarks.

    Args:
        points: As ``quad_from_landmarks`` takes them.
        photo_size: Height and width of the photo.
        size: Side of the crop in pixels.
        borders: ``reflect`` or ``black``.
        score: Detector confidence.
    """
    quad = quad_from_landmarks(points)
    edge = quad[3] - quad[0]
    side = float(np.hypot(edge[0], edge[1]))
    return Alignment(
        quad=as_quad(quad),
        size=(size, size),
        photo_size=photo_size,
        shrink=max(1, int(side / size / 2)),
        borders=borders,
        score=score,
    )


def identity(image: np.ndarray, score: float | None = None) -> Alignment:
    """Take a whole image (H, W, ...) as the working image (``align.mode: never``)."""
    size = (image.shape[0], image.shape[1])
    return Alignment(quad=as_quad(image_corners(size)), size=size, photo_size=size, score=score)


def looks_aligned(size: tuple[int, int], landmarks: np.ndarray) -> bool:
    """Tell whether an image of this height and width is an FFHQ crop already.

    It is when it is square and these landmarks ask for nearly the whole image.
    """
    offset = np.linalg.norm(quad_from_landmarks(landmarks) - image_corners(size), axis=1)
    return size[0] == size[1] and bool(offset.max() <= ALIGNED_TOLERANCE * size[0])


def looks_like_portrait(size: tuple[int, int], landmarks: np.ndarray) -> bool:
    """Tell whether an image of this height and width is framed as the mini models know faces.

    It is when it is square, shows the face nearly upright, and overlaps with the crop that these
    landmarks ask for by more than PORTRAIT_OVERLAP.
    """
    if size[0] != size[1]:
        return False
    quad = quad_from_landmarks(landmarks)
    across = quad[3] - quad[0]
    tilt = float(np.degrees(np.arctan2(across[1], across[0])))
    corners = image_corners(size)
    shared, _ = cv2.intersectConvexConvex(quad.astype(np.float32), corners.astype(np.float32))
    covered = float(across @ across) + size[0] * size[1] - shared
    return abs(tilt) <= PORTRAIT_TILT and shared > PORTRAIT_OVERLAP * covered


@dataclass(frozen=True)
class Framing:
    """Which images count as cropped already, for a set of models and its detector.

    Attributes:
        is_aligned: Says so from height and width, and the landmarks of a face.
        crop_score: Faces with a lower score are too unsure for a crop.
        needs_hint: Whether a square image without a sure face has to show at least an unsure one
            to be taken as it is.
    """

    is_aligned: Callable[[tuple[int, int], np.ndarray], bool]
    crop_score: float
    needs_hint: bool


# YuNet drops what it is not sure of, among that many heavily occluded faces.
FFHQ_FRAMING = Framing(looks_aligned, crop_score=0.0, needs_hint=False)
MINI_FRAMING = Framing(looks_like_portrait, crop_score=0.5, needs_hint=True)


@dataclass(frozen=True)
class _View:
    """A photo as it is looked at, and what is found in it.

    Attributes:
        turn: Degrees by which the photo was turned, counter-clockwise.
        pixels: The turned photo, uint8 (H, W, 3).
        faces: Found in it, largest first, in its frame.
        certainty: How sure the detector is of the largest face when it sees it aligned, in [0, 1].
    """

    turn: int
    pixels: np.ndarray
    faces: list[Face]
    certainty: float


def find_alignments(
    photo: np.ndarray,
    detector: Detector,
    size: int,
    borders: str,
    all_faces: bool = False,
    may_be_aligned: bool = True,
    framing: Framing = FFHQ_FRAMING,
    refine: Refine | None = None,
    name: str = "the photo",
) -> list[Alignment]:
    """Decide which crops of a photo are worked on: the largest face or all.

    A photo that lies on its side or on its head is turned if that makes the detector surer.

    Args:
        photo: The photo, uint8 (H, W, 3).
        detector: Finds the faces.
        size: Side of a crop.
        borders: ``reflect`` or ``black``.
        all_faces: Every face, largest first.
        may_be_aligned: Keep a photo that looks aligned already as it is, and also a square one
            without a sure face: heavily occluded faces are often missed.
        framing: What looks aligned, and which faces are sure.
        refine: Makes the landmarks of a face better before it is cropped by them; None takes them
            as the detector gives them.
        name: What messages call the photo.

    Returns:
        Alignments in the frame of the photo as it is given.

    Raises:
        NoFace: There is no face, and the photo does not count as aligned.
    """
    height, width = photo.shape[:2]
    view = _best_view(photo, detector)
    faces = [face for face in view.faces if face.score >= framing.crop_score]
    if not faces:
        hint = max((face.score for face in view.faces), default=None)
        is_refused = framing.needs_hint and hint is None
        if height != width or not may_be_aligned or is_refused:
            raise NoFace(
                f"no face found in a photo of {width} x {height}; align.mode=never takes any photo "
                "as it is"
            )
        logger.warning("%s: no sure face found in a square photo: taken as aligned", name)
        return [identity(photo, hint)]
    if view.turn:
        logger.info("%s: turned by %d degrees until its face stands upright", name, view.turn)
    if len(faces) > 1 and not all_faces:
        logger.warning(
            "%s: %d faces; the largest is taken (all of them: --all_faces, segment_all in Python)",
            name,
            len(faces),
        )
    view_size = (view.pixels.shape[0], view.pixels.shape[1])
    alignments = []
    for face in faces if all_faces else faces[:1]:
        if may_be_aligned and framing.is_aligned(view_size, face.landmarks):
            alignment = identity(view.pixels, face.score)
        else:
            landmarks = face.landmarks if refine is None else refine(view.pixels, face.landmarks)
            alignment = from_landmarks(landmarks, view_size, size, borders, face.score)
        alignments.append(_turned_back(alignment, view.turn, (height, width)))
    return alignments


def _best_view(photo: np.ndarray, detector: Detector) -> _View:
    """Look at a photo as it is, and turned as well if that leaves a doubt."""
    if detector.sure_score <= 0:
        return _righted(photo, detector.detect(photo))
    as_given = _look(photo, 0, detector)
    if as_given.certainty >= detector.sure_score:
        return as_given
    turned = [_look(photo, turn, detector) for turn in TURNS[1:]]
    best = max(turned, key=lambda view: view.certainty)
    least = max(detector.likely_score, as_given.certainty + TURN_MARGIN)
    return best if best.certainty > least else as_given


def _righted(photo: np.ndarray, faces: list[Face]) -> _View:
    """Turn a photo by right angles until its largest face stands as upright as it can."""
    across = faces[0].landmarks[1] - faces[0].landmarks[0] if faces else np.array([1.0, 0.0])
    turn = round(math.degrees(math.atan2(across[1], across[0])) / 90) * 90 % 360
    pixels = np.ascontiguousarray(np.rot90(photo, turn // 90))
    size = (photo.shape[0], photo.shape[1])
    return _View(turn, pixels, [face.turned(turn, size) for face in faces], 1.0)


def _look(photo: np.ndarray, turn: int, detector: Detector) -> _View:
    """Find the faces of a turned photo, and look a second time at the largest one, aligned.

    A face that lies on its side is often found with landmarks as if it stood upright. Aligned by
    them it is no upright face, and the second look is unsure.
    """
    pixels = np.ascontiguousarray(np.rot90(photo, turn // 90))
    faces = detector.detect(pixels)
    certainty = _second_look(pixels, faces[0], detector) if faces else 0.0
    return _View(turn, pixels, faces, certainty)


def _second_look(photo: np.ndarray, face: Face, detector: Detector) -> float:
    """Score of a face in its own aligned crop; 0 if there is none."""
    try:
        alignment = from_landmarks(face.landmarks, (photo.shape[0], photo.shape[1]), SECOND_SIDE)
    except (ValueError, S3potError):  # landmarks in one point
        return 0.0
    side = SECOND_SIDE + 2 * SECOND_MARGIN
    canvas = np.full((side, side, 3), 128, dtype=np.uint8)
    inner = slice(SECOND_MARGIN, SECOND_MARGIN + SECOND_SIDE)
    canvas[inner, inner] = crop(photo, alignment)
    found = detector.detect(canvas)
    return found[0].score if found else 0.0


def _turned_back(alignment: Alignment, turn: int, photo_size: tuple[int, int]) -> Alignment:
    """Bring an alignment of a turned photo to the frame of the photo as it was."""
    if turn == 0:
        return alignment
    view_size = alignment.photo_size
    corners = turned_points(alignment.corners, 360 - turn, view_size)
    return replace(alignment, quad=as_quad(corners), photo_size=photo_size, turn=turn)


@dataclass(frozen=True)
class FaceAligner:
    """Decides which crops of a photo are worked on (``align`` in the config).

    Attributes:
        detector: Finds the faces; None takes every photo as it is.
        size: Side of a crop in pixels.
        borders: ``reflect`` or ``black``.
        may_be_aligned: Keep a photo that looks aligned already as it is.
        framing: What looks aligned, and which faces are sure.
        refine: Makes landmarks better before a face is cropped by them; None takes them as they
            are.
    """

    detector: Detector | None
    size: int
    borders: str
    may_be_aligned: bool
    framing: Framing = FFHQ_FRAMING
    refine: Refine | None = None

    def align(
        self, photo: np.ndarray, all_faces: bool = False, name: str = "the photo"
    ) -> list[Alignment]:
        """Plan the crops of a photo, uint8 (H, W, 3): the largest face, or all, largest first.

        Args:
            photo: The photo.
            all_faces: Every face.
            name: What messages call the photo.

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
            framing=self.framing,
            refine=self.refine,
            name=name,
        )
