"""LabelMe annotations: polygons, rectangles and circles as one mask."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from s3pot.types import S3potError


def read_labelme(path: Path, size: tuple[int, int]) -> np.ndarray:
    """Draw every shape, scaled to height and width ``size``, into one mask, bool (H, W).

    Raises:
        S3potError: Unreadable, no LabelMe file, or a shape that has no inside.
    """
    mask = np.zeros(size, np.uint8)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        scale = np.array([size[1] / content["imageWidth"], size[0] / content["imageHeight"]])
        for shape in content["shapes"]:
            cv2.fillPoly(mask, [np.rint(_outline(shape) * scale).astype(np.int32)], 1)
    except (OSError, ValueError, KeyError, TypeError, ZeroDivisionError) as error:
        raise S3potError(
            f"{path} is no LabelMe file ({type(error).__name__}: {error}); "
            "expected shapes, imageWidth, imageHeight"
        ) from error
    return mask.astype(bool)


def _outline(shape: dict[str, Any]) -> np.ndarray:
    """Corners of one shape, (N, 2), x, y, annotated image's pixels."""
    points = np.asarray(shape["points"], dtype=np.float64).reshape(-1, 2)
    kind = shape.get("shape_type") or "polygon"
    if kind == "rectangle" and len(points) == 2:
        (left, top), (right, bottom) = points
        return np.array([(left, top), (right, top), (right, bottom), (left, bottom)])
    if kind == "circle" and len(points) == 2:
        radius = np.linalg.norm(points[1] - points[0])
        angles = np.linspace(0, 2 * np.pi, 64, endpoint=False)
        return points[0] + radius * np.stack((np.cos(angles), np.sin(angles)), axis=1)
    if kind != "polygon" or len(points) < 3:
        raise ValueError(f"a {kind} of {len(points)} points; expected polygon, rectangle or circle")
    return points
