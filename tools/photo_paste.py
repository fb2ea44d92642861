"""Pasting occluders on photos with exact masks: drawn ones, and pieces of other photos.

The painters of ``s3pot_synthetic`` need a drawn face: its geometry is fitted to the photo's eyes
and mouth, and its skin and hair colors and its lamp are measured in the photo. They scale their
objects for a head of HALF_HEIGHT units, so a photo with a larger face is padded before, and cropped
back afterwards.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from s3pot_synthetic.canvas import UNITS, Frame, pick
from s3pot_synthetic.face import Face
from s3pot_synthetic.hair import hair_surface
from s3pot_synthetic.head import draw_head
from s3pot_synthetic.layers import Layer, compose, coverage
from s3pot_synthetic.lighting import Light
from s3pot_synthetic.objects import cloth
from s3pot_synthetic.occluders import BENCH_KINDS, TRAIN_KINDS, draw_occluder
from tools.photo_truth import HAIR, PARTS, SKIN, LabeledFace

PIECES: dict[str, tuple[int, ...]] = {  # kinds cut from other photos, and their parts
    "photo_hair": (HAIR,),
    "photo_skin": (SKIN,),
    "photo_any": tuple(range(len(PARTS))),
}
GROUPS: dict[str, tuple[str, ...]] = {
    "train": tuple(TRAIN_KINDS),
    "bench": tuple(BENCH_KINDS),
    "photo": tuple(PIECES),
}
SHARES = (0.05, 0.5)  # target range of the occluded share of the region
TRIES = 40
HALF_HEIGHT = 96.0
# Head coordinates of the eyes and the mouth of a fitted head.
EYE_X, EYE_Y, MOUTH_Y = 0.44, -0.09, 0.56


@dataclass(frozen=True)
class Pasted:
    """An occluded photo, in its working frame."""

    kind: str
    group: str  # key of GROUPS
    picture: np.ndarray  # uint8 (S, S, 3)
    occlusion: np.ndarray  # occluder on the region, bool (S, S)
    share: float  # share of the region


def paste(
    photo: LabeledFace, others: Sequence[LabeledFace], number: int, seed: int
) -> Pasted | None:
    """Paste the occluder with a number, which cycles through GROUPS and their kinds.

    Returns:
        The same for the same arguments; None if no try hid a share within SHARES.
    """
    group = list(GROUPS)[number % len(GROUPS)]
    kind = GROUPS[group][number // len(GROUPS) % len(GROUPS[group])]
    rng = np.random.default_rng([seed, zlib.crc32(photo.name.encode()), number])
    face, border = fit_face(rng, photo)
    inner = slice(border, border + len(photo.parts))
    for _ in range(TRIES):
        layers = _piece(rng, face, pick(rng, others), kind) if group == "photo" else (
            draw_occluder(rng, face, "bench", kind)
        )  # fmt: skip
        occlusion = (coverage(layers)[inner, inner] > 127) & photo.region
        share = float(occlusion.sum() / max(1, photo.region.sum()))
        if SHARES[0] <= share <= SHARES[1]:
            picture = compose(rng, face, layers)[inner, inner]
            pixels = np.round(picture * 255).astype(np.uint8)
            return Pasted(kind, group, pixels, occlusion, share)
    return None


def fit_face(rng: np.random.Generator, photo: LabeledFace) -> tuple[Face, int]:
    """Describe a photo as a drawn face; returns it, and the width of the padding in pixels."""
    place, size = photo.place, len(photo.parts)
    half_height = float(np.linalg.norm(place.down)) / (MOUTH_Y - EYE_Y)
    half_width = float(np.linalg.norm(place.across)) / 2 / EYE_X
    border = max(0, math.ceil((half_height * UNITS / HALF_HEIGHT - size) / 2))
    frame = Frame(size + 2 * border)
    picture = np.pad(photo.picture, [(border, border)] * 2 + [(0, 0)], mode="edge")
    image = picture.astype(np.float32) / np.float32(255)
    center = place.middle - EYE_Y / (MOUTH_Y - EYE_Y) * place.down
    across, skin = place.across, photo.region & (photo.parts == SKIN)
    head = replace(
        draw_head(rng, frame),
        center=tuple((center + border + 0.5) / frame.scale - 0.5),
        half=(half_width / frame.scale, half_height / frame.scale),
        roll=math.atan2(across[1], across[0]),
        yaw=0.0,
        pitch=0.0,
        skin=_color(photo.picture, skin, (0.8, 0.6, 0.5)),
        hair=_color(photo.picture, photo.parts == HAIR, (0.2, 0.15, 0.1)),
        light=Light(_lamp(photo, skin), 0.5, 0.1),
        eye_x=EYE_X,
        eye_y=EYE_Y,
        mouth_y=MOUTH_Y,
    )
    light = np.ones(image.shape[:2], np.float32)
    hair = hair_surface(rng, head, light, pick(rng, ("long", "short")))
    nothing = frame.empty()  # the painters do not use labels, segments or the person's matte
    face = Face(
        head=head,
        image=image,
        labels=nothing,
        light=light,
        hair=hair,
        details={},
        segments=nothing.astype(np.int16),
        person=nothing,
    )
    return face, border


def _color(
    picture: np.ndarray, mask: np.ndarray, otherwise: tuple[float, float, float]
) -> np.ndarray:
    """Median color, (3,) float32 in [0, 1], of a part of a picture, if it exists."""
    middle = np.median(picture[mask], axis=0) / 255 if mask.any() else otherwise
    return np.asarray(middle, np.float32)


def _lamp(photo: LabeledFace, skin: np.ndarray) -> tuple[float, float, float]:
    """Estimate the direction to the lamp from the skin's brightness across the face."""
    x, y = photo.place.coordinates(len(photo.parts))
    gray = photo.picture.mean(axis=-1)[skin]
    terms = np.stack([np.ones_like(gray), x[skin], y[skin]], axis=1)
    level, right, down = np.linalg.lstsq(terms, gray, rcond=None)[0]
    lean = np.clip(2 * np.array([right, down]) / max(level, 1.0), -0.8, 0.8)
    lamp = np.array([*lean, 1.0]) / np.linalg.norm([*lean, 1.0])
    return float(lamp[0]), float(lamp[1]), float(lamp[2])


