"""Annotations drawn with LabelMe, read as one mask of what covers the face."""

from __future__ import annotations

import base64
import io
import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from s3pot.data.image import EXIF_ORIENTATION
from s3pot.data.label_policy import IGNORE_LABELS, LabelPolicy, names_face, normal_label
from s3pot.data.labelme_shapes import (
    MAX_COORDINATE,
    THIN_SHAPES,
    AnnotatedFrame,
    check_work,
    encloses,
    kind_of,
    shape_area,
)
from s3pot.io import BadFile, read_json
from s3pot.types import S3potError
from s3pot.wording import counted, reason_of

logger = logging.getLogger(__name__)

# LabelMe's own label for a shape that cuts a hole into earlier shapes, and a common alternative.
HOLE_LABELS = frozenset({"_background_", "__background__", "hole"})

LABELME_SUFFIXES = (".json", ".JSON")
JSON_FILES = "*.[jJ][sS][oO][nN]"  # a pattern for ``Path.glob``


def find_labelme(stem: Path) -> Path | None:
    """Find the LabelMe file of a path without extension; None if there is none."""
    for suffix in LABELME_SUFFIXES:
        path = stem.with_name(stem.name + suffix)
        if path.is_file() and holds_shapes(path):
            return path
    return None


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
        if not encloses(shape):
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
    check_work(sum(kind_of(shape) == "mask" for shape in shapes), frame.annotated, str(path))
    mask = np.zeros(frame.size, dtype=bool)
    outside: list[str] = []
    for number, shape in enumerate(shapes, 1):
        label = _label_of(shape)
        is_hole = normal_label(label) in HOLE_LABELS
        if not is_hole and not counts(label):
            continue
        try:
            area = shape_area(shape, frame)
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
        kind_of(shape) for shape in shapes if kind_of(shape) in THIN_SHAPES or not encloses(shape)
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


def _frame_of(path: Path, content: Mapping[str, Any], size: tuple[int, int]) -> AnnotatedFrame:
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
    return AnnotatedFrame(size, np.array([size[1] / width, size[0] / height]))


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
