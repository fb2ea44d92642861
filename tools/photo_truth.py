"""Labeled photos of unoccluded faces: reading, cropping, and the definition of the face region.

Labels have the colors of FASSEG (``FASSEG_COLORS``; the nearest one counts): its skin includes
neck and ears, and its hair includes the brows. The chin line and the face oval, which the labels
lack, are derived from the positions of eyes and mouth in the label map, never from one of our
parsers. With x measured from the center of the eyes in eye distances, and y from there in
eye-to-mouth distances:

- region: skin, nose, mouth and eyes above ``EARS_END`` or inside the oval, half as wide as
  ``OVAL[0]`` and with the chin at y = ``OVAL[1]``; and brows: pieces of hair within ``BROWS``;
- ignored in either case: the other skin (neck, ears, the rim of the jaw), hair over and above the
  eyes, within ``FRINGE``, that is connected with the head's hair, and pixels outside the photo;
- not region: the rest, which is hair and background.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from s3pot.data.image import read_rgb
from s3pot.geometry import Alignment, as_quad, image_corners
from s3pot.rg.align import from_landmarks
from s3pot.rg.detect import FaceDetector
from s3pot.rg.warp import crop
from s3pot.types import S3potError

FASSEG_COLORS: dict[str, tuple[int, int, int]] = {
    "background": (255, 0, 0),
    "hair": (127, 0, 0),
    "skin": (255, 255, 0),
    "nose": (0, 255, 255),
    "mouth": (0, 255, 0),
    "eyes": (0, 0, 255),
}
PARTS = tuple(FASSEG_COLORS)
FACE_PARTS = tuple(PARTS.index(part) for part in ("skin", "nose", "mouth", "eyes"))
HAIR, SKIN = PARTS.index("hair"), PARTS.index("skin")
MOUTH, EYES = PARTS.index("mouth"), PARTS.index("eyes")
LABEL = "_label.png"
SMOOTHING = 5  # side in label pixels of the majority filter for mixed colors between two parts
OVAL = (1.12, 1.62)  # half width and lower half height
EARS_END = -0.35  # above this, skin is forehead and temple
BROWS = (1.3, -0.85, 0.1)  # largest |x|, and the range of y
FRINGE = (0.9, -0.5, -0.08)  # in the same form; brows under it cannot be distinguished from it

# Nose and half the width of the mouth, which the labels do not contain: eye-to-mouth distances
# below the eyes, and eye distances.
NOSE, MOUTH_HALF = 0.6, 0.4


@dataclass(frozen=True)
class FacePlace:
    """Positions of eyes and mouth of a face, x, y, in pixels of the working image."""

    eyes: np.ndarray  # the left one in the picture first, (2, 2)
    mouth: np.ndarray  # its center, (2,)

    @property
    def middle(self) -> np.ndarray:
        """The point between the eyes, (2,)."""
        return np.asarray(self.eyes.mean(axis=0))

    @property
    def across(self) -> np.ndarray:
        """The vector from eye to eye, (2,), in pixels."""
        return np.asarray(self.eyes[1] - self.eyes[0])

    @property
    def down(self) -> np.ndarray:
        """The vector from the eyes to the mouth, orthogonal to ``across``, (2,), in pixels."""
        normal = np.array([-self.across[1], self.across[0]]) / np.linalg.norm(self.across)
        return np.asarray(normal * ((self.mouth - self.middle) @ normal))

    @property
    def landmarks(self) -> np.ndarray:
        """Five landmarks, (5, 2), that imply the face's FFHQ crop; see ``s3pot.rg.detect.Face``."""
        nose = self.middle + NOSE * self.down
        corners = self.mouth + MOUTH_HALF * np.outer((-1, 1), self.across)
        return np.stack([*self.eyes, nose, *corners])

    def coordinates(self, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Return x in eye distances and y in eye-to-mouth distances of all pixels: (S, S) each."""
        y, x = np.mgrid[:size, :size]
        offset = np.stack([x, y], axis=-1) - self.middle
        across, down = self.across, self.down
        return offset @ across / (across @ across), offset @ down / (down @ down)


@dataclass(frozen=True)
class LabeledFace:
    """A photo of an unoccluded face with its truth; S is the side of the working image."""

    name: str
    picture: np.ndarray  # uint8 (S, S, 3)
    parts: np.ndarray  # index into PARTS, uint8 (S, S)
    region: np.ndarray  # bool (S, S)
    ignored: np.ndarray  # bool (S, S)
    place: FacePlace


def find_photos(folder: Path) -> dict[str, tuple[Path, Path]]:
    """Return photos and their label maps by name, sorted; S3potError if there are none."""
    files = {}
    for label in sorted(folder.glob(f"*{LABEL}")):
        name = label.name[: -len(LABEL)]
        for photo in (folder / f"{name}{end}" for end in (".jpg", ".jpeg", ".png")):
            if photo.is_file():
                files[name] = (photo, label)
    if not files:
        expected = f"<name>.jpg or .png, each with <name>{LABEL}"
        raise S3potError(f"--photos {folder} holds no labeled photo; expected {expected}")
    return files


def read_parts(path: Path) -> np.ndarray:
    """Read a label map: index into PARTS, uint8 (H, W)."""
    pixels = read_rgb(path).astype(np.int32)
    colors = np.array(list(FASSEG_COLORS.values()))
    nearest = ((pixels[..., None, :] - colors) ** 2).sum(axis=-1).argmin(axis=-1)
    window = (SMOOTHING, SMOOTHING)
    votes = [cv2.blur((nearest == i).astype(np.float32), window) for i in range(len(PARTS))]
    return np.argmax(votes, axis=0).astype(np.uint8)


def read_face(
    name: str, photo: Path, label: Path, size: int, detector: FaceDetector | None
) -> LabeledFace:
    """Read, crop and label one photo; without a detector, use all of it, padded to a square.

    Raises:
        S3potError: A file is unreadable, no face is found, or the label map has no eyes or mouth.
    """
    picture, parts = read_rgb(photo), read_parts(label)
    if picture.shape[:2] != parts.shape:
        sizes = f"{picture.shape[:2]}, {label.name} {parts.shape}"
        raise S3potError(f"{photo.name} is (height, width) {sizes}; expected the same size")
    inside_photo = np.ones(parts.shape, bool)
    if detector is None:
        picture, parts, inside_photo = (_squared(array) for array in (picture, parts, inside_photo))
        square = (parts.shape[0], parts.shape[1])
        way = Alignment(as_quad(image_corners(square)), (size, size), square)
    else:
        faces = detector.detect(picture)
        if not faces:
            raise S3potError(f"no face found in {photo.name}; expected one, or use --crop pad")
        way = from_landmarks(faces[0].landmarks, (parts.shape[0], parts.shape[1]), size)
    return judge(name, crop(picture, way), _cropped(parts, way), crop(inside_photo, way))


def judge(
    name: str, picture: np.ndarray, parts: np.ndarray, inside_photo: np.ndarray
) -> LabeledFace:
    """Compute region and ignored zone as defined in this module."""
    place = find_place(parts)
    x, y = place.coordinates(len(parts))
    oval = (y < EARS_END) | ((y < 0) & (abs(x) < OVAL[0]))
    oval |= (y >= 0) & ((x / OVAL[0]) ** 2 + (y / OVAL[1]) ** 2 < 1)
    zone, fringe = (
        (abs(x) < end) & (y > top) & (y < bottom) for end, top, bottom in (BROWS, FRINGE)
    )
    hair = parts == HAIR
    pieces = cv2.connectedComponents(hair.astype(np.uint8), connectivity=8)[1]
    brows = hair & ~np.isin(pieces, np.unique(pieces[hair & ~zone]))
    face = np.isin(parts, FACE_PARTS)
    ignored = ~inside_photo | (face & ~oval) | (hair & fringe & ~brows)
    return LabeledFace(name, picture, parts, ((face & oval) | brows) & ~ignored, ignored, place)


def find_place(parts: np.ndarray) -> FacePlace:
    """Find eyes and mouth in a label map (H, W); S3potError if they are missing."""
    eyes, mouths = _pieces(parts == EYES), _pieces(parts == MOUTH)
    if len(eyes) < 2 or not mouths:
        counts = f"{len(eyes)} eyes and {len(mouths)} mouths"
        raise S3potError(f"the label map shows {counts}; expected the face of one person, frontal")
    ordered = sorted(eyes[:2], key=lambda point: float(point[0]))
    return FacePlace(np.stack(ordered), mouths[0])


def _pieces(mask: np.ndarray) -> list[np.ndarray]:
    """Return the centers of the connected pieces of a mask, largest first."""
    _, _, stats, centers = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    order = np.argsort(-stats[1:, cv2.CC_STAT_AREA], kind="stable") + 1
    return [centers[i] for i in order]


def _squared(array: np.ndarray) -> np.ndarray:
    """Pad to a square on both sides of the shorter axis: masks with False, images with the edge."""
    height, width = array.shape[:2]
    side = max(height, width)
    before = (side - height) // 2, (side - width) // 2
    padding = [(before[0], side - height - before[0]), (before[1], side - width - before[1])]
    padding += [(0, 0)] * (array.ndim - 2)
    how: dict[str, Any] = {} if array.dtype == np.bool_ else {"mode": "edge"}
    return np.pad(array, padding, **how)


def _cropped(parts: np.ndarray, way: Alignment) -> np.ndarray:
    """Return the part that covers most of each pixel of the crop."""
    shares = np.stack([parts == i for i in range(len(PARTS))], axis=-1).astype(np.uint8) * 255
    cropped = [crop(np.ascontiguousarray(three), way) for three in np.split(shares, 2, axis=-1)]
    return np.concatenate(cropped, axis=-1).argmax(axis=-1).astype(np.uint8)
