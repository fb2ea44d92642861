"""FFHQ alignment: the square crop of a face, the choice of faces, and the photo's orientation.

The quad follows the FFHQ recipe, which the E4S code also uses; ``s3pot.rg.warp`` resamples the
pixels.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np

from s3pot.geometry import TURNS, Alignment, as_quad, image_corners, rotated_points
from s3pot.rg.detect import Detector, Face, NoFace
from s3pot.rg.warp import crop
from s3pot.types import S3potError

logger = logging.getLogger(__name__)

# Maps a photo, uint8 (H, W, 3), and five landmarks of a face in it, (5, 2), to better landmarks.
Refine = Callable[[np.ndarray, np.ndarray], np.ndarray]
# Searches a photo, uint8 (H, W, 3), in which the detector is sure of no face, for a likely one.
Rescue = Callable[[np.ndarray], list[Face]]

# A square image counts as aligned if no corner of the quad computed from its landmarks is farther
# than this share of the side from the image's own corner. Unoccluded FFHQ faces stay within 0.07;
# occluders move the landmarks: of 160 faces with one large random shape, 92 % stay within 0.2.
ALIGNED_TOLERANCE = 0.2

# The mini models were trained on faces that are framed more loosely and rotated by up to 16
# degrees. For 95 % of them, the IoU of the image and the crop computed from their landmarks is
# higher than this.
PORTRAIT_OVERLAP = 0.45
PORTRAIT_TILT = 25.0  # degrees

# A rotated photo is preferred if the score of its face in its own aligned crop exceeds that of the
# photo as given by this margin. Of 168 real faces, 144 of them with one large random shape over an
# eye, the nose or the mouth, none was rotated wrongly with YuNet; of all 504 rotations of them 86 %
# were corrected, and all 72 of the unoccluded ones.
TURN_MARGIN = 0.03
SECOND_SIDE = 256  # side in pixels of the crop in which a face is detected again
SECOND_MARGIN = 72  # gray border around that crop, in pixels


def quad_from_landmarks(points: np.ndarray) -> np.ndarray:
    """Compute the FFHQ square around a face.

    Args:
        points: Photo frame, x, y: (68, 2) in the usual order, or (5, 2) as in ``Face``.

    Returns:
        Quad float64 (4, 2): top left, bottom left, bottom right, top right.

    Raises:
        ValueError: The shape is different, or the landmarks coincide.
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
        raise ValueError("eyes and mouth coincide or are not finite: no face to align")
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
    """Compute the FFHQ crop around landmarks.

    Args:
        points: As for ``quad_from_landmarks``.
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
    """Use a whole image (H, W, ...) as the working image (``align.mode: never``)."""
    size = (image.shape[0], image.shape[1])
    return Alignment(quad=as_quad(image_corners(size)), size=size, photo_size=size, score=score)


def looks_aligned(size: tuple[int, int], landmarks: np.ndarray) -> bool:
    """Whether an image of this height and width already is an FFHQ crop.

    It is if it is square and the crop computed from these landmarks is nearly the whole image.
    """
    offset = np.linalg.norm(quad_from_landmarks(landmarks) - image_corners(size), axis=1)
    return size[0] == size[1] and bool(offset.max() <= ALIGNED_TOLERANCE * size[0])


def looks_like_portrait(size: tuple[int, int], landmarks: np.ndarray) -> bool:
    """Whether an image of this height and width is framed like the mini models' training faces.

    It is if it is square, shows the face nearly upright, and overlaps with the crop computed from
    these landmarks by more than PORTRAIT_OVERLAP.
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
    """The rule that decides whether an image is already cropped, for a model set and its detector.

    Attributes:
        is_aligned: Decides it from height and width, and the landmarks of a face.
        crop_score: Faces with a lower score are too uncertain to be cropped.
        needs_hint: Whether a square image without a confident detection must show at least an
            uncertain one to be used as it is.
    """

    is_aligned: Callable[[tuple[int, int], np.ndarray], bool]
    crop_score: float
    needs_hint: bool


# YuNet drops detections it is not confident of, among them many heavily occluded faces.
FFHQ_FRAMING = Framing(looks_aligned, crop_score=0.0, needs_hint=False)
MINI_FRAMING = Framing(looks_like_portrait, crop_score=0.5, needs_hint=True)


@dataclass(frozen=True, eq=False)
class _View:
    """A photo in one orientation, and the faces detected in it.

    Attributes:
        turn: Counterclockwise rotation of the photo, in degrees.
        pixels: The rotated photo, uint8 (H, W, 3).
        faces: The faces detected in it, largest first, in its frame.
        certainty: The detector's score of the largest face in its aligned crop, in [0, 1].
    """

    turn: int
    pixels: np.ndarray
    faces: list[Face]
    certainty: float


