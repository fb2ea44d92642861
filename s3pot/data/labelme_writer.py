"""Masks as LabelMe files, so that they can be corrected by hand in LabelMe.

A mask becomes polygons and, for its holes, polygons labeled ``_background_`` that cut them out.
Such a cut affects everything drawn before it, so masks with holes in files with several labels, and
masks that polygons cannot reproduce, become LabelMe's ``mask`` shapes.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from s3pot.io import write_json

HOLE_LABEL = "_background_"  # LabelMe's own label
IGNORE_LABEL = "__ignore__"
LABELME_VERSION = "5.5.0"  # the version whose format is written
_MOST_LAYERS = 32  # nesting depth of holes within pieces within holes


def write_labelme(
    path: Path, image_path: str, size: tuple[int, int], masks: Mapping[str, np.ndarray]
) -> None:
    """Write a LabelMe file.

    Args:
        path: The JSON file.
        image_path: Path of the image, relative to the file's folder.
        size: Height and width of the image.
        masks: The mask of each label, bool (H, W).
    """
    can_cut = sum(mask.any() for mask in masks.values()) == 1
    shapes: list[dict[str, Any]] = []
    for label, mask in masks.items():
        shapes += shapes_of_mask(mask, label, can_cut)
    content: dict[str, Any] = {
        "version": LABELME_VERSION,
        "flags": {},
        "shapes": shapes,
        "imagePath": image_path,
        "imageData": None,
        "imageHeight": size[0],
        "imageWidth": size[1],
    }
    write_json(path, content)


def shapes_of_mask(mask: np.ndarray, label: str, can_cut: bool = True) -> list[dict[str, Any]]:
    """Convert a mask to LabelMe shapes that ``read_labelme`` draws as exactly this mask.

    Args:
        mask: bool (H, W).
        label: The label of the shapes.
        can_cut: Whether ``_background_`` may cut holes; if not, a mask with holes is one shape.
    """
    if not mask.any():
        return []
    shapes: list[dict[str, Any]] = []
    canvas = np.zeros(mask.shape, np.uint8)
    for layer in range(_MOST_LAYERS):
        fills = layer % 2 == 0
        wrong = mask & (canvas == 0) if fills else ~mask & (canvas == 1)
        contours, _ = cv2.findContours(
            wrong.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
        )
        for contour in contours:
            points = contour.reshape(-1, 2)
            cv2.fillPoly(canvas, [points], int(fills))
            shapes.append(_shape(label if fills else HOLE_LABEL, "polygon", points))
        if np.array_equal(canvas > 0, mask):
            return shapes
        if not can_cut:
            break
    return [_mask_shape(mask, label)]


def _shape(label: str, kind: str, points: np.ndarray) -> dict[str, Any]:
    corners = points.tolist()
    if kind == "polygon":  # LabelMe requires three corners, even for a single pixel
        corners += corners[-1:] * (3 - len(corners))
    return {
        "label": label,
        "points": [[float(x), float(y)] for x, y in corners],
        "group_id": None,
        "description": "",
        "shape_type": kind,
        "flags": {},
        "mask": None,
    }


def _mask_shape(mask: np.ndarray, label: str) -> dict[str, Any]:
    """Build a shape of the kind "mask": its bounding box and a PNG of its contents."""
    rows = np.flatnonzero(mask.any(axis=1))
    columns = np.flatnonzero(mask.any(axis=0))
    top, bottom, left, right = rows[0], rows[-1], columns[0], columns[-1]
    inside = mask[top : bottom + 1, left : right + 1].astype(np.uint8) * 255
    encoded = cv2.imencode(".png", inside)[1].tobytes()
    shape = _shape(label, "mask", np.array([[left, top], [right, bottom]]))
    return {**shape, "mask": base64.b64encode(encoded).decode("ascii")}
