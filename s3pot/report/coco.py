"""The masks of segmented faces as COCO instances with run lengths, in the frames of their photos.

Each face has a file of its own, ``<name>_coco.json``. The last step of a run collects these files,
also those of earlier runs and other processes, in one for the folder. Faces of the same photo are
then instances of one image.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from s3pot.data.datasets.coco_writer import coco_instances, is_own_coco, write_coco
from s3pot.data.datasets.item import ItemLabels
from s3pot.geometry import Alignment
from s3pot.io import read_json, write_json
from s3pot.rg.warp import to_photo
from s3pot.types import Masks, S3potError
from s3pot.wording import brief, counted

logger = logging.getLogger(__name__)

COCO_FACE = "_coco.json"  # ending of the file of one face
COCO_FOLDER = "occlusions_coco.json"  # name of the file of a folder


@dataclass(frozen=True)
class PhotoPlace:
    """The position of a face in its photo.

    Attributes:
        file_name: The photo's file name; its folder is that of the face's name.
        alignment: The transform to the photo.
    """

    file_name: str
    alignment: Alignment


def write_coco_face(output_dir: Path, name: str, masks: Masks, place: PhotoPlace | None) -> Path:
    """Write the COCO instances of one face.

    Args:
        output_dir: Result folder.
        name: The name of the face; sub-folders are kept.
        masks: Its masks, in the frame of the working image.
        place: Its position in its photo; None describes the working image instead.

    Returns:
        The file.

    Raises:
        S3potError: The file of this face would be that of the folder.
    """
    path = output_dir / f"{name}{COCO_FACE}"
    if path == output_dir / COCO_FOLDER:
        raise S3potError(
            f"{path} cannot hold the masks of the face {name}, because those of all faces go "
            "there. Rename the face or its photo, or leave out --save_coco."
        )
    file_name = f"{name}.png"
    occlusion, face = masks.occlusion, masks.face
    if place is not None:
        file_name = str(PurePosixPath(name).with_name(place.file_name))
        occlusion, face = to_photo(occlusion, place.alignment), to_photo(face, place.alignment)
    height, width = occlusion.shape
    labels = ItemLabels(occlusion=occlusion, visible_face=face)
    instances = coco_instances(labels, as_polygons=False)
    image = {"file_name": file_name, "width": width, "height": height, "instances": instances}
    write_json(path, image)
    return path


def refuse_foreign_coco(output_dir: Path) -> None:
    """Make sure that the COCO file of a folder would replace none of somebody else.

    Raises:
        S3potError: It would.
    """
    path = output_dir / COCO_FOLDER
    if path.exists() and not is_own_coco(path):
        raise S3potError(
            f"{path} would be replaced, but was not written by s3pot; move it elsewhere, or choose "
            "another folder for the results."
        )


def write_coco_folder(output_dir: Path, rows: Sequence[Mapping[str, Any]], is_wanted: bool) -> None:
    """Collect the files of all faces in COCO_FOLDER; those without a file are named in a warning.

    Args:
        output_dir: Result folder.
        rows: The rows of the summary.
        is_wanted: Whether this run writes COCO files. The file of an earlier run is written anew in
            any case, so that it agrees with the summary.
    """
    path = output_dir / COCO_FOLDER
    if not is_wanted and not path.is_file():
        return
    images: dict[tuple[str, int, int], dict[str, Any]] = {}
    missing = []
    for row in rows:
        image = _read_coco_face(output_dir / f"{row['name']}{COCO_FACE}")
        if image is None:
            missing.append(str(row["name"]))
            continue
        same = images.setdefault((image["file_name"], image["width"], image["height"]), image)
        if same is not image:
            same["instances"] += image["instances"]
    if missing:
        logger.warning(
            "%s lacks %s without a readable *%s: %s. The same command with --save_coco adds them.",
            path,
            counted(len(missing), "face"),
            COCO_FACE,
            brief(missing),
        )
    write_coco(path, images.values())


def _read_coco_face(path: Path) -> dict[str, Any] | None:
    """Read the file of a face; None if it is missing or damaged."""
    try:
        image = read_json(path)
        return {
            "file_name": str(image["file_name"]),
            "width": int(image["width"]),
            "height": int(image["height"]),
            "instances": [dict(instance) for instance in image["instances"]],
        }
    except (S3potError, LookupError, TypeError, ValueError):
        return None
