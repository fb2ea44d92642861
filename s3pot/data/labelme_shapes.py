"""The shapes of a LabelMe file, each filled to give a mask of an image."""

from __future__ import annotations

import base64
import binascii
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from s3pot.data.image import image_size, limit_of_size
from s3pot.data.masks import read_mask
from s3pot.io import BadFile
from s3pot.wording import counted

AREA_SHAPES = ("polygon", "rectangle", "circle", "oriented_rectangle", "rotation", "mask")
THIN_SHAPES = ("line", "linestrip", "point", "points")  # enclose no area
MAX_COORDINATE = 1e6
# Limits of the work for one image; more would take minutes.
MOST_SHAPES = 10_000
MOST_DRAWN_PIXELS = 20_000_000_000  # shapes times pixels
_LARGEST_MASK = 4  # relative to the pixels of the image; masks are about as large as their box


@dataclass(frozen=True, eq=False)
class AnnotatedFrame:
    """The mapping from an annotation to the image for which its mask is drawn.

    Attributes:
        size: Height and width of the image.
        scale: Image pixels per annotated pixel, x and y.
    """

    size: tuple[int, int]
    scale: np.ndarray

    @property
    def annotated(self) -> tuple[int, int]:
        """Height and width of the image that was annotated."""
        width, height = self.size[::-1] / self.scale
        return round(height), round(width)


def check_work(count: int, size: tuple[int, int], where: str) -> None:
    """Refuse files with so many shapes that drawing them would take very long.

    Args:
        count: The number of shapes.
        size: Height and width of the image that each shape is drawn on.
        where: The owner of the shapes, for the message.

    Raises:
        BadFile: There are too many shapes.
    """
    if count > MOST_SHAPES or count * size[0] * size[1] > MOST_DRAWN_PIXELS:
        raise BadFile(
            f"{where} has {count:,} shapes on an image of {size[1]} x {size[0]} pixels, which "
            "would take very long to draw. Save the area they cover as one mask."
        )


def kind_of(shape: Mapping[str, Any]) -> str:
    """Return the kind of a shape, which is a polygon unless it says otherwise."""
    return str(shape.get("shape_type") or "polygon")


def encloses(shape: Mapping[str, Any]) -> bool:
    """Whether a polygon has enough corners; other kinds are checked when they are drawn."""
    if kind_of(shape) != "polygon":
        return True
    points = shape.get("points")
    return not isinstance(points, list) or len(points) >= 3


def shape_area(shape: Mapping[str, Any], frame: AnnotatedFrame) -> np.ndarray | None:
    """Fill one shape: bool (H, W); None if it encloses no area.

    Raises:
        KeyError, TypeError, ValueError, OverflowError, S3potError: The shape is damaged or of an
            unknown kind.
    """
    kind = kind_of(shape)
    if kind in THIN_SHAPES or not encloses(shape):
        return None
    if kind not in AREA_SHAPES:
        raise BadFile(f"it is a {kind!r}; expected one of {', '.join(AREA_SHAPES)}")
    points = np.asarray(shape["points"], dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 2:
        raise BadFile(f"its points are of shape {points.shape}; expected pairs of x and y")
    if not np.isfinite(points).all() or np.abs(points).max(initial=0) > MAX_COORDINATE:
        raise BadFile(f"its points {points.tolist()[:4]} are not pixel coordinates")
    if kind == "mask":
        return _mask_area(shape, points, frame)
    if kind == "circle":
        return _circle_area(points, frame)
    if kind == "rectangle":
        points = _rectangle_corners(points)
    elif kind != "polygon" and len(points) != 4:
        raise BadFile(f"it has {counted(len(points), 'point')}; expected 4")
    area = np.zeros(frame.size, dtype=np.uint8)
    cv2.fillPoly(area, [np.rint(points * frame.scale).astype(np.int32)], 1)
    return area.astype(bool)


def _rectangle_corners(points: np.ndarray) -> np.ndarray:
    """Return the four corners of a rectangle given by them or by two opposite corners."""
    if len(points) == 4:
        return points
    if len(points) != 2:
        raise BadFile(f"it has {counted(len(points), 'point')}; expected 2 opposite corners")
    (left, top), (right, bottom) = points
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)])


def _circle_area(points: np.ndarray, frame: AnnotatedFrame) -> np.ndarray:
    """Fill a disc given by its center and a point on its rim."""
    if len(points) != 2:
        raise BadFile(f"it has {counted(len(points), 'point')}; expected center and rim")
    center = points[0] * frame.scale
    radii = np.linalg.norm(points[1] - points[0]) * frame.scale
    if not radii.all():
        raise BadFile("its radius is 0")
    y, x = np.ogrid[0 : frame.size[0], 0 : frame.size[1]]
    distance = ((x - center[0]) / radii[0]) ** 2 + ((y - center[1]) / radii[1]) ** 2
    return np.asarray(distance <= 1)


def _mask_area(shape: Mapping[str, Any], points: np.ndarray, frame: AnnotatedFrame) -> np.ndarray:
    """Draw an embedded mask image with its top left corner at the first point."""
    if len(points) != 2 or not isinstance(shape.get("mask"), str):
        raise BadFile("it lacks the corners or the image of its mask")
    try:
        text = "".join(shape["mask"].split()).rpartition("base64,")[2]  # also in a data: URL
        encoded = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise BadFile(f"its mask is not base64 text ({error})") from error
    limit = limit_of_size(frame.size)
    height, width = image_size(io.BytesIO(encoded), limit)
    if height * width > _LARGEST_MASK * frame.annotated[0] * frame.annotated[1]:
        raise BadFile(f"its mask has {width} x {height} pixels, far more than the image")
    mask = read_mask(io.BytesIO(encoded), "its mask", limit)
    left, top = np.rint(points.min(axis=0)).astype(int)
    # The pixel of the embedded image that each pixel of the target image shows.
    rows = np.floor((np.arange(frame.size[0]) + 0.5) / frame.scale[1]).astype(int) - top
    columns = np.floor((np.arange(frame.size[1]) + 0.5) / frame.scale[0]).astype(int) - left
    inside_rows = (rows >= 0) & (rows < mask.shape[0])
    inside_columns = (columns >= 0) & (columns < mask.shape[1])
    area = np.zeros(frame.size, dtype=bool)
    area[np.ix_(inside_rows, inside_columns)] = mask[
        np.ix_(rows[inside_rows], columns[inside_columns])
    ]
    return area
