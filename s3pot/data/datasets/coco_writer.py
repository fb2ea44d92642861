"""Writing COCO instance JSON, with a category for each kind of label."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from s3pot.data.datasets import run_lengths
from s3pot.data.datasets.edge_polygons import edge_polygons
from s3pot.data.datasets.item import ItemLabels
from s3pot.data.masks import MARKS_FACE, MARKS_OCCLUSION
from s3pot.io import read_json, write_json
from s3pot.types import S3potError

MARKS_IGNORED = "ignore"
DESCRIPTION = "occlusions of faces, written by s3pot"
CATEGORIES = (MARKS_OCCLUSION, MARKS_FACE, MARKS_IGNORED)  # the written categories, numbered from 1


def coco_instances(labels: ItemLabels, as_polygons: bool) -> list[dict[str, Any]]:
    """Convert the labels of an image to COCO instances, one for each kind of label.

    Args:
        labels: The labels of the image.
        as_polygons: Write polygons if they reproduce the mask exactly, otherwise run lengths.

    Returns:
        Instances without ``id`` and ``image_id``.
    """
    masks = {
        MARKS_OCCLUSION: labels.occlusion,
        MARKS_FACE: labels.visible_face,
        MARKS_IGNORED: labels.ignored,
    }
    instances = []
    for category, mask in masks.items():
        if mask is None or not mask.any():
            continue
        rows = np.flatnonzero(mask.any(axis=1))
        columns = np.flatnonzero(mask.any(axis=0))
        left = int(columns[0])
        top = int(rows[0])
        polygons = edge_polygons(mask) if as_polygons else None
        instances.append(
            {
                "category_id": 1 + CATEGORIES.index(category),
                "iscrowd": int(category == MARKS_IGNORED),  # excluded from COCO's own scores
                "area": int(mask.sum()),
                "bbox": [left, top, int(columns[-1]) - left + 1, int(rows[-1]) - top + 1],
                "segmentation": _segmentation(mask, polygons),
            }
        )
    return instances


def _segmentation(mask: np.ndarray, polygons: list[np.ndarray] | None) -> Any:
    if polygons:
        return [polygon.ravel().tolist() for polygon in polygons]
    return {"size": list(mask.shape), "counts": run_lengths.to_text(run_lengths.encode(mask))}


def write_coco(path: Path, images: Iterable[Mapping[str, Any]]) -> None:
    """Write a COCO file.

    Args:
        path: The JSON file.
        images: For each image ``file_name``, ``width``, ``height`` and ``instances``, as
            ``coco_instances`` returns them.
    """
    entries: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, image in enumerate(images, 1):
        entry = {key: image[key] for key in ("file_name", "width", "height")}
        entries.append({"id": image_id, **entry})
        for instance in image["instances"]:
            annotations.append({"id": len(annotations) + 1, "image_id": image_id, **instance})
    categories = [
        {"id": number, "name": name, "supercategory": "face"}
        for number, name in enumerate(CATEGORIES, 1)
    ]
    content = {"images": entries, "annotations": annotations, "categories": categories}
    write_json(path, {"info": {"description": DESCRIPTION}, **content})


def is_own_coco(path: Path) -> bool:
    """Whether a file exists and was written by ``write_coco``."""
    try:
        return bool(read_json(path)["info"]["description"] == DESCRIPTION)
    except (S3potError, LookupError, TypeError):
        return False
