"""The layouts in which a data set can be written, image by image."""

from __future__ import annotations

import logging
import shutil
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from typing_extensions import override

from s3pot.data.datasets.coco_writer import coco_instances, write_coco
from s3pot.data.datasets.converted_folder import RAW_IMAGES, SPLITS, TRUTH
from s3pot.data.datasets.faces_folder import FacesFolder
from s3pot.data.datasets.item import DatasetAdapter, DatasetError, DatasetItem, ItemLabels
from s3pot.data.datasets.labelme_folder import VISIBLE_FACE_LABEL
from s3pot.data.face_folder import (
    ALIGN,
    IGNORE,
    OCCLUSION,
    PARSING,
    RAW,
    REFERENCE,
    TRUE_PARSING,
    VISIBLE_FACE,
)
from s3pot.data.image import limit_of_size, read_rgb, write_png
from s3pot.data.labelme_writer import IGNORE_LABEL, write_labelme
from s3pot.io import atomic_path, write_bytes, write_npy
from s3pot.wording import brief, counted

logger = logging.getLogger(__name__)

_UNKNOWN = "unknown"  # key of the name of an image without a ground truth


@dataclass(frozen=True)
class LabeledImage:
    """An image with its labels.

    Attributes:
        item: Its item in the source data set.
        size: Height and width.
        labels: Its labels.
        companions: Its further files, by their endings, such as ``_clean.png``.
    """

    item: DatasetItem
    size: tuple[int, int]
    labels: ItemLabels
    companions: Mapping[str, Path] = field(default_factory=dict)

    @property
    def file_name(self) -> str:
        """The name of the copied image, relative to the folder of images."""
        return f"{self.item.name}{self.item.image.suffix.lower()}"


@dataclass(frozen=True)
class WrittenImage:
    """The files written for an image.

    Attributes:
        files: All of its files.
        content: Plain values that ``DatasetWriter.finish`` needs.
    """

    files: Sequence[Path]
    content: Mapping[str, Any] = field(default_factory=dict)


class DatasetWriter(ABC):
    """One layout in which a data set is written.

    Args:
        folder: The output folder.
    """

    format_name: str  # what the commands call it
    layout: str  # the layout in one line

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @abstractmethod
    def write(self, image: LabeledImage) -> WrittenImage:
        """Write one image and its labels; may be called from several threads."""

    def finish(self, contents: Sequence[Mapping[str, Any]]) -> Sequence[Path]:
        """Write the files that concern all images; returns them.

        Args:
            contents: ``WrittenImage.content`` of all images.
        """
        return ()

    def has_place_for(self, ending: str) -> bool:
        """Whether the layout holds the companions, or the true classes, with this ending."""
        return False

    def left_out(self, image: LabeledImage) -> list[str]:
        """List the endings of the files of an image for which the layout has no place."""
        endings = list(image.companions)
        if image.labels.parsing is not None:
            endings.append(TRUE_PARSING)
        return [ending for ending in endings if not self.has_place_for(ending)]

    def copy_companions(self, image: LabeledImage, folder: Path) -> list[Path]:
        """Copy those companions of an image for which the layout has a place; returns the copies.

        Args:
            image: The image.
            folder: The folder of the copies.
        """
        copies = []
        for ending, source in image.companions.items():
            if self.has_place_for(ending):
                copies.append(_copy(source, folder / f"{image.item.name}{ending}"))
        return copies


class ConvertedFolderWriter(DatasetWriter):
    """``raw_images/`` and ``truth/``, for ``generate_reference.py``."""

    format_name = "s3pot"
    layout = f"{RAW_IMAGES}/, {TRUTH}/ and {SPLITS}/, for generate_reference.py"

    @override
    def write(self, image: LabeledImage) -> WrittenImage:
        copied = copy_image(image, self.folder / RAW_IMAGES)
        files = write_truths(self.folder / TRUTH, image)
        files += self.copy_companions(image, self.folder / TRUTH)
        content = {"name": image.item.name, "splits": list(image.item.splits)}
        return WrittenImage([copied, *files], content)

    @override
    def has_place_for(self, ending: str) -> bool:
        # What generate_reference.py makes of a photo is no truth of it; <image>.json would be one.
        return ending.startswith("_") and ending not in (REFERENCE, PARSING, ALIGN)

    @override
    def finish(self, contents: Sequence[Mapping[str, Any]]) -> Sequence[Path]:
        splits: dict[str, list[str]] = {}
        for content in contents:
            for split in content["splits"]:
                splits.setdefault(split, []).append(content["name"])
        paths = {split: self.folder / SPLITS / f"{split}.txt" for split in splits}
        for split, names in splits.items():
            write_name_list(paths[split], names)
        return list(paths.values())


class FoldersWriter(DatasetWriter):
    """``images/`` and a folder of masks for each kind of label."""

    format_name = "folders"
    layout = "images/, and occlusion/, visible_face/ and ignore/ with masks of 0 and 255"

    @override
    def write(self, image: LabeledImage) -> WrittenImage:
        labels = image.labels
        masks = {
            "occlusion": labels.occlusion,
            "visible_face": labels.visible_face,
            "ignore": labels.ignored,
        }
        name = f"{image.item.name}.png"
        files = _write_masks({self.folder / kind / name: mask for kind, mask in masks.items()})
        return WrittenImage([copy_image(image, self.folder / "images"), *files])


