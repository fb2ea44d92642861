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
    return COLOURS[labels]


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


def draw_attention(picture: np.ndarray, points: np.ndarray, attention: np.ndarray) -> np.ndarray:
    """Draw how much the adapter looks at each of N points, on the darkened picture.

    Dots grow and brighten with the column sums of ``attention``, (N + 1, N + 1), its pad left out;
    only ratios to the largest count.
    """
    canvas = np.ascontiguousarray(picture // 2)
    weights = attention.sum(axis=0)[: len(points)].astype(np.float64)
    ratio = weights / max(weights.max(), 1e-12)
    shade = (55 + 200 * ratio).astype(np.uint8)
    colours = cv2.applyColorMap(shade[:, None], cv2.COLORMAP_INFERNO)[:, 0, ::-1].tolist()
    unit = max(1.0, min(picture.shape[:2]) / 110)
    for index in np.argsort(ratio, kind="stable"):  # the heaviest on top
        _dot(canvas, points[index], unit * (0.4 + ratio[index]), colours[index])
    return canvas


def side_by_side(left: np.ndarray, right: np.ndarray, gap: int = 4) -> np.ndarray:
    """Two pictures of one height, ``gap`` white pixels apart."""
    return np.hstack([left, np.full((len(left), gap, 3), 255, np.uint8), right])


def enlarged(picture: np.ndarray, least: int = 512) -> np.ndarray:
    """Enlarge by a whole factor until the longer side is ``least``: points need room."""
    by = max(1, -(-least // max(picture.shape[:2])))
    return np.asarray(cv2.resize(picture, None, fx=by, fy=by, interpolation=cv2.INTER_LINEAR))


def _dot(canvas: np.ndarray, point: np.ndarray, radius: float, colour: Colour) -> None:
    """A smooth disc at a sub-pixel place."""
    size = np.array(canvas.shape[1::-1])
    x, y = (int(v) for v in np.round((point * size - 0.5) * 2**_SHIFT))
    cv2.circle(canvas, (x, y), round(radius * 2**_SHIFT), colour, -1, cv2.LINE_AA, _SHIFT)
