"""Data sets with two folders, images and masks with the same names.

RealOcc and RealOcc-Wild (Voo et al., CVPR Workshops 2022): ``image/``, ``mask/`` with the visible
face as 0 and 1, and lists of names in ``split/``. COFW (Burgos-Artizzu et al., ICCV 2013) with the
masks of FaceOcc (Yin and Chen, 2022): ``COFW_test/img/`` and ``COFW_test/mask/`` with the visible
face as 0 and 255.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from typing_extensions import override

from s3pot.data.datasets.item import (
    DatasetAdapter,
    DatasetError,
    DatasetItem,
    ItemLabels,
    double_masks,
    list_images,
    names_without_image,
    read_splits,
)
from s3pot.data.image_formats import IMAGE_SUFFIXES
from s3pot.data.masks import MARKS_FACE, POLARITIES, find_mask, read_mask_of_size
from s3pot.wording import brief

SPLIT = "split"  # folder of lists of names
COFW_IMAGES = ("img", "image", "images")  # the folder's name in FaceOcc and in copies of it


@dataclass(frozen=True)
class FolderNames:
    """The folders of a data set, relative to its root.

    Attributes:
        images: Folder of images.
        masks: Folder of masks.
        polarity: What the masks mark: ``occlusion`` or ``visible_face``.
        ignored: Folder of masks of pixels excluded from all scores; empty if there is none.
        mask_ending: The suffix that masks' names add to those of their images, such as ``_mask``.
    """

    images: str
    masks: str
    polarity: str
    ignored: str = ""
    mask_ending: str = ""


class ImageMaskFolders(DatasetAdapter):
    """A folder of images and one of masks, paired by their paths without extension.

    Args:
        root: Folder that holds both.
        names: The folders' names.

    Raises:
        DatasetError: A folder is missing, or the polarity is unknown.
    """

    format_name = "folders"
    layout = "a folder of images and one of masks with the same names"

    def __init__(self, root: Path, names: FolderNames) -> None:
        super().__init__(root)
        if names.polarity not in POLARITIES:
            raise DatasetError(
                f"The polarity of the masks is {names.polarity!r}; specify with --polarity what "
                f"they mark: {' or '.join(POLARITIES)}."
            )
        self.names = names
        self.images = self.require_folder(names.images)
        self.masks = self.require_folder(names.masks)
        if self.images.resolve() == self.masks.resolve():
            raise DatasetError(f"{self.images} cannot hold both images and masks.")
        self.ignored = self.require_folder(names.ignored) if names.ignored else None

    @override
    def items(self) -> Sequence[DatasetItem]:
        return self.images_of(self.images, self._splits())

    @override
    def labels(self, item: DatasetItem, size: tuple[int, int]) -> ItemLabels:
        files = self.label_files(item)
        if "mask" not in files:
            wanted = self.masks / f"{item.name}{self.names.mask_ending}.png"
            raise DatasetError(f"{item.image} has no mask: {wanted} does not exist.")
        mask = read_mask_of_size(files["mask"], size)
        ignored = read_mask_of_size(files["ignored"], size) if "ignored" in files else None
        if self.names.polarity == MARKS_FACE:
            return ItemLabels(visible_face=mask, ignored=ignored)
        return ItemLabels(occlusion=mask, ignored=ignored)

    @override
    def label_files(self, item: DatasetItem) -> Mapping[str, Path]:
        folders = {"mask": self.masks, "ignored": self.ignored}
        files = {}
        for role, folder in folders.items():
            path = None if folder is None else self._mask_in(folder, item)
            if path is not None:
                files[role] = path
        return files

    def _mask_in(self, folder: Path, item: DatasetItem) -> Path | None:
        stem = f"{item.name}{self.names.mask_ending}"
        return find_mask(folder / stem)

    @override
    def problems(self) -> Sequence[str]:
        names = {item.name for item in list_images(self.images)}
        problems = double_masks(self.masks)
        if self.ignored is not None:
            problems += double_masks(self.ignored)
        masks = list_images(self.masks)
        ending = self.names.mask_ending
        lonely = [mask.image.name for mask in masks if mask.name.removesuffix(ending) not in names]
        if lonely:
            problems.append(f"{self.masks} holds masks without an image: {brief(lonely)}.")
        return problems + names_without_image(self.root / SPLIT, self._splits(), names)

    def _splits(self) -> dict[str, set[str]]:
        splits = read_splits(self.root / SPLIT)
        return {split: set(map(_without_ending, names)) for split, names in splits.items()}


def _without_ending(name: str) -> str:
    """Remove the image extension, which lists may or may not have, from a listed name."""
    ending = next((suffix for suffix in IMAGE_SUFFIXES if name.lower().endswith(suffix)), "")
    return name[: len(name) - len(ending)]


class RealOcc(ImageMaskFolders):
    """RealOcc or RealOcc-Wild; see the module's docstring."""

    format_name = "realocc"
    layout = "image/, mask/ with the visible face as 0 and 1, and optionally split/*.txt"

    def __init__(self, root: Path) -> None:
        super().__init__(root, FolderNames("image", "mask", MARKS_FACE))


class CofwFaceOcc(ImageMaskFolders):
    """COFW's test images with the masks of FaceOcc; see the module's docstring.

    Args:
        root: The folder of FaceOcc, which holds ``COFW_test``, or ``COFW_test`` itself.
    """

    format_name = "cofw"
    layout = "COFW_test/img/ and COFW_test/mask/ with the visible face as 0 and 255"

    def __init__(self, root: Path) -> None:
        inner = root / "COFW_test"
        folder = inner if inner.is_dir() else root
        existing = [name for name in COFW_IMAGES if (folder / name).is_dir()]
        images = existing[0] if existing else COFW_IMAGES[0]
        super().__init__(folder, FolderNames(images, "mask", MARKS_FACE))
