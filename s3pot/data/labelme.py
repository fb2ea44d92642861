"""Annotations drawn with LabelMe, read as one mask of what covers the face."""

from __future__ import annotations

import base64
import binascii
import io
import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from s3pot.data.image import EXIF_ORIENTATION, image_size
from s3pot.data.label_policy import IGNORE_LABELS, LabelPolicy, names_face, normal_label
from s3pot.data.masks import read_mask
from s3pot.io import BadFile, read_json
from s3pot.types import S3potError
from s3pot.wording import counted, reason_of

logger = logging.getLogger(__name__)

# LabelMe's own label for a shape that cuts a hole into earlier shapes, and a common alternative.
HOLE_LABELS = frozenset({"_background_", "__background__", "hole"})
AREA_SHAPES = ("polygon", "rectangle", "circle", "oriented_rectangle", "rotation", "mask")
THIN_SHAPES = ("line", "linestrip", "point", "points")  # enclose no area
MAX_COORDINATE = 1e6
# Limits of the work for one image; more would take minutes.
MOST_SHAPES = 10_000
MOST_DRAWN_PIXELS = 20_000_000_000  # shapes times pixels
_LARGEST_MASK = 4  # relative to the pixels of the image; masks are about as large as their box


@dataclass(frozen=True)
class _Frame:
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


def holds_shapes(path: Path) -> bool:
    """Whether a JSON file is a LabelMe file; files of other tools have no ``shapes``.

    A file that cannot be read as JSON counts as one, so that reading it reports the problem.
    """
    try:
        content = read_json(path)
    except BadFile:
        return True
    return isinstance(content, dict) and "shapes" in content


def read_labelme(
    path: Path, size: tuple[int, ...], policy: LabelPolicy | None = None
) -> np.ndarray | None:
    """Draw the shapes of a LabelMe file into one mask, later shapes over earlier ones.

    Polygons, rectangles, circles, oriented rectangles and masks are filled. Lines and points
    enclose no area and are skipped with a warning. ``_background_`` or ``hole`` cuts a hole;
    ``__ignore__``, ``void`` and the like are left out, and so are labels that name the face, with a
    warning.

    Args:
        path: The file.
        size: Height and width of the image that the mask is for. The annotation may have been drawn
            on the same image at another size, but not at another aspect ratio.
        policy: Which labels count; None for the default.

    Returns:
        bool (H, W); None if the file has no ``shapes`` and is therefore not a LabelMe file.

    Raises:
        BadFile: The file is damaged, has a different frame, or holds a shape that cannot be drawn.
    """
    policy = policy or LabelPolicy()
    content = read_json(path)
    if not isinstance(content, dict) or "shapes" not in content:
        return None
    mask = _draw(path, content, size, policy.counts)
    _warn(path, content["shapes"], policy)
    return mask


def draw_labels(path: Path, size: tuple[int, ...], labels: Collection[str]) -> np.ndarray:
    """Draw the shapes with given labels, in the same way as ``read_labelme``.

    Args:
        path: A LabelMe file.
        size: Height and width of the image that the mask is for.
        labels: The labels of the shapes, in lower case.

    Returns:
        bool (H, W).

    Raises:
        BadFile: As for ``read_labelme``; also if it is not a LabelMe file.
    """
    return _draw(path, _labelme_content(path), size, lambda label: normal_label(label) in labels)


def labels_of(path: Path) -> list[str]:
    """Return the label of each shape of a LabelMe file, in lower case.

    Raises:
        BadFile: The file is damaged or not a LabelMe file.
    """
    return [normal_label(_label_of(shape)) for shape in _shapes_of(path, _labelme_content(path))]


def oddities(path: Path) -> list[str]:
    """Describe the shapes of a LabelMe file that were probably not meant as they are.

    Raises:
        BadFile: The file is damaged or not a LabelMe file.
    """
    texts = []
    for number, shape in enumerate(_shapes_of(path, _labelme_content(path)), 1):
        label = _label_of(shape)
        if not label.strip():
            texts.append(f"{path}: shape {number} has no label.")
        if not _encloses(shape):
            points = counted(len(shape["points"]), "point")
            texts.append(
                f"{path}: shape {number}, labeled {label!r}, is a polygon of {points}, which "
                "encloses no area."
            )
    return texts


