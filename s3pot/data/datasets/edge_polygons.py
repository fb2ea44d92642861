"""Masks as polygons along their pixel edges, which COCO draws as exactly these masks."""

from __future__ import annotations

import cv2
import numpy as np

# Steps along edges with the mask on the right-hand side, x to the right and y down, clockwise.
_STEPS = ((1, 0), (0, 1), (-1, 0), (0, -1))


def edge_polygons(mask: np.ndarray) -> list[np.ndarray] | None:
    """Trace the outlines of a mask.

    Args:
        mask: bool (H, W).

    Returns:
        One polygon for each 4-connected piece, int (N, 2), x, y of pixel corners; None if a piece
        has a hole, which COCO's polygons cannot have.
    """
    count, pieces, boxes, _ = cv2.connectedComponentsWithStats(
        mask.astype(np.uint8), connectivity=4
    )
    polygons = []
    for piece in range(1, count):
        left, top, width, height = (int(value) for value in boxes[piece, :4])
        inside = pieces[top : top + height, left : left + width] == piece
        corners = _outline(inside)
        if corners is None:
            return None
        polygons.append(corners + (left, top))
    return polygons


def _outline(piece: np.ndarray) -> np.ndarray | None:
    """Follow the edges between a piece, bool (H, W), and its outside; None if it has a hole."""
    starts = _edge_starts(np.pad(piece, 1))
    point, direction = min(starts)  # the leftmost, hence on the outer outline
    corners = []
    while (point, direction) in starts:
        starts.remove((point, direction))
        point = (point[0] + _STEPS[direction][0], point[1] + _STEPS[direction][1])
        turned = _next_direction(point, direction, starts)
        if turned != direction:
            corners.append(point)
        direction = turned
    return None if starts else np.array(corners)


def _edge_starts(padded: np.ndarray) -> set[tuple[tuple[int, int], int]]:
    """Find start and direction of each edge of a mask that is padded by one pixel."""
    inside = padded[1:-1, 1:-1]
    sides = (
        (inside & ~padded[:-2, 1:-1], (0, 0)),  # upper edge, to the right from its left corner
        (inside & ~padded[1:-1, 2:], (1, 0)),  # right edge, down
        (inside & ~padded[2:, 1:-1], (1, 1)),  # lower edge, to the left
        (inside & ~padded[1:-1, :-2], (0, 1)),  # left edge, up
    )
    starts = set()
    for direction, (is_edge, (right, down)) in enumerate(sides):
        for y, x in np.argwhere(is_edge).tolist():
            starts.add(((x + right, y + down), direction))
    return starts


def _next_direction(
    point: tuple[int, int], direction: int, starts: set[tuple[tuple[int, int], int]]
) -> int:
    """Turn right if an edge continues there, staying with the pixel; else go straight or left."""
    for turn in (1, 0, 3):
        if (point, (direction + turn) % 4) in starts:
            return (direction + turn) % 4
    return (direction + 1) % 4  # a turn at its first corner closes the loop
