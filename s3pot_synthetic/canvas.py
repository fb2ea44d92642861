"""Anti-aliased drawing in resolution-independent coordinates.

Everything is placed on a canvas of 256 x 256 units, regardless of the pixel size: ``Frame`` turns
unit coordinates into masks at its pixel size, ``Canvas`` holds the picture and its label map.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar, Union

import cv2
import numpy as np

UNITS = 256.0
_SHIFT = 4  # fractional bits of OpenCV's fixed-point coordinates
Item = TypeVar("Item")
Array = np.ndarray
Vector = Union[Sequence[float], np.ndarray]  # a triple, a point
Points = Union[Sequence[Sequence[float]], Sequence[np.ndarray], np.ndarray]


def pick(rng: np.random.Generator, items: Sequence[Item]) -> Item:
    """Choose one item with equal probability."""
    return items[int(rng.integers(len(items)))]


@functools.lru_cache(maxsize=4)
def unit_grid(size: int) -> tuple[Array, Array]:
    """Return unit coordinates of all pixel centers: x and y, (size, size) float32, read-only."""
    line = (np.arange(size, dtype=np.float32) + 0.5) * np.float32(UNITS / size) - 0.5
    grid_x, grid_y = np.meshgrid(line, line)
    for grid in (grid_x, grid_y):
        grid.setflags(write=False)
    return grid_x, grid_y


def ellipse(
    center: Vector,
    radii: Vector,
    angle: float = 0.0,
    count: int = 40,
    power: float = 2.0,
) -> Array:
    """Sample a superellipse: power 2 is an ellipse, larger powers are boxier.

    Returns:
        Closed outline, (count, 2), in the frame of ``center``.
    """
    outline = _circle(count)
    if power != 2.0:
        outline = np.sign(outline) * np.abs(outline) ** (2.0 / power)
    return rotate(outline * np.array([radii[0], radii[1]]), angle) + np.array(
        [center[0], center[1]]
    )


@functools.lru_cache(maxsize=32)
def _circle(count: int) -> Array:
    t = np.linspace(0.0, 2.0 * np.pi, count, endpoint=False)
    points = np.stack([np.cos(t), np.sin(t)], 1)
    points.setflags(write=False)
    return points


def rotate(points: Array, angle: float) -> Array:
    """Rotate points (N, 2) about the origin by ``angle`` radians (clockwise, as y points down)."""
    cos, sin = math.cos(angle), math.sin(angle)
    turned = np.empty((len(points), 2))
    turned[:, 0] = cos * points[:, 0] - sin * points[:, 1]
    turned[:, 1] = sin * points[:, 0] + cos * points[:, 1]
    return turned


def spread(field: Array) -> Array:
    """Repeat a field (S, S) over three channels, (S, S, 3), much faster than broadcasting."""
    return cv2.merge((field, field, field))


def colored(field: Array, color: Vector) -> Array:
    """Multiply a float32 field (S, S) with an RGB triple: (S, S, 3) float32."""
    field = np.asarray(field, np.float32)
    return cv2.merge([field * np.float32(value) for value in color])


def saturate(image: Array, amount: float) -> Array:
    """Scale the saturation of a picture (S, S, 3) float32: 0 is gray, 1 changes nothing."""
    to_gray = np.tile(np.array([0.3, 0.59, 0.11], np.float32), (3, 1))
    mix = (1 - amount) * to_gray + amount * np.eye(3, dtype=np.float32)
    return cv2.transform(image, mix.astype(np.float32))


def spline(points: Points, steps: int = 8, closed: bool = True) -> Array:
    """Interpolate control points by a Catmull-Rom curve.

    Args:
        points: Control points, (K, 2).
        steps: Samples per control point.
        closed: Join the last point to the first.

    Returns:
        Curve, (K * steps, 2) when closed, else ((K - 1) * steps + 1, 2).
    """
    p = np.asarray(points, np.float64)
    if closed:
        padded = np.concatenate([p[-1:], p, p[:2]])
    else:
        padded = np.concatenate([p[:1], p, p[-1:]])
    before, a, b, after = padded[:-3], padded[1:-2], padded[2:-1], padded[3:]
    t = (np.arange(steps) * (1.0 / steps))[None, :, None]
    before, a, b, after = (q[:, None, :] for q in (before, a, b, after))
    curve = 0.5 * (
        2 * a
        + (b - before) * t
        + (2 * before - 5 * a + 4 * b - after) * t**2
        + (3 * a - before - 3 * b + after) * t**3
    )
    curve = curve.reshape(-1, 2)
    return curve if closed else np.concatenate([curve, p[-1:]])


def ribbon(line: Array, widths: Vector) -> Array:
    """Thicken an open line to a closed outline.

    Args:
        line: Points, (N, 2).
        widths: Full width at each point, (N,), or a single value repeated by the caller.
    """
    direction = np.gradient(line, axis=0)
    direction /= np.linalg.norm(direction, axis=1, keepdims=True) + 1e-9
    side = np.stack([-direction[:, 1], direction[:, 0]], 1) * (np.asarray(widths)[:, None] / 2)
    return np.concatenate([line + side, (line - side)[::-1]])


@dataclass(frozen=True)
class Frame:
    """The pixel size of a picture and the masks drawn at that size.

    Attributes:
        size: Side of the square picture in pixels.
    """

    size: int

    @property
    def scale(self) -> float:
        """Pixels per unit."""
        return self.size / UNITS

    def empty(self) -> Array:
        """Return an empty mask, (size, size) uint8."""
        return np.zeros((self.size, self.size), np.uint8)

    def _fixed(self, points: Array) -> Array:
        pixels = (np.asarray(points, np.float64) + 0.5) * self.scale - 0.5
        return np.round(pixels * (1 << _SHIFT)).astype(np.int32)

    def fill(self, points: Array) -> Array:
        """Fill a closed outline given in units, (N, 2): mask (size, size) uint8, 0..255."""
        mask = self.empty()
        cv2.fillPoly(mask, [self._fixed(points)], 255, cv2.LINE_AA, _SHIFT)
        return mask

    def stroke(self, points: Array, width: float, closed: bool = False) -> Array:
        """Draw a line of ``width`` units through points in units, (N, 2); returns a mask, uint8."""
        mask = self.empty()
        pixels = max(1, round(width * self.scale))
        cv2.polylines(mask, [self._fixed(points)], closed, 255, pixels, cv2.LINE_AA, _SHIFT)
        return mask

    def soften(self, mask: Array, sigma: float) -> Array:
        """Blur a mask by ``sigma`` units; wide blurs are computed on a reduced copy."""
        sigma = max(0.3, sigma * self.scale)
        box = mask_box(mask, round(3.5 * sigma) + 1)
        if box is None:
            return mask
        step = 4 if sigma > 6 else 2 if sigma > 2.5 else 1
        part = mask[box]
        size = part.shape[1], part.shape[0]
        if step > 1:
            reduced = max(1, size[0] // step), max(1, size[1] // step)
            part = cv2.resize(part, reduced, interpolation=cv2.INTER_AREA)
        part = cv2.GaussianBlur(part, (0, 0), sigma / step)
        soft = self.empty()
        soft[box] = part if step == 1 else cv2.resize(part, size, interpolation=cv2.INTER_LINEAR)
        return soft


def mask_box(mask: Array, margin: int = 0) -> tuple[slice, slice] | None:
    """Return the bounding box of a mask as (rows, columns); None if it is empty."""
    x, y, width, height = cv2.boundingRect(mask)
    if width == 0 or height == 0:
        return None
    rows = slice(max(0, y - margin), min(mask.shape[0], y + height + margin))
    return rows, slice(max(0, x - margin), min(mask.shape[1], x + width + margin))


def blend(image: Array, mask: Array, alpha: float, color: Vector) -> None:
    """Mix a color into a picture, in place.

    Args:
        image: (H, W, 3) float32.
        mask: Coverage, (H, W) uint8.
        alpha: Opacity, 0..1.
        color: RGB triple or picture (H, W, 3).
    """
    weight = mask.astype(np.float32) * np.float32(alpha / 255.0)
    color = np.asarray(color, np.float32)
    if color.ndim == 3:
        image += spread(weight) * (color - image)
    else:
        image *= spread(1 - weight)
        image += colored(weight, color)


class Canvas:
    """A picture that is being drawn.

    Attributes:
        frame: Its pixel size.
        image: (S, S, 3) float32 RGB, about [0, 1], linear in the painter's sense only.
        labels: (S, S) uint8, classes of ``s3pot.labels``.
        segments: (S, S) int16, a unique number for every part that was painted with a label.
        cover: (S, S) uint8, 0..255, how much of the initial picture has been painted over.
    """

    def __init__(self, frame: Frame, image: Array, segments: Array | None = None) -> None:
        """Start from a background picture; all labels are background.

        Args:
            frame: Pixel size.
            image: Background, (S, S, 3) float32.
            segments: Numbers of the objects in the background, (S, S) int16; None means all 0.
        """
        self.frame = frame
        self.image = image
        self.labels = frame.empty()
        self.cover = frame.empty()
        self.segments = np.zeros(self.labels.shape, np.int16) if segments is None else segments
        self._last_segment = int(self.segments.max())

    def paint(
        self,
        mask: Array,
        color: Vector,
        label: int | None = None,
        alpha: float = 1.0,
        clip: Array | None = None,
    ) -> None:
        """Paint a color over the picture where a mask is set.

        Args:
            mask: (S, S) uint8 coverage.
            color: RGB triple or picture (S, S, 3).
            label: Class written where the coverage is above one half.
            alpha: Opacity, 0..1.
            clip: A second mask that limits the first.
        """
        if clip is not None:
            mask = cv2.min(mask, clip)
        box = mask_box(mask)
        if box is None:
            return
        part = mask[box]
        color = np.asarray(color, np.float32)
        blend(self.image[box], part, alpha, color[box] if color.ndim == 3 else color)
        if alpha >= 0.5:
            self.cover[box] = cv2.max(self.cover[box], part)
        if label is not None:
            self.mark(mask, label)

    def mark(self, mask: Array, label: int) -> None:
        """Assign a class and a new segment to the pixels that a mask covers by more than half."""
        where = mask > 127
        self._last_segment += 1
        self.labels[where] = label
        self.segments[where] = self._last_segment

    def tint(self, mask: Array, factor: float | Vector, clip: Array | None = None) -> None:
        """Multiply the picture by a factor, or one per channel, weighted by a mask."""
        if clip is not None:
            mask = cv2.min(mask, clip)
        box = mask_box(mask)
        if box is None:
            return
        weight = mask[box].astype(np.float32) * np.float32(1 / 255.0)
        parts = np.broadcast_to(np.asarray(factor, np.float32) - 1, 3)
        self.image[box] *= cv2.merge([1 + weight * part for part in parts])
