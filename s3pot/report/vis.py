"""Visualizations of the method's inputs and results: uint8 RGB (H, W, 3) at any size.

Points are given as shares of the width and height in [0, 1], (N, 2), in x, y order.
"""

from __future__ import annotations

import cv2
import numpy as np

from s3pot.labels import COLORS

Color = tuple[int, int, int]
Place = tuple[int, int]  # x, y with sub-pixel precision, in OpenCV's drawing coordinates

# Prompt points: those on the visible face are discs, those on an occlusion are squares.
FACE_COLOR: Color = (40, 200, 90)
OCCLUSION_COLOR: Color = (235, 40, 60)
FIRST_POINT_COLOR: Color = (255, 220, 0)

# The error map uses three colors of the palette of Okabe and Ito (2008), which are distinguishable
# with all common kinds of color blindness.
HIT: Color = (0, 114, 178)
MISS: Color = (240, 228, 66)
FALSE_ALARM: Color = (213, 94, 0)

WHITE: Color = (255, 255, 255)
BLACK: Color = (0, 0, 0)
_SHIFT = 4  # fractional bits in OpenCV's drawing coordinates
_DIMMED = (np.arange(256) * 0.6 + 60).astype(np.uint8)  # gray values of the error map
_DARKEST_ATTENTION = 55  # of the 256 colors of the scale, so that no point is invisible


def color_labels(labels: np.ndarray) -> np.ndarray:
    """Color a class map.

    Args:
        labels: uint8 (H, W), values 0..12.

    Returns:
        uint8 (H, W, 3).
    """
    return COLORS.take(labels, axis=0)  # four times as fast as COLORS[labels]


def overlay(
    picture: np.ndarray, mask: np.ndarray, color: Color = OCCLUSION_COLOR, share: float = 0.5
) -> np.ndarray:
    """Tint a mask and outline it; nothing outside the mask changes.

    Args:
        picture: uint8 (H, W, 3).
        mask: bool (H, W).
        color: Color of the tint and the outline.
        share: Opacity of the tint, in [0, 1].

    Returns:
        uint8 (H, W, 3).
    """
    canvas = picture.copy()
    _tint(canvas, mask, color, share)
    draw_outline(canvas, mask, color)
    return canvas


