"""Pictures of what the method saw and did: uint8 RGB (H, W, 3) in and out, at any size.

Points are shares of width and height, in [0, 1], (N, 2), x, y.
"""

from __future__ import annotations

import cv2
import numpy as np

from s3pot.labels import COLOURS

Colour = tuple[int, int, int]

FACE: Colour = (40, 200, 90)
OCCLUSION: Colour = (235, 40, 60)
FIRST: Colour = (255, 220, 0)
_SHIFT = 4  # binary digits after the point in OpenCV's drawing coordinates


def colour_labels(labels: np.ndarray) -> np.ndarray:
    """Paint a class map: uint8 (H, W), values 0..12 → uint8 (H, W, 3)."""
    return np.array(COLOURS, dtype=np.uint8)[labels]


def overlay(
    picture: np.ndarray, mask: np.ndarray, colour: Colour = OCCLUSION, share: float = 0.5
) -> np.ndarray:
    """Tint a mask, bool (H, W), with a ``share`` of the colour in [0, 1], and draw its outline."""
    tinted = picture.astype(np.float32)
    tinted[mask] += (np.array(colour, np.float32) - tinted[mask]) * share
    canvas = np.ascontiguousarray(tinted.round().astype(np.uint8))
    outlines = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)[-2]
    width = max(1, round(min(picture.shape[:2]) / 300))
    cv2.drawContours(canvas, outlines, -1, colour, width)
    return canvas


def draw_points(
    picture: np.ndarray, points: np.ndarray, labels: np.ndarray, first: np.ndarray | None = None
) -> np.ndarray:
    """Draw prompt points: label 1, face, green; 0, occlusion, red; ``first``, (2,), yellow."""
    canvas = picture.copy()
    radius = max(1.0, min(picture.shape[:2]) / 150)
    for point, label in zip(points, labels):
        _dot(canvas, point, radius, FACE if label else OCCLUSION)
    if first is not None:
        _dot(canvas, first, 2.6 * radius, (0, 0, 0))
        _dot(canvas, first, 2 * radius, FIRST)
    return canvas


def draw_attention(picture: np.ndarray, points: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Draw how much the adapter looks at each point, on the darkened picture.

    Dots grow and brighten with ``weights``, (N,), not negative; only ratios to the largest count.
    """
    canvas = np.ascontiguousarray(picture // 2)
    ratio = np.asarray(weights, dtype=np.float64) / max(float(np.max(weights, initial=0)), 1e-12)
    scale = np.arange(256, dtype=np.uint8)[:, None]
    palette = cv2.applyColorMap(scale, cv2.COLORMAP_INFERNO)[:, 0, ::-1]
    unit = max(1.0, min(picture.shape[:2]) / 110)
    for index in np.argsort(ratio, kind="stable"):  # the heaviest on top
        red, green, blue = (int(v) for v in palette[55 + int(200 * ratio[index])])
        _dot(canvas, points[index], unit * (0.4 + ratio[index]), (red, green, blue))
    return canvas


def attention_of_points(attention: np.ndarray, count: int) -> np.ndarray:
    """How much all look at each point: column sums of (N + 1, N + 1), pad dropped: (N,)."""
    return np.asarray(attention.sum(axis=0)[:count])


def side_by_side(pictures: list[np.ndarray], gap: int = 4) -> np.ndarray:
    """Put one picture or more in a row at the first one's height, ``gap`` white pixels apart."""
    height = pictures[0].shape[0]
    row = [pictures[0]]
    for picture in pictures[1:]:
        width = max(1, round(picture.shape[1] * height / picture.shape[0]))
        filtering = cv2.INTER_AREA if height < picture.shape[0] else cv2.INTER_LINEAR
        resized = cv2.resize(picture, (width, height), interpolation=filtering)
        row += [np.full((height, gap, 3), 255, np.uint8), resized]
    return np.concatenate(row, axis=1)


def enlarged(picture: np.ndarray, least: int = 512) -> np.ndarray:
    """Enlarge by a whole factor until the longer side is ``least``: points need room."""
    factor = -(-least // max(picture.shape[:2]))
    if factor <= 1:
        return picture
    size = (picture.shape[1] * factor, picture.shape[0] * factor)
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_LINEAR))


def _dot(canvas: np.ndarray, point: np.ndarray, radius: float, colour: Colour) -> None:
    """A smooth disc at a sub-pixel place."""
    size = np.array(canvas.shape[1::-1])
    x, y = (int(v) for v in np.round((point * size - 0.5) * 2**_SHIFT))
    cv2.circle(canvas, (x, y), round(radius * 2**_SHIFT), colour, -1, cv2.LINE_AA, _SHIFT)