def _labelme_content(path: Path) -> Mapping[str, Any]:
    content = read_json(path)
    if not isinstance(content, dict) or "shapes" not in content:
        raise BadFile(f"{path} is not a LabelMe file: it has no key 'shapes'.")
    return content


def _shapes_of(path: Path, content: Mapping[str, Any]) -> list[dict[str, Any]]:
    shapes = content["shapes"]
    if not isinstance(shapes, list) or not all(isinstance(shape, dict) for shape in shapes):
        raise BadFile(f"{path} is not a LabelMe file: its 'shapes' is not a list of shapes.")
    return shapes


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


def _label_of(shape: Mapping[str, Any]) -> str:
    return str(shape.get("label") or "")


def _draw(
    path: Path,
    content: Mapping[str, Any],
    size: tuple[int, ...],
    counts: Callable[[str], bool],
) -> np.ndarray:
    """Draw the shapes whose label counts; ``_background_`` cuts holes."""
    shapes = _shapes_of(path, content)
    frame = _frame_of(path, content, (size[0], size[1]))
    check_work(len(shapes), frame.size, str(path))
    check_work(sum(_kind_of(shape) == "mask" for shape in shapes), frame.annotated, str(path))
    mask = np.zeros(frame.size, dtype=bool)
    outside: list[str] = []
    for number, shape in enumerate(shapes, 1):
        label = _label_of(shape)
        is_hole = normal_label(label) in HOLE_LABELS
        if not is_hole and not counts(label):
            continue
        try:
            area = _shape_area(shape, frame)
        except (KeyError, TypeError, ValueError, OverflowError, S3potError) as error:
            raise BadFile(
                f"{path}: shape {number}, labeled {label!r}, cannot be drawn: {reason_of(error)}."
            ) from error
        if area is not None:
            mask[area] = not is_hole
            if not area.any():
                outside.append(label)
    if outside:
        logger.warning("%s: shapes that lie outside the image: %s", path, ", ".join(outside))
    return mask


def _warn(path: Path, shapes: Iterable[Mapping[str, Any]], policy: LabelPolicy) -> None:
    """Log what was left out, so that no ground truth shrinks silently."""
    labels = {_label_of(shape) for shape in shapes}
    labels = {label for label in labels if normal_label(label) not in HOLE_LABELS | IGNORE_LABELS}
    skipped = {
        _kind_of(shape)
        for shape in shapes
        if _kind_of(shape) in THIN_SHAPES or not _encloses(shape)
    }
    if skipped:
        logger.warning(
            "%s: shapes that enclose no area are skipped: %s", path, ", ".join(sorted(skipped))
        )
    if any(not label.strip() for label in labels):
        effect = "count as occluders" if policy.counts("") else "are left out"
        logger.warning("%s: shapes without a label %s", path, effect)
    if policy.labels and labels and not any(policy.counts(label) for label in labels):
        logger.warning(
            "%s: none of its labels (%s) is among truth.labels (%s), so nothing counts as occluded",
            path,
            ", ".join(sorted(labels)),
            ", ".join(policy.labels),
        )
    left_out = sorted(
        label
        for label in labels
        if not policy.labels and names_face(label) and normal_label(label) not in policy.ignore
    )
    if left_out:
        logger.warning(
            "%s: the labels %s name the face or a part of it, so they are left out; "
            "to count them as occluders, list all labels that count in truth.labels=...",
            path,
            ", ".join(left_out),
        )


