"""Polygons drawn with LabelMe."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

from s3pot.types import S3potError


def read_labelme(path: Path, size: tuple[int, ...]) -> np.ndarray:
    """Draw every shape, scaled to height and width ``size``, into one mask, bool (H, W).

    Raises:
        S3potError: Unreadable, no LabelMe file, or a shape of another kind.
    """
    mask = np.zeros(size, np.uint8)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        scale = np.array([size[1] / content["imageWidth"], size[0] / content["imageHeight"]])
        for shape in content["shapes"]:
            points = np.asarray(shape["points"], dtype=np.float64).reshape(-1, 2)
            kind = shape.get("shape_type") or "polygon"
            if kind != "polygon" or len(points) < 3:
                raise ValueError(f"a {kind} of {len(points)} points; expected polygons")
            cv2.fillPoly(mask, [np.rint(points * scale).astype(np.int32)], 1)
    except (OSError, ValueError, KeyError, TypeError, ZeroDivisionError) as error:
        wanted = "expected shapes, imageWidth, imageHeight"
        raise S3potError(f"{path} is no LabelMe file ({error!r}); {wanted}") from error
    return mask.astype(bool)