def error_map(picture: np.ndarray, prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Show where a predicted occlusion is right and wrong, on a dimmed gray picture.

    Args:
        picture: uint8 (H, W, 3).
        prediction: Predicted occlusion, bool (h, w); resized to the picture's size.
        truth: True occlusion, the same shape.

    Returns:
        uint8 (H, W, 3): pixels in both masks have the color ``HIT``, pixels only in the truth
        ``MISS``, pixels only in the prediction ``FALSE_ALARM``; a thin black line outlines the
        truth.
    """
    size = picture.shape[:2]
    prediction = _at_size(prediction, size)
    truth = _at_size(truth, size)
    gray = cv2.LUT(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), _DIMMED)
    canvas = np.asarray(cv2.cvtColor(gray, cv2.COLOR_GRAY2RGB))
    for mask, color in (
        (prediction & truth, HIT),
        (truth & ~prediction, MISS),
        (prediction & ~truth, FALSE_ALARM),
    ):
        _tint(canvas, mask, color, 0.8)
    _draw_rim(canvas, truth, _line_width(canvas), BLACK)
    return canvas


def draw_outline(canvas: np.ndarray, mask: np.ndarray, color: Color) -> None:
    """Draw the rim of a mask into a picture, in place and inside the mask.

    It is a line of the given color with a white one inside it: at least one of the two contrasts
    with any background.

    Args:
        canvas: uint8 (H, W, 3).
        mask: bool (H, W).
        color: Color of the outer line.
    """
    width = _line_width(canvas)
    _draw_rim(canvas, mask, 2 * width, WHITE)
    _draw_rim(canvas, mask, width, color)


def draw_points(
    picture: np.ndarray, points: np.ndarray, labels: np.ndarray, first: np.ndarray | None = None
) -> np.ndarray:
    """Draw prompt points: green discs on the face, red squares on an occlusion.

    Args:
        picture: uint8 (H, W, 3).
        points: Shares of width and height, (N, 2), x, y.
        labels: 1 visible face, 0 occlusion, (N,).
        first: FE's single point, (2,), x, y, drawn large and yellow; None draws none.

    Returns:
        uint8 (H, W, 3).
    """
    canvas = picture.copy()
    radius = max(1.0, min(picture.shape[:2]) / 150)
    for place, label in zip(_fixed_points(canvas, points), labels.tolist()):
        if label:
            _draw_disc(canvas, place, radius, FACE_COLOR)
        else:
            _draw_square(canvas, place, radius, OCCLUSION_COLOR)
    if first is not None:
        (place,) = _fixed_points(canvas, first[None])
        _draw_disc(canvas, place, 2.6 * radius, BLACK)
        _draw_disc(canvas, place, 2 * radius, FIRST_POINT_COLOR)
    return canvas


def draw_attention(picture: np.ndarray, points: np.ndarray, attention: np.ndarray) -> np.ndarray:
    """Draw how much the adapter attends to each point, on the darkened picture.

    Dots grow and brighten with the column sums of the attention weights, relative to the largest
    sum.

    Args:
        picture: uint8 (H, W, 3).
        points: Shares of width and height, (N, 2), x, y.
        attention: (N + 1, N + 1), whose rows sum to 1; the last column, SAM's padding token, is
            left out.

    Returns:
        uint8 (H, W, 3).
    """
    canvas = np.ascontiguousarray(picture // 2)
    weights = attention.sum(axis=0)[: len(points)].astype(np.float64)
    shares = weights / max(weights.max(initial=0.0), 1e-12)
    unit = max(1.0, min(picture.shape[:2]) / 110)
    places = _fixed_points(canvas, points)
    radii = (unit * (0.4 + shares)).tolist()
    colors = attention_colors(shares).tolist()
    for index in np.argsort(shares, kind="stable").tolist():  # the largest on top
        _draw_disc(canvas, places[index], radii[index], colors[index])
    return canvas


def attention_colors(shares: np.ndarray) -> np.ndarray:
    """Apply the color scale of ``draw_attention``.

    Args:
        shares: Shares of the largest weight, (N,), in [0, 1].

    Returns:
        uint8 (N, 3), RGB.
    """
    shades = (_DARKEST_ATTENTION + (255 - _DARKEST_ATTENTION) * shares).astype(np.uint8)
    if not len(shades):
        return np.zeros((0, 3), np.uint8)
    bgr = cv2.applyColorMap(shades[:, None], cv2.COLORMAP_INFERNO)[:, 0]
    return np.ascontiguousarray(bgr[:, ::-1])


def side_by_side(left: np.ndarray, right: np.ndarray, gap: int = 4) -> np.ndarray:
    """Join two pictures of one height with a white gap, in pixels, between them."""
    return np.hstack([left, np.full((len(left), gap, 3), 255, np.uint8), right])


def enlarged(picture: np.ndarray, least: int = 512) -> np.ndarray:
    """Enlarge by an integer factor until the longer side has ``least`` pixels: points need room."""
    factor = max(1, -(-least // max(picture.shape[:2])))
    resized = cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_LINEAR)
    return np.asarray(resized)


def _line_width(canvas: np.ndarray) -> int:
    shorter_side: int = min(canvas.shape[:2])
    return max(1, round(shorter_side / 300))


def _draw_rim(canvas: np.ndarray, mask: np.ndarray, width: int, color: Color) -> None:
    """Color the pixels of a mask, bool (H, W), that are at most ``width`` from its outside."""
    box = _box_around(mask)
    padded = np.pad(mask[box].astype(np.uint8), 1)  # a mask cut off at the edge has a rim there
    inside = cv2.erode(padded, _disc(width), borderValue=0)[1:-1, 1:-1]
    canvas[box][mask[box] & (inside == 0)] = color


def _box_around(mask: np.ndarray) -> tuple[slice, slice]:
    """Return the rows and columns that hold a mask, bool (H, W); empty if nothing is set."""
    x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
    return slice(y, y + height), slice(x, x + width)


def _disc(radius: int) -> np.ndarray:
    """Return a disc of this radius, uint8 (2 radius + 1, 2 radius + 1)."""
    reach = np.arange(-radius, radius + 1)
    return np.asarray(reach[:, None] ** 2 + reach[None, :] ** 2 <= radius**2, dtype=np.uint8)


def _tint(canvas: np.ndarray, mask: np.ndarray, color: Color, share: float) -> None:
    """Mix a color into the pixels of a mask, bool (H, W), in place; ``share`` is its opacity."""
    box = _box_around(mask)
    if not mask[box].size:
        return
    values = np.arange(256, dtype=np.float32)[:, None]
    tints = (values + (np.array(color, np.float32) - values) * share).round().astype(np.uint8)
    cv2.copyTo(cv2.LUT(canvas[box], tints[:, None]), mask[box].astype(np.uint8), canvas[box])


def _at_size(mask: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Resize a mask, bool (h, w), to height and width ``size``."""
    if mask.shape == size:
        return mask
    resized = cv2.resize(mask.astype(np.uint8), size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
    return np.asarray(resized > 0)


def _draw_disc(canvas: np.ndarray, place: Place, radius: float, color: Color) -> None:
    """Draw an anti-aliased disc."""
    cv2.circle(canvas, place, round(radius * 2**_SHIFT), color, -1, cv2.LINE_AA, _SHIFT)


def _draw_square(canvas: np.ndarray, place: Place, radius: float, color: Color) -> None:
    """Draw a square as high as a disc of this radius."""
    x, y = place
    reach = round(radius * 2**_SHIFT)
    low, high = (x - reach, y - reach), (x + reach, y + reach)
    cv2.rectangle(canvas, low, high, color, -1, cv2.LINE_AA, _SHIFT)


def _fixed_points(canvas: np.ndarray, points: np.ndarray) -> list[Place]:
    """Convert points, shares of width and height (N, 2), to OpenCV's drawing coordinates."""
    size = np.array(canvas.shape[1::-1])
    places = np.round((points * size - 0.5) * 2**_SHIFT).astype(np.int64)
    return [(x, y) for x, y in places.tolist()]
