"""Harder versions of photos of unoccluded faces, with their ground truth: side light, beard, tilt.

None of these changes is an occlusion, so none of them may be marked. ``LOOKS`` lists them all.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType

import cv2
import numpy as np

from tools.photo_truth import PARTS, FacePlace, LabeledFace

GAMMA = 2.2  # from pixel values to light
LIGHT = (0.25, 1.1)  # factors for the light of the dark and the bright side
TERMINATOR = 0.35  # distance over which the light falls off, in eye distances
TURN = 25.0  # degrees in the image plane
# The beard: where it begins on the cheek and under the nose, in eye-to-mouth distances below the
# eyes; half width and half height of the lips that it leaves free.
CHEEK, LIP_TOP, LIPS = 0.35, 0.82, (0.42, 0.17)
HAIR_COLORS = ((38, 28, 22), (92, 62, 38), (70, 66, 64))  # black, brown, gray
DENSITY = (0.35, 0.8)


def plain(photo: LabeledFace) -> LabeledFace:
    """Return the photo unchanged."""
    return photo


def side_lit(photo: LabeledFace) -> LabeledFace:
    """Let the light fall off along the line between the eyes, from one side or the other."""
    rng = _generator(photo, "side_lit")
    x, _ = photo.place.coordinates(len(photo.parts))
    way = 1.0 if rng.random() < 0.5 else -1.0
    edge = rng.uniform(-0.3, 0.3)
    bright = 1 / (1 + np.exp(-(way * x - edge) / TERMINATOR))
    factor = LIGHT[0] + (LIGHT[1] - LIGHT[0]) * bright
    light = (photo.picture / 255.0) ** GAMMA * factor[..., None]
    return replace(photo, picture=_pixels(np.clip(light, 0, 1) ** (1 / GAMMA)))


def bearded(photo: LabeledFace) -> LabeledFace:
    """Darken the skin of chin, jaw and upper lip to hair, grainy and with a soft rim."""
    rng = _generator(photo, "bearded")
    x, y = photo.place.coordinates(len(photo.parts))
    mouth = (x / LIPS[0]) ** 2 + ((y - 1) / LIPS[1]) ** 2 < 1
    below = y > np.maximum(CHEEK, LIP_TOP - 0.5 * np.abs(x) ** 2)
    skin = np.isin(photo.parts, (PARTS.index("skin"), PARTS.index("mouth")))
    where = (below & skin & ~mouth & ~photo.ignored).astype(np.float32)
    soft = cv2.GaussianBlur(where, (0, 0), len(x) / 100)
    grain = cv2.GaussianBlur(rng.normal(size=x.shape).astype(np.float32), (0, 0), len(x) / 400)
    density = rng.uniform(*DENSITY)
    strength = np.clip(soft * density * (1 + 0.2 * grain / grain.std()), 0, 0.95)[..., None]
    color = np.array(HAIR_COLORS[int(rng.integers(len(HAIR_COLORS)))]) / 255
    return replace(photo, picture=_pixels(photo.picture / 255 * (1 - strength) + color * strength))


def turned(photo: LabeledFace) -> LabeledFace:
    """Tilt the head to one side; pixels from outside the photo are ignored."""
    way = 1 if _generator(photo, "turned").random() < 0.5 else -1
    size = len(photo.parts)
    matrix = cv2.getRotationMatrix2D(((size - 1) / 2, (size - 1) / 2), way * TURN, 1.0)

    def moved(points: np.ndarray) -> np.ndarray:
        return np.asarray(points @ matrix[:, :2].T + matrix[:, 2])

    def warped(plane: np.ndarray, outside: int) -> np.ndarray:
        return np.asarray(
            cv2.warpAffine(
                plane.astype(np.uint8),
                matrix,
                (size, size),
                flags=cv2.INTER_NEAREST,
                borderMode=cv2.BORDER_CONSTANT,
                borderValue=(outside,),
            )
        )

    picture = cv2.warpAffine(
        photo.picture, matrix, (size, size), borderMode=cv2.BORDER_REPLICATE
    ).astype(np.uint8)
    return LabeledFace(
        name=photo.name,
        picture=picture,
        parts=warped(photo.parts, PARTS.index("background")),
        region=warped(photo.region, 0) > 0,
        ignored=warped(photo.ignored, 1) > 0,
        place=FacePlace(eyes=moved(photo.place.eyes), mouth=moved(photo.place.mouth)),
    )


LOOKS: Mapping[str, Callable[[LabeledFace], LabeledFace]] = MappingProxyType(
    {"plain": plain, "side_lit": side_lit, "bearded": bearded, "turned": turned}
)


def _generator(photo: LabeledFace, look: str) -> np.random.Generator:
    """Return the random generator of one photo and one look."""
    return np.random.default_rng([zlib.crc32(photo.name.encode()), zlib.crc32(look.encode())])


def _pixels(image: np.ndarray) -> np.ndarray:
    return np.asarray(np.round(np.clip(image, 0, 1) * 255), dtype=np.uint8)
