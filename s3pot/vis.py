"""Pictures of what the method saw and did: uint8 RGB in and out, at any size."""

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
    """Tint a mask and draw its outline.

    Args:
        picture: uint8 (H, W, 3).
        mask: bool (H, W).
        colour: RGB.
        share: Of the colour inside the mask, in [0, 1].
    """
    tinted = picture.astype(np.float32)
    tinted[mask] += (np.array(colour, np.float32) - tinted[mask]) * share
    canvas = np.ascontiguousarray(tinted.round().astype(np.uint8))
    outlines = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)[-2]
    cv2.drawContours(canvas, outlines, -1, colour, _line_width(picture))
    return canvas


def draw_points(
    picture: np.ndarray, points: np.ndarray, labels: np.ndarray, first: np.ndarray | None = None
) -> np.ndarray:
    """Draw the prompt points: face green, occlusion red, FE's first point as a ringed yellow dot.

    Args:
        picture: uint8 (H, W, 3).
        points: Share of width and height, in [0, 1], (N, 2), x, y.
        labels: 1 visible face, 0 occlusion, (N,).
        first: Same frame, (2,); None when there is none.
    """
    canvas = picture.copy()
    radius = max(1.0, min(picture.shape[:2]) / 150)
    for point, label in zip(points, labels):
        _dot(canvas, point, radius, FACE if label else OCCLUSION)
    if first is not None:
        _dot(canvas, first, 2.6 * radius, (0, 0, 0))
        _dot(canvas, first, 2 * radius, FIRST)
    return canvas


def draw_attention(picture: np.ndarray, points: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Draw how much the adapter looks at each point: larger and brighter dots weigh more.

    Args:
        picture: uint8 (H, W, 3); shown darker.
        points: Share of width and height, in [0, 1], (N, 2), x, y.
        weights: Importance of each point, not negative, (N,); only ratios to the largest count.
    """
    canvas = np.ascontiguousarray(picture // 2)
    if not len(points):
        return canvas
    ratio = np.asarray(weights, dtype=np.float64) / max(float(np.max(weights)), 1e-12)
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
    """Put pictures in a row, at the first one's height, with white gaps.

    Args:
        pictures: At least one, uint8 (H, W, 3).
        gap: Pixels between two.
    """
    height = pictures[0].shape[0]
    row = [_to_height(pictures[0], height)]
    for picture in pictures[1:]:
        row += [np.full((height, gap, 3), 255, np.uint8), _to_height(picture, height)]
    return np.concatenate(row, axis=1)


def enlarged(picture: np.ndarray, least: int = 512) -> np.ndarray:
    """Enlarge by a whole factor until the longer side is ``least``: points need room."""
    factor = -(-least // max(picture.shape[:2]))
    if factor <= 1:
        return picture
    size = (picture.shape[1] * factor, picture.shape[0] * factor)
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_LINEAR))


def _to_height(picture: np.ndarray, height: int) -> np.ndarray:
    if picture.shape[0] == height:
        return picture
    width = max(1, round(picture.shape[1] * height / picture.shape[0]))
    filtering = cv2.INTER_AREA if height < picture.shape[0] else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, (width, height), interpolation=filtering))


def _dot(canvas: np.ndarray, point: np.ndarray, radius: float, colour: Colour) -> None:
    """A smooth disc at a sub-pixel place."""
    size = np.array(canvas.shape[1::-1])
    x, y = (int(v) for v in np.round((point * size - 0.5) * 2**_SHIFT))
    cv2.circle(canvas, (x, y), round(radius * 2**_SHIFT), colour, -1, cv2.LINE_AA, _SHIFT)


def _line_width(picture: np.ndarray) -> int:
    return max(1, round(min(picture.shape[:2]) / 300))
