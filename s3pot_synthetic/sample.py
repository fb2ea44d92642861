"""One sample: an occluded face, the same face without the occluder, and the ground truth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from s3pot.labels import region_of
from s3pot.types import S3potError
from s3pot_synthetic.canvas import Array
from s3pot_synthetic.face import Face, draw_clean
from s3pot_synthetic.finish import draw_camera, take
from s3pot_synthetic.head import NOSE, SKIN
from s3pot_synthetic.layers import SOLID, Layer, compose, coverage
from s3pot_synthetic.occluders import draw_kind, draw_occluder

SPLITS: dict[str, int] = {"train": 1, "bench": 2}
MIN_SIZE = 32
_SHARES = (0.05, 0.6)  # target range of the occluded share of the region
_TRIES = 8


@dataclass(frozen=True)
class FaceSample:
    """A drawn pair with its ground truth; S is the side in pixels.

    Clear glasses are part of the face (class 10); dark sunglasses are an occluder, in every split.
    Light, cast shadows, highlights, makeup, beard, freckles and tattoos are never occlusions.

    Attributes:
        raw: The occluded face, (S, S, 3) uint8 RGB.
        clean: The same face in the same light, without the occluder and its shadow, same shape.
        labels: 12-class map of the clean face, (S, S) uint8, 0..11.
        occluder: Every pixel more than half covered by an occluder, (S, S) bool.
        occlusion: ``occluder`` on the prompt region of the clean face, (S, S) bool.
        meta: Plain values: seed, index, split, size, kinds, difficulty, colors, pose, shares.
        landmarks: Eyes, tip of the nose, corners of the mouth in pixels, left in the picture
            first, (5, 2) float32; also if they are hidden or outside the picture.
        person: Coverage of the person without the occluder, with hair, hat and clothes, (S, S)
            uint8, 0..255: a matte for placing the person in front of something else.
    """

    raw: Array
    clean: Array
    labels: Array
    occluder: Array
    occlusion: Array
    meta: dict[str, object]
    landmarks: Array
    person: Array


@dataclass(frozen=True)
class Scene:
    """A sample together with its components.

    Attributes:
        sample: The result of ``draw_face``.
        face: The face before the camera effects.
        layers: Layers of the occluders, from the lowest to the highest.
    """

    sample: FaceSample
    face: Face
    layers: list[Layer]


def draw_face(index: int, size: int = 256, split: str = "train", *, seed: int = 0) -> FaceSample:
    """Draw one sample; the same arguments give the same bytes in any process.

    Random streams are keyed by (seed, split, index, part), so ``train`` and ``bench`` share none.

    Args:
        index: Number of the sample, from 0.
        size: Side in pixels, at least 32; the scene is the same at every size, except for noise.
        split: ``train``, or ``bench``, which also has held-out occluder kinds and textures.
        seed: Seed of the whole set, from 0.

    Raises:
        S3potError: An argument is out of range.
    """
    return draw_scene(index, size, split, seed=seed).sample


def draw_scene(index: int, size: int = 256, split: str = "train", *, seed: int = 0) -> Scene:
    """Draw one sample and keep the face and the layers; arguments as for ``draw_face``.

    Raises:
        S3potError: An argument is out of range.
    """
    _check(index, size, split, seed)

    def stream(part: int) -> np.random.Generator:
        return np.random.default_rng([seed, SPLITS[split], index, part])

    face = draw_clean(stream(0), size, split)
    occluder_kinds, layers = _choose(stream(1), face, split)
    frame = face.head.frame
    camera = draw_camera(stream(2))
    raw = compose(stream(3), face, layers) if layers else face.image
    occluder = coverage(layers) > 127 if layers else np.zeros((size, size), bool)
    clean = take(stream(4), frame, camera, face.image)
    occluded = take(stream(5), frame, camera, raw)
    region = region_of(face.labels)
    occlusion = occluder & region
    head = face.head
    meta: dict[str, object] = {
        "seed": seed, "index": index, "split": split, "size": size, "kinds": occluder_kinds,
        **difficulty(clean, occluded, face.labels, occlusion, layers),
        "occluded_share": round(float(occlusion.sum() / max(1, region.sum())), 4),
        "skin_tone": round(head.tone, 3),
        "pose": _pose(face),
        **face.details,
    }  # fmt: skip
    sample = FaceSample(
        raw=occluded,
        clean=clean,
        labels=face.labels,
        occluder=occluder,
        occlusion=occlusion,
        meta=meta,
        landmarks=face.landmarks,
        person=face.person,
    )
    return Scene(sample, face, layers)


def _pose(face: Face) -> dict[str, float]:
    names = ("roll", "yaw", "pitch")
    return {name: round(math.degrees(getattr(face.head, name)), 1) for name in names}


def _check(index: int, size: int, split: str, seed: int) -> None:
    if split not in SPLITS:
        raise S3potError(f"split is {split!r}; expected one of {', '.join(SPLITS)}")
    if size < MIN_SIZE:
        raise S3potError(f"size is {size}; expected at least {MIN_SIZE} pixels")
    if index < 0 or seed < 0:
        raise S3potError(f"index is {index} and seed is {seed}; expected numbers from 0")


def _choose(rng: np.random.Generator, face: Face, split: str) -> tuple[list[str], list[Layer]]:
    """Draw occluders until they hide a suitable share of the face; 8 % of samples have none."""
    nothing = rng.random() < 0.08
    several = rng.random() < 0.18
    if nothing and rng.random() < 0.5:
        return [], []
    region = region_of(face.labels)
    occluder_kinds: list[str] = []
    layers: list[Layer] = []
    for _ in range(_TRIES):
        occluder_kinds = [draw_kind(rng, split) for _ in range(2 if several else 1)]
        layers = [
            replace(layer, thing=number)
            for number, kind in enumerate(occluder_kinds)
            for layer in draw_occluder(rng, face, split, kind)
        ]
        if nothing:
            layers = [_beside(face, layer) for layer in layers]
        hidden = (coverage(layers) > 127) & region
        share = hidden.sum() / max(1, region.sum())
        if share == 0 if nothing else _SHARES[0] <= share <= _SHARES[1]:
            return occluder_kinds, layers
    return ([], []) if nothing else (occluder_kinds, layers)


def _beside(face: Face, layer: Layer) -> Layer:
    """Move a layer off the face, towards the nearer side of the picture."""
    size = face.head.frame.size
    side = 1 if face.head.center[0] < 128 else -1
    move = np.array([[1, 0, side * 0.46 * size], [0, 1, 0]], np.float32)
    color: Array = np.asarray(layer.color, np.float32)
    if color.ndim == 3:
        color = cv2.warpAffine(color, move, (size, size), borderMode=cv2.BORDER_REFLECT)
    return replace(layer, mask=cv2.warpAffine(layer.mask, move, (size, size)), color=color)


def difficulty(
    clean: Array, raw: Array, labels: Array, occlusion: Array, layers: Sequence[Layer]
) -> dict[str, object]:
    """Grade how hard an occlusion is to see.

    There is one point for a mean color within 0.2 of the visible skin's (two within 0.11), one for
    a translucent layer, and one if eroding by 3/256 of the side removes more than 60 % of it. No
    points mean ``easy``, one means ``medium``, more mean ``hard``; no occlusion is ``easy``.

    Returns:
        ``difficulty``, ``color_distance`` (RGB, 0..1.73; null if nothing is hidden), ``opacity``,
        ``thinness`` (0..1).
    """
    if not occlusion.any():
        return {"difficulty": "easy", "color_distance": None, "opacity": None, "thinness": None}
    skin = ((labels == SKIN) | (labels == NOSE)) & ~occlusion
    if not skin.any():
        skin = ~occlusion
    visible = clean[skin].mean(0)
    hidden = raw[occlusion].mean(0)
    distance = float(np.linalg.norm(visible - hidden) / 255)
    opacity = min(layer.alpha for layer in layers if layer.alpha >= SOLID)
    width = 2 * round(3 * labels.shape[0] / 256) + 1
    core = cv2.erode(occlusion.astype(np.uint8), np.ones((width, width), np.uint8))
    thinness = 1 - float(core.sum() / occlusion.sum())
    points = (distance < 0.2) + (distance < 0.11) + (opacity < 0.9) + (thinness > 0.6)
    return {
        "difficulty": ("easy", "medium", "hard")[min(int(points), 2)],
        "color_distance": round(distance, 4),
        "opacity": round(float(opacity), 3),
        "thinness": round(thinness, 3),
    }
