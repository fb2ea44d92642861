"""Backgrounds for scenes: cluttered places with the statistics of photographs, without faces.

Natural images have power spectra that fall with frequency, and edges where objects occlude each
other. Both result from the *dead leaves* model: shapes of all sizes, few large and many small ones,
laid over each other in random order (Lee, Mumford, Huang 2001). In addition there are studio
backdrops, surfaces from ``natural``, rooms of rectangles and lines, and out-of-focus lights.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from s3pot_synthetic.canvas import (
    Array,
    Frame,
    ellipse,
    mask_box,
    pick,
    rotate,
    spline,
    spread,
)
from s3pot_synthetic.head import skin_color
from s3pot_synthetic.natural import gray_field, surface
from s3pot_synthetic.textures import any_color, texture

_LEAVES = (60, 260)  # number of shapes in one dead-leaves picture
_RADII = (2.5, 110.0)  # radii of a leaf, in units


def draw_background(rng: np.random.Generator, size: int) -> Array:
    """Draw a background without faces.

    Args:
        rng: Random stream.
        size: Side in pixels.

    Returns:
        (size, size, 3) uint8 RGB.
    """
    frame = Frame(size)
    weights = np.array([kind.weight for kind in _KINDS])
    kind = _KINDS[int(rng.choice(len(_KINDS), p=weights / weights.sum()))]
    picture = kind.draw(rng, frame)
    if rng.random() < 0.55:
        sigma = math.exp(rng.uniform(math.log(0.6), math.log(8.0))) * frame.scale
        picture = cv2.GaussianBlur(picture, (0, 0), sigma)
    if rng.random() < 0.4:
        light = 1 + _field(rng, size, size, "smooth") * np.float32(rng.uniform(0.2, 1.2))
        picture = picture * spread(cv2.GaussianBlur(light, (0, 0), size / 16))
    return (np.clip(picture, 0, 1) * 255).astype(np.uint8)


def _studio(rng: np.random.Generator, frame: Frame) -> Array:
    """Draw a plain backdrop, lighter on one side or in the middle."""
    size = frame.size
    line = np.linspace(-1, 1, size, dtype=np.float32)
    x, y = np.meshgrid(line, line)
    slope = rng.normal(0, 0.12, 2)
    center = rng.uniform(-0.7, 0.7, 2)
    glow = np.exp(-((x - center[0]) ** 2 + (y - center[1]) ** 2) / rng.uniform(0.3, 3))
    light = 1 + slope[0] * x + slope[1] * y + rng.uniform(-0.3, 0.5) * glow
    light = light + _field(rng, size, size, "smooth") * rng.uniform(0, 0.1)
    return spread(light.astype(np.float32)) * any_color(rng, 0.2)


def _field(rng: np.random.Generator, height: int, width: int, kind: str | None = None) -> Array:
    """Crop a window from the banks of natural surfaces: (height, width) float32, -0.5..0.5."""
    field = gray_field(rng, height, width, kind).astype(np.float32)
    return field / np.float32(255) - np.float32(0.5)


def _surface(rng: np.random.Generator, frame: Frame, kind: str | None = None) -> Array:
    picture = surface(rng, frame.size, frame.size, any_color(rng, 0.25), kind)
    return picture.astype(np.float32) / np.float32(255)


def _texture(rng: np.random.Generator, frame: Frame) -> Array:
    return texture(rng, frame, "train", any_color(rng, 0.3))


def _leaf_shape(rng: np.random.Generator, radius: float) -> Array:
    """Draw the outline of one leaf, (N, 2) units."""
    center = rng.uniform(-20, 276, 2)
    angle = rng.uniform(0, np.pi)
    stretch = math.exp(rng.normal(0, 0.5))
    radii = (radius * stretch, radius / stretch)
    kind = int(rng.integers(4))
    if kind == 0:
        return ellipse(center, radii, angle)
    if kind == 1:
        return ellipse(center, radii, angle if rng.random() < 0.4 else rng.normal(0, 0.05), 40, 12)
    if kind == 2:
        corners = rng.normal(0, 1, (int(rng.integers(3, 6)), 2))
        return rotate(corners * np.array(radii), angle) + center
    ring = ellipse((0.0, 0.0), radii, 0.0, 8) * rng.uniform(0.6, 1.3, (8, 1))
    return rotate(spline(ring), angle) + center


def _lay_leaf(rng: np.random.Generator, frame: Frame, picture: Array) -> None:
    """Paint one shape with grain and a light gradient over a picture, in place."""
    low, high = _RADII
    # Areas as in photographs: the number of shapes falls with the cube of their radius.
    radius = (low**-2 + rng.random() ** 1.5 * (high**-2 - low**-2)) ** -0.5
    radius = max(radius, rng.uniform(3, 60)) if rng.random() < 0.4 else radius
    mask = frame.fill(_leaf_shape(rng, radius))
    box = mask_box(mask)
    if box is None:
        return
    color = skin_color(rng)[0] if rng.random() < 0.12 else any_color(rng, 0.3)
    height, width = mask[box].shape
    field = np.zeros((height, width), np.float32)
    if rng.random() < 0.3:
        field = _field(rng, height, width) * np.float32(rng.uniform(0, 1))
    slope = rng.normal(0, 0.15, 2)
    field = field + np.linspace(-slope[0], slope[0], width, dtype=np.float32)
    field = field + np.linspace(-slope[1], slope[1], height, dtype=np.float32)[:, None]
    weight = spread(mask[box].astype(np.float32) / np.float32(255))
    surface = spread((1 + field).astype(np.float32)) * color
    picture[box] += weight * (surface - picture[box])


def _leaves(rng: np.random.Generator, frame: Frame) -> Array:
    picture = _surface(rng, frame)
    for _ in range(int(rng.integers(*_LEAVES))):
        _lay_leaf(rng, frame, picture)
    return picture


def _room(rng: np.random.Generator, frame: Frame) -> Array:
    """Draw walls, windows, shelves and posts: upright rectangles and long lines."""
    picture = _studio(rng, frame)
    for _ in range(int(rng.integers(5, 40))):
        center = rng.uniform(-20, 276, 2)
        radii = np.exp(rng.uniform(math.log(3), math.log(90), 2))
        shape = ellipse(center, radii, rng.normal(0, 0.04), 24, 14)
        mask = frame.fill(shape)
        box = mask_box(mask)
        if box is None:
            continue
        color = any_color(rng, 0.25) * rng.uniform(0.6, 1.1)
        weight = spread(mask[box].astype(np.float32) / np.float32(255))
        picture[box] += weight * (color.astype(np.float32) - picture[box])
    for _ in range(int(rng.integers(0, 25))):
        start = rng.uniform(0, 256, 2)
        angle = pick(rng, (0.0, np.pi / 2)) + rng.normal(0, 0.1)
        step = np.array([math.cos(angle), math.sin(angle)]) * rng.uniform(20, 260)
        mask = frame.stroke(np.stack([start, start + step]), rng.uniform(0.6, 4))
        weight = spread(mask.astype(np.float32) / np.float32(255))
        picture += weight * (any_color(rng, 0.2) - picture)
    return picture


def _lights(rng: np.random.Generator, frame: Frame) -> Array:
    """Draw lights far out of focus: bright discs on a dark, soft background."""
    picture = cv2.GaussianBlur(_surface(rng, frame, "smooth"), (0, 0), 6 * frame.scale)
    picture = picture * np.float32(rng.uniform(0.2, 0.8))
    radius = rng.uniform(4, 22)
    for _ in range(int(rng.integers(8, 60))):
        disk = ellipse(rng.uniform(0, 256, 2), np.full(2, radius * rng.uniform(0.7, 1.3)))
        weight = frame.soften(frame.fill(disk), 0.8).astype(np.float32) / np.float32(255)
        picture += spread(weight * np.float32(rng.uniform(0.1, 0.8))) * any_color(rng, 0.5)
    return picture


@dataclass(frozen=True)
class _Kind:
    """One way to draw a background, and its relative frequency."""

    draw: Callable[[np.random.Generator, Frame], Array]
    weight: float


_KINDS = (
    _Kind(_leaves, 4),
    _Kind(_studio, 2),
    _Kind(_surface, 2),
    _Kind(_room, 2),
    _Kind(_lights, 1),
    _Kind(_texture, 1),
)