def _piece(rng: np.random.Generator, face: Face, other: LabeledFace, kind: str) -> list[Layer]:
    """Cut a random blob from a part of another photo, rotated, flipped and rescaled."""
    side = face.head.frame.size
    blob = cloth(rng, face, "train")[0].mask
    rows, columns = np.nonzero(blob > 127)
    wanted = np.isin(other.parts, PIECES[kind]) & ~other.ignored
    if not len(rows) or not wanted.any():
        return [Layer(np.zeros_like(blob), (0.0, 0.0, 0.0))]
    spots = np.argwhere(wanted)
    spot = spots[int(rng.integers(len(spots)))][::-1]
    angle, scale = rng.uniform(-math.pi, math.pi), rng.uniform(0.8, 1.6)
    cos, sin = scale * math.cos(angle), scale * math.sin(angle)
    turn = np.array([[cos, -sin], [sin, cos]]) @ np.diag([pick(rng, (-1.0, 1.0)), 1.0])
    shift = np.array([columns.mean(), rows.mean()]) - turn @ spot
    move = np.column_stack([turn, shift])
    cut = cv2.warpAffine(wanted.astype(np.uint8) * 255, move, (side, side))
    texture = cv2.warpAffine(
        other.picture, move, (side, side), borderMode=cv2.BORDER_REFLECT
    ).astype(np.float32) / np.float32(255)
    return [Layer(cv2.min(blob, cut), texture)]