def _best_view(photo: np.ndarray, detector: Detector) -> _View:
    """Detect faces in a photo as it is, and also in rotated copies if the result is uncertain."""
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
    """Rotate a photo by a multiple of 90 degrees so that its largest face is most upright."""
    across = faces[0].landmarks[1] - faces[0].landmarks[0] if faces else np.array([1.0, 0.0])
    turn = round(math.degrees(math.atan2(across[1], across[0])) / 90) * 90 % 360
    pixels = np.ascontiguousarray(np.rot90(photo, turn // 90))
    size = (photo.shape[0], photo.shape[1])
    return _View(turn, pixels, [face.rotated(turn, size) for face in faces], 1.0)


def _look(photo: np.ndarray, turn: int, detector: Detector) -> _View:
    """Detect the faces of a rotated photo, and the largest one again in its aligned crop.

    A face that lies on its side is often detected with landmarks as if it were upright. The crop
    aligned by them does not show an upright face, so the second detection has a low score.
    """
    pixels = np.ascontiguousarray(np.rot90(photo, turn // 90))
    faces = detector.detect(pixels)
    certainty = _second_look(pixels, faces[0], detector) if faces else 0.0
    return _View(turn, pixels, faces, certainty)


def _second_look(photo: np.ndarray, face: Face, detector: Detector) -> float:
    """Return the score of a face in its own aligned crop; 0 if none is detected there."""
    try:
        alignment = from_landmarks(face.landmarks, (photo.shape[0], photo.shape[1]), SECOND_SIDE)
    except (ValueError, S3potError):  # the landmarks coincide
        return 0.0
    side = SECOND_SIDE + 2 * SECOND_MARGIN
    canvas = np.full((side, side, 3), 128, dtype=np.uint8)
    inner = slice(SECOND_MARGIN, SECOND_MARGIN + SECOND_SIDE)
    canvas[inner, inner] = crop(photo, alignment)
    faces = detector.detect(canvas)
    return faces[0].score if faces else 0.0


def _turned_back(alignment: Alignment, turn: int, photo_size: tuple[int, int]) -> Alignment:
    """Transform an alignment of a rotated photo to the frame of the photo as given."""
    if turn == 0:
        return alignment
    view_size = alignment.photo_size
    corners = rotated_points(alignment.corners, 360 - turn, view_size)
    return replace(alignment, quad=as_quad(corners), photo_size=photo_size, turn=turn)


@dataclass(frozen=True)
class FaceAligner:
    """Decides which crops of a photo are processed (``align`` in the config).

    A photo that lies on its side or is upside down is rotated if that makes the detector more
    confident.

    Attributes:
        detector: Detects the faces; None uses every photo as it is.
        size: Side of a crop in pixels.
        borders: ``reflect`` or ``black``.
        may_be_aligned: Keep a photo that already looks aligned, and also a square one without a
            confident detection, because heavily occluded faces are often missed.
        framing: What looks aligned, and which faces are sure.
        refine: Refines the landmarks of a face before it is cropped, except those that the parser
            has already confirmed; None uses those of the detector.
        rescue: Searches a photo again that would otherwise be rejected; None rejects it.
    """

    detector: Detector | None
    size: int
    borders: str
    may_be_aligned: bool = True
    framing: Framing = FFHQ_FRAMING
    refine: Refine | None = None
    rescue: Rescue | None = None

    def align(
        self, photo: np.ndarray, all_faces: bool = False, name: str = "the photo"
    ) -> list[Alignment]:
        """Compute the crops of a photo, uint8 (H, W, 3): the largest face, or all, largest first.

        Args:
            photo: The photo.
            all_faces: Return every face.
            name: What messages call the photo.

        Returns:
            Alignments in the frame of the photo as it is given.

        Raises:
            NoFace: There is no face, and the photo does not count as aligned.
        """
        if self.detector is None:
            return [identity(photo)]
        view = _best_view(photo, self.detector)
        faces = [face for face in view.faces if face.score >= self.framing.crop_score]
        if not faces:
            best_unsure_score = max((face.score for face in view.faces), default=None)
            if self._passes_as_aligned(photo, best_unsure_score):
                logger.warning(
                    "%s: no face found for sure in a square photo: treated as aligned", name
                )
                return [identity(photo, best_unsure_score)]
            faces = self._rescued(photo, name)
            view = _View(0, photo, faces, faces[0].score)
        if view.turn:
            logger.info("%s: rotated by %d degrees so that its face is upright", name, view.turn)
        if len(faces) > 1 and not all_faces:
            logger.warning(
                "%s: %d faces; the largest is used (for all: --all_faces, or segment_all in "
                "Python)",
                name,
                len(faces),
            )
        size = (photo.shape[0], photo.shape[1])
        return [
            _turned_back(self._framed(view.pixels, face), view.turn, size)
            for face in (faces if all_faces else faces[:1])
        ]

    def _passes_as_aligned(self, photo: np.ndarray, best_unsure_score: float | None) -> bool:
        """Whether a photo without a sure face is used as it is.

        Args:
            photo: uint8 (H, W, 3).
            best_unsure_score: The highest score of an unsure detection; None if there is none.
        """
        is_square = photo.shape[0] == photo.shape[1]
        has_hint = best_unsure_score is not None or not self.framing.needs_hint
        return is_square and self.may_be_aligned and has_hint

    def _rescued(self, photo: np.ndarray, name: str) -> list[Face]:
        """Search a photo without a sure face again, or raise NoFace."""
        faces = [] if self.rescue is None else self.rescue(photo)
        if not faces:
            raise NoFace(
                f"no face found in a photo of {photo.shape[1]} x {photo.shape[0]}; "
                "align.mode=never uses any photo as it is"
            )
        logger.warning("%s: no face found for sure; the likeliest one is used", name)
        return faces

    def _framed(self, photo: np.ndarray, face: Face) -> Alignment:
        """Compute the crop of a face in an upright photo, uint8 (H, W, 3)."""
        size = (photo.shape[0], photo.shape[1])
        if self.may_be_aligned and self.framing.is_aligned(size, face.landmarks):
            return identity(photo, face.score)
        landmarks = face.landmarks
        if self.refine is not None and not face.is_confirmed:
            landmarks = self.refine(photo, landmarks)
        return from_landmarks(landmarks, size, self.size, self.borders, face.score)