class CocoWriter(DatasetWriter):
    """``images/`` and ``annotations.json``.

    Args:
        folder: The output folder.
        as_polygons: Write polygons if they reproduce the mask exactly, otherwise run lengths.
    """

    format_name = "coco"
    layout = "images/ and annotations.json with run lengths or polygons"

    # An image that annotations.json lists without annotations is an unoccluded face. One whose
    # occlusion is not known is therefore left out.

    def __init__(self, folder: Path, as_polygons: bool) -> None:
        super().__init__(folder)
        self.as_polygons = as_polygons

    @override
    def write(self, image: LabeledImage) -> WrittenImage:
        if not _is_known(image.labels):
            return WrittenImage([], {_UNKNOWN: image.item.name})
        content = {
            "file_name": image.file_name,
            "width": image.size[1],
            "height": image.size[0],
            "instances": coco_instances(image.labels, self.as_polygons),
        }
        return WrittenImage([copy_image(image, self.folder / "images")], content)

    @override
    def finish(self, contents: Sequence[Mapping[str, Any]]) -> Sequence[Path]:
        known = [content for content in contents if _UNKNOWN not in content]
        path = self.folder / "annotations.json"
        write_coco(path, known)
        _warn_of_unknown(
            contents,
            f"{path} leaves such images out, because one without annotations is an unoccluded "
            "face.",
        )
        return [path]


class LabelMeWriter(DatasetWriter):
    """Images with LabelMe files beside them, in ``images/``."""

    format_name = "labelme"
    layout = "images/ with LabelMe files beside the images"

    @override
    def write(self, image: LabeledImage) -> WrittenImage:
        labels = image.labels
        if not _is_known(labels):  # the image without a file, as LabelMe has it before labeling
            copied = copy_image(image, self.folder / "images")
            return WrittenImage([copied], {_UNKNOWN: image.item.name})
        masks = {
            "occlusion": labels.occlusion,
            VISIBLE_FACE_LABEL: labels.visible_face,
            IGNORE_LABEL: labels.ignored,
        }
        folder = self.folder / "images"
        path = folder / f"{image.item.name}.json"
        given_masks = {label: mask for label, mask in masks.items() if mask is not None}
        write_labelme(path, Path(image.file_name).name, image.size, given_masks)
        return WrittenImage([copy_image(image, folder), path])

    @override
    def finish(self, contents: Sequence[Mapping[str, Any]]) -> Sequence[Path]:
        _warn_of_unknown(
            contents,
            "Such an image has no LabelMe file, because one without shapes is that of an "
            "unoccluded face.",
        )
        return ()


class FacesWriter(DatasetWriter):
    """The folder contract, for a data set that already has references and parsings.

    Args:
        folder: The output folder.
        adapter: The source data set.

    Raises:
        DatasetError: The source has no references and parsings.
    """

    format_name = "faces"
    layout = "the files that generate_reference.py writes; from authors and faces only"

    def __init__(self, folder: Path, adapter: DatasetAdapter) -> None:
        super().__init__(folder)
        if not isinstance(adapter, FacesFolder):
            raise DatasetError(
                f"The format {adapter.format_name} has no references and parsings, so it cannot "
                "become faces. Convert it to s3pot and run generate_reference.py to create them."
            )

    @override
    def write(self, image: LabeledImage) -> WrittenImage:
        raw = self.folder / f"{image.item.name}{RAW}"
        write_png(raw, read_rgb(image.item.image, limit_of_size(image.size)))
        files = write_truths(self.folder, image)
        files += self.copy_companions(image, self.folder)  # among them reference and parsing
        return WrittenImage([raw, *files])

    @override
    def has_place_for(self, ending: str) -> bool:
        return ending.startswith("_")


def copy_image(image: LabeledImage, folder: Path) -> Path:
    """Copy an image file unchanged; returns the copy's path."""
    return _copy(image.item.image, folder / image.file_name)


def _copy(source: Path, target: Path) -> Path:
    with atomic_path(target) as temporary:
        shutil.copyfile(source, temporary)
    return target


def write_truths(folder: Path, image: LabeledImage) -> list[Path]:
    """Write the ground truth of an image under the endings of the folder contract.

    Files of an earlier run that no longer apply are removed.
    """
    labels = image.labels
    stem = folder / image.item.name
    masks = {OCCLUSION: labels.occlusion, VISIBLE_FACE: labels.visible_face, IGNORE: labels.ignored}
    files = _write_masks({Path(f"{stem}{end}"): mask for end, mask in masks.items()})
    parsing = Path(f"{stem}{TRUE_PARSING}")
    if labels.parsing is None:
        parsing.unlink(missing_ok=True)
    else:
        write_npy(parsing, labels.parsing)
        files.append(parsing)
    return files


def _is_known(labels: ItemLabels) -> bool:
    """Whether a list of objects can say what is occluded: an empty one means that nothing is."""
    sees_face = labels.visible_face is not None and bool(labels.visible_face.any())
    return labels.occlusion is not None or sees_face


def _warn_of_unknown(contents: Sequence[Mapping[str, Any]], consequence: str) -> None:
    """Name the images whose occlusion is not known.

    Args:
        contents: ``WrittenImage.content`` of all images.
        consequence: What became of them, as a sentence.
    """
    names = [str(content[_UNKNOWN]) for content in contents if _UNKNOWN in content]
    if names:
        logger.warning(
            "No ground truth, or only an empty visible face, is known for %s: %s. %s",
            counted(len(names), "image"),
            brief(names),
            consequence,
        )


def write_name_list(path: Path, names: Sequence[str]) -> None:
    """Write names, one on each line, sorted."""
    text = "".join(f"{name}\n" for name in sorted(names))
    write_bytes(path, text.encode("utf-8", errors="surrogateescape"))


def _write_masks(masks: Mapping[Path, np.ndarray | None]) -> list[Path]:
    """Write the known masks; files of masks that are no longer known are removed."""
    written = []
    for path, mask in masks.items():
        if mask is None:
            path.unlink(missing_ok=True)
        else:
            write_png(path, mask)
            written.append(path)
    return written
