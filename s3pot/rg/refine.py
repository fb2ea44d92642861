"""Refining a face's landmarks by parsing a first crop.

A small detector is off by a few percent of the crop's side, especially if the face is occluded. The
parser, which sees the face at the size of the crop and continues it under an occluder, locates eyes
and mouth better, so the crop is computed again from them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from s3pot.data.pixels import to_tensor
from s3pot.labels import CLASSES
from s3pot.rg.align import from_landmarks, quad_from_landmarks
from s3pot.rg.detect import Face
from s3pot.rg.parser import Parser
from s3pot.rg.warp import crop
from s3pot.types import S3potError

MIN_SHARE = 0.0004  # of the crop: smaller parts are not trusted
# Offsets from the center of a parsed part to its landmark, x (away from the nose) and y, as shares
# of the crop's side: medians over 100 drawn training faces, cropped by their true landmarks (python
# -m tools.drawn_crops).
FROM_EYE = (0.0, 0.005)
FROM_GLASS = (-0.006, -0.0075)
FROM_BROW = (0.005, 0.0575)
FROM_MOUTH = (0.0, -0.0085)
# Landmarks whose crop is smaller, larger or farther away than this, as shares of the first crop's
# side, are not improvements: the parser did not see a face there.
SIDE_RATIO = (0.6, 1.6)
FARTHEST = 0.3
# A detection of low score is confirmed if its landmarks, refined once more, move the corners of the
# crop by at most this share of its side.
STEADY = 0.15
HINTS = 6  # number of detections of low score that are examined
LEFT, RIGHT = -1, 1  # halves of the face in the image


@dataclass(frozen=True)
class Part:
    """A class in one half of the face, or, with half 0, in both."""

    name: str
    half: int


MOUTH = Part("mouth", 0)  # and lips


class HintingDetector(Protocol):
    """A detector that also returns detections of low score."""

    def hints(self, image: np.ndarray) -> list[Face]:
        """Return detections of any score in a photo, uint8 (H, W, 3), highest score first."""


class LandmarkRefiner:
    """Moves a face's landmarks to the parsed eyes and mouth.

    Args:
        parser: The parser with its weights, on a CPU or GPU.
        size: Side of the crop for the parser, in pixels.
    """

    def __init__(self, parser: Parser, size: int) -> None:
        self.parser = parser
        self.size = size

    def refine(self, photo: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        """Parse the crop of the given landmarks and refine them.

        Args:
            photo: uint8 (H, W, 3).
            landmarks: (5, 2) in its frame, as in ``s3pot.rg.detect.Face``.

        Returns:
            Refined landmarks, (5, 2) float64; the given ones if the parser does not find both eyes
            and the mouth, or finds them at implausible positions.
        """
        refined = self._refined(photo, landmarks)
        return landmarks if refined is None else refined

    def confirm(self, photo: np.ndarray, landmarks: np.ndarray) -> np.ndarray | None:
        """Examine a detection of low score: the parser has to see the same face in two crops.

        Args:
            photo: uint8 (H, W, 3).
            landmarks: (5, 2) in its frame.

        Returns:
            Landmarks that were refined twice, (5, 2) float64; None if eyes and mouth are not found
            each time, if the second refinement still moves the crop by more than STEADY, or if the
            landmarks are not those of a face.
        """
        try:
            once = self._refined(photo, landmarks)
            twice = None if once is None else self._refined(photo, once)
        except (ValueError, S3potError):  # the points lie on a line, or outside the photo
            return None
        if once is None or twice is None:
            return None
        quad = quad_from_landmarks(once)
        side = np.linalg.norm(quad[3] - quad[0])
        moved = np.linalg.norm(quad_from_landmarks(twice) - quad, axis=1).max()
        return twice if moved <= STEADY * side else None

    def _refined(self, photo: np.ndarray, landmarks: np.ndarray) -> np.ndarray | None:
        """Refine landmarks, or return None; see ``refine``."""
        alignment = from_landmarks(landmarks, (photo.shape[0], photo.shape[1]), self.size)
        image = to_tensor(crop(photo, alignment))[None]
        device = next(self.parser.parameters()).device
        parsing = self.parser.parse(image.to(device))[0].cpu().numpy()
        places = find_places(parsing)
        if places is None:
            return None
        corner, side = alignment.corners[0], alignment.side
        axes = np.stack(
            [alignment.corners[3] - corner, alignment.corners[1] - corner]
        )  # along x and y of the crop
        before = (landmarks - corner) @ axes.T / side**2
        after = before.copy()
        after[:2] = places[:2]
        after[3:] += places[2] - before[3:].mean(axis=0)
        return corner + after @ axes if _is_near(after) else None


def likeliest_face(
    detector: HintingDetector, refiner: LandmarkRefiner, photo: np.ndarray
) -> list[Face]:
    """Find a face in a photo, uint8 (H, W, 3), in which the detector is sure of none.

    Returns:
        The detection of the highest score that the parser confirms, with refined landmarks; empty
        if there is none among the first HINTS.
    """
    for hint in detector.hints(photo)[:HINTS]:
        landmarks = refiner.confirm(photo, hint.landmarks)
        if landmarks is not None:
            return [replace(hint, landmarks=landmarks, is_confirmed=True)]
    return []


def find_places(parsing: np.ndarray) -> np.ndarray | None:
    """Find eyes and mouth in the parsing of a crop.

    Args:
        parsing: 12-class map, uint8 (S, S).

    Returns:
        Landmarks of the left eye, the right eye, and the center between the corners of the mouth,
        (3, 2) shares of the side, x, y; None if one of them is not found.
    """
    middles = find_middles(parsing)
    left = _eye(middles, LEFT)
    right = _eye(middles, RIGHT)
    if left is None or right is None or MOUTH not in middles:
        return None
    return np.stack([left, right, middles[MOUTH] + FROM_MOUTH])


def find_middles(parsing: np.ndarray) -> dict[Part, np.ndarray]:
    """Find the centers of mouth, eyes, glasses and brows in the parsing of a crop.

    Args:
        parsing: 12-class map, uint8 (S, S).

    Returns:
        Part → center, (2,) shares of the side, x, y; parts that are too small are left out. Without
        a mouth, which determines where the face's halves meet, no eyes, glasses or brows are
        returned.
    """
    mouth = _middle(_is(parsing, "lip") | _is(parsing, "mouth"))
    nose = _middle(_is(parsing, "nose"))
    if mouth is None:
        return {}
    between = mouth[0] if nose is None else (mouth[0] + nose[0]) / 2
    x = (np.arange(parsing.shape[1]) + 0.5) / parsing.shape[1]
    middles = {MOUTH: mouth}
    for half in (LEFT, RIGHT):
        for name in ("eyes", "eye_glass", "eyebrows"):
            middle = _middle(_is(parsing, name) & (half * (x - between) >= 0))
            if middle is not None:
                middles[Part(name, half)] = middle
    return middles


def _eye(middles: Mapping[Part, np.ndarray], half: int) -> np.ndarray | None:
    """Find one eye, (2,) shares of the side: directly, or else by its lens and its brow."""
    outward = np.array([half, 1])
    eye = middles.get(Part("eyes", half))
    if eye is not None:
        return eye + outward * FROM_EYE
    hints = []
    for name, offset in (("eye_glass", FROM_GLASS), ("eyebrows", FROM_BROW)):
        middle = middles.get(Part(name, half))
        if middle is not None:
            hints.append(middle + outward * offset)
    return np.mean(hints, axis=0) if hints else None


def _is(parsing: np.ndarray, name: str) -> np.ndarray:
    return np.asarray(parsing == CLASSES.index(name))


def _middle(mask: np.ndarray) -> np.ndarray | None:
    """Find the centroid of a mask, bool (S, S), as shares of the side; None if it is too small."""
    rows, columns = np.nonzero(mask)
    if len(rows) < MIN_SHARE * mask.size:
        return None
    return np.array([columns.mean() + 0.5, rows.mean() + 0.5]) / len(mask)


def _is_near(landmarks: np.ndarray) -> bool:
    """Whether landmarks, (5, 2) shares of a crop's side, imply nearly the same crop."""
    try:
        quad = quad_from_landmarks(landmarks)
    except ValueError:
        return False
    side = float(np.linalg.norm(quad[3] - quad[0]))
    away = float(np.linalg.norm(quad.mean(axis=0) - 0.5))
    return SIDE_RATIO[0] < side < SIDE_RATIO[1] and away < FARTHEST
