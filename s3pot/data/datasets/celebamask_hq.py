"""CelebAMask-HQ (Lee et al., CVPR 2020): one mask for each image and part, 19 classes.

The files are ``CelebA-HQ-img/<n>.jpg`` at 1024 pixels, and at 512 pixels
``CelebAMask-HQ-mask-anno/<n // 2000>/<n in five digits>_<part>.png``.

If a part is occluded, only its visible pixels are labeled. The union of all parts of the face is
therefore the visible face; RealOcc's authors found about 4,000 faces for which this does not hold.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from typing_extensions import override

from s3pot.data.datasets.item import (
    DatasetAdapter,
    DatasetError,
    DatasetItem,
    ItemLabels,
)
from s3pot.data.folders import walk
from s3pot.data.image import limit_of_size
from s3pot.data.image_formats import IMAGE_SUFFIXES
from s3pot.data.masks import read_mask
from s3pot.labels import CELEBAMASKHQ_TO_12, region_of, resize_labels
from s3pot.wording import brief

IMAGES = "CelebA-HQ-img"
MASKS = "CelebAMask-HQ-mask-anno"
IMAGES_PER_FOLDER = 2000
MASK_SIZE = (512, 512)
# Drawn in this order, later ones over earlier ones; the class of a part is its position, from 1.
MASK_PARTS = (
    "skin nose eye_g l_eye r_eye l_brow r_brow l_ear r_ear mouth u_lip l_lip hair hat ear_r neck_l "
    "neck cloth"
).split()
SKIN = MASK_PARTS[0]  # the part that every face has
_MASK_NAME = re.compile(r"([0-9]{5,})_(\w+)")


class CelebAMaskHQ(DatasetAdapter):
    """Images with a true class map, and the visible face derived from it."""

    format_name = "celebamask-hq"
    layout = f"{IMAGES}/<n>.jpg and {MASKS}/<n // {IMAGES_PER_FOLDER}>/<n in 5 digits>_<part>.png"

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.images = self.require_folder(IMAGES)
        self.masks = self.require_folder(MASKS)

    @override
    def items(self) -> Sequence[DatasetItem]:
        paths = [path for path in self.images.glob("*.jpg") if path.stem.isdecimal()]
        if not paths:
            raise DatasetError(f"{self.images} holds no <n>.jpg; expected {self.layout}.")
        paths.sort(key=lambda path: (int(path.stem), len(path.stem)))
        items = []
        first_of: dict[int, Path] = {}
        for path in paths:
            first = first_of.setdefault(int(path.stem), path)
            problem = (
                None
                if path == first
                else f"{path} has the number of {first}, and so its masks; remove one of the two."
            )
            items.append(DatasetItem(path.stem, path, problem=problem))
        return items

    @override
    def labels(self, item: DatasetItem, size: tuple[int, int]) -> ItemLabels:
        files = self.label_files(item)
        if not files:
            number = int(item.image.stem)
            wanted = self._folder(number) / f"{number:05d}_<part>.png"
            raise DatasetError(f"{item.image} has no masks: {wanted} does not exist.")
        classes = np.zeros(MASK_SIZE, np.uint8)
        for part, path in files.items():
            classes[_read_part(path)] = 1 + MASK_PARTS.index(part)
        parsing = resize_labels(np.array(CELEBAMASKHQ_TO_12, np.uint8)[classes], size)
        return ItemLabels(visible_face=region_of(parsing), parsing=parsing)

    @override
    def label_files(self, item: DatasetItem) -> Mapping[str, Path]:
        number = int(item.image.stem)
        files = {part: self._folder(number) / f"{number:05d}_{part}.png" for part in MASK_PARTS}
        return {part: path for part, path in files.items() if path.is_file()}

    @override
    def problems(self) -> Sequence[str]:
        numbers = {int(item.name) for item in self.items()}
        lonely: set[int] = set()
        parts: dict[int, set[str]] = defaultdict(set)
        problems = []
        for path in sorted(self.masks.rglob("*.png")):
            match = _MASK_NAME.fullmatch(path.stem)
            is_named_so = match is not None and match[1] == f"{int(match[1]):05d}"
            if match is None or not is_named_so or match[2] not in MASK_PARTS:
                problems.append(
                    f"{path} is not named <n in 5 digits>_<part>.png, where <part> is one of "
                    f"{', '.join(MASK_PARTS)}."
                )
            elif path.parent != self._folder(int(match[1])):
                problems.append(f"{path} belongs in {self._folder(int(match[1]))}.")
            elif int(match[1]) not in numbers:
                lonely.add(int(match[1]))
            else:
                parts[int(match[1])].add(match[2])
        images = [path for path in walk(self.images).files if path.suffix.lower() in IMAGE_SUFFIXES]
        known = {item.image for item in self.items()}
        unknown = [path.relative_to(self.images) for path in images if path not in known]
        if unknown:
            problems.append(
                f"{self.images} holds images that are not named <n>.jpg: {brief(unknown)}."
            )
        if lonely:
            names = [f"{number}.jpg" for number in sorted(lonely)]
            problems.append(
                f"{self.masks} holds masks of images that do not exist: {brief(names)}."
            )
        for number in sorted(parts):
            if SKIN not in parts[number]:
                path = self._folder(number) / f"{number:05d}_{SKIN}.png"
                problems.append(f"{path} does not exist, so the face of {number}.jpg has no skin.")
        return problems

    def _folder(self, number: int) -> Path:
        return self.masks / str(number // IMAGES_PER_FOLDER)


def _read_part(path: Path) -> np.ndarray:
    """Read the mask of a part, bool (512, 512).

    Raises:
        S3potError: It is not a mask, or has another size.
    """
    mask = read_mask(path, max_pixels=limit_of_size(MASK_SIZE))
    if mask.shape != MASK_SIZE:
        raise DatasetError(
            f"{path} is {mask.shape[1]} x {mask.shape[0]}; the masks of CelebAMask-HQ are "
            f"{MASK_SIZE[1]} x {MASK_SIZE[0]}, whatever the size of the images."
        )
    return mask