def _frame_of(path: Path, content: Mapping[str, Any], size: tuple[int, int]) -> _Frame:
    """Find the scale from the annotated image to the target; BadFile if the frames differ."""
    width = content.get("imageWidth")
    height = content.get("imageHeight")
    if width is None or height is None:
        height, width = _embedded_size(content) or size
    is_number = all(
        isinstance(side, (int, float)) and not isinstance(side, bool) for side in (width, height)
    )
    if not is_number or not (1 <= width <= MAX_COORDINATE and 1 <= height <= MAX_COORDINATE):
        raise BadFile(
            f"{path} is not a LabelMe file: its imageWidth is {width!r} and its imageHeight "
            f"{height!r}; expected pixels, or null for the size of the image."
        )
    if abs(width * size[0] - height * size[1]) > max(width, height, *size):
        raise BadFile(
            f"{path} was drawn on an image of {width} x {height} pixels, but the image here has "
            f"{size[1]} x {size[0]}: the aspect ratios differ, so the frames do too. Annotate "
            "this image, or pass the annotations of the photos to generate_reference.py "
            "--truth_dir, which transforms them with the photo."
        )
    return _Frame(size, np.array([size[1] / width, size[0] / height]))


def _embedded_size(content: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return height and width of the image embedded in a LabelMe file; None if there is none."""
    data = content.get("imageData")
    if not isinstance(data, str) or not data:
        return None
    try:
        with Image.open(io.BytesIO(base64.b64decode(data)), formats=("PNG", "JPEG")) as image:
            is_sideways = image.getexif().get(EXIF_ORIENTATION, 1) in (5, 6, 7, 8)
            return (image.width, image.height) if is_sideways else (image.height, image.width)
    except (OSError, ValueError, Image.DecompressionBombError):
        return None


def _kind_of(shape: Mapping[str, Any]) -> str:
    return str(shape.get("shape_type") or "polygon")


def _encloses(shape: Mapping[str, Any]) -> bool:
    """Whether a polygon has enough corners; other kinds are checked when they are drawn."""
    if _kind_of(shape) != "polygon":
        return True
    points = shape.get("points")
    return not isinstance(points, list) or len(points) >= 3


def _shape_area(shape: Mapping[str, Any], frame: _Frame) -> np.ndarray | None:
    """Fill one shape: bool (H, W); None if it encloses no area.

    Raises:
        KeyError, TypeError, ValueError, OverflowError, S3potError: The shape is damaged or of an
            unknown kind.
    """
    kind = _kind_of(shape)
    if kind in THIN_SHAPES or not _encloses(shape):
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
        raise BadFile(f"it has {len(points)} points; expected 4")
    area = np.zeros(frame.size, dtype=np.uint8)
    cv2.fillPoly(area, [np.rint(points * frame.scale).astype(np.int32)], 1)
    return area.astype(bool)


def _rectangle_corners(points: np.ndarray) -> np.ndarray:
    """Return the four corners of a rectangle given by them or by two opposite corners."""
    if len(points) == 4:
        return points
    if len(points) != 2:
        raise BadFile(f"it has {len(points)} points; expected 2 opposite corners")
    (left, top), (right, bottom) = points
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)])


def _circle_area(points: np.ndarray, frame: _Frame) -> np.ndarray:
    """Fill a disc given by its center and a point on its rim."""
    if len(points) != 2:
        raise BadFile(f"it has {len(points)} points; expected center and rim")
    center = points[0] * frame.scale
    radii = np.linalg.norm(points[1] - points[0]) * frame.scale
    if not radii.all():
        raise BadFile("its radius is 0")
    y, x = np.ogrid[0 : frame.size[0], 0 : frame.size[1]]
    distance = ((x - center[0]) / radii[0]) ** 2 + ((y - center[1]) / radii[1]) ** 2
    return np.asarray(distance <= 1)


def _mask_area(shape: Mapping[str, Any], points: np.ndarray, frame: _Frame) -> np.ndarray:
    """Draw an embedded mask image with its top left corner at the first point."""
    if len(points) != 2 or not isinstance(shape.get("mask"), str):
        raise BadFile("it lacks the corners or the image of its mask")
    try:
        text = "".join(shape["mask"].split()).rpartition("base64,")[2]  # also in a data: URL
        encoded = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise BadFile(f"its mask is not base64 text ({error})") from error
    height, width = image_size(io.BytesIO(encoded))
    if height * width > _LARGEST_MASK * frame.annotated[0] * frame.annotated[1]:
        raise BadFile(f"its mask has {width} x {height} pixels, far more than the image")
    mask = read_mask(io.BytesIO(encoded), "its mask")
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
