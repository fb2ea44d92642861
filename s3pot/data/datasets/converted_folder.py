"""The layout of a converted data set: ``raw_images/``, ``truth/``, and optionally ``splits/``.

``generate_reference.py --input_dir D/raw_images --truth_dir D/truth`` continues from there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

from typing_extensions import override

from s3pot.data.datasets.companions import files_by_owner, owner_of
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
from s3pot.data.face_folder import IGNORE, TRUE_PARSING, VISIBLE_FACE, load_labels
from s3pot.data.folders import walk
from s3pot.data.label_policy import LabelPolicy
from s3pot.data.labelme import oddities
from s3pot.data.masks import read_mask_of_size
from s3pot.data.truth import decode_truth
from s3pot.data.truth_paths import find_further_truths, find_truth
from s3pot.wording import brief

RAW_IMAGES = "raw_images"
TRUTH = "truth"
SPLITS = "splits"


class ConvertedFolder(DatasetAdapter):
    """Images and their ground truths as written by ``s3pot data convert``.

    Args:
        root: Folder of ``raw_images`` and ``truth``.
        policy: Which labels of LabelMe files are occluders.
    """

    format_name = "s3pot"
    layout = (
        f"{RAW_IMAGES}/ and {TRUTH}/ with <image>_occlusion.png, <image>_visible_face.png, "
        "<image>_ignore.png, <image>_true_parsing.npy and <image>_clean.png, as far as they are "
        "known"
    )

    def __init__(self, root: Path, policy: LabelPolicy) -> None:
        super().__init__(root)
        self.policy = policy
        self.images = self.require_folder(RAW_IMAGES)
        self.truth = self.require_folder(TRUTH)

    @override
    def items(self) -> Sequence[DatasetItem]:
        return self.images_of(self.images, self._splits())

    @override
    def labels(self, item: DatasetItem, size: tuple[int, int]) -> ItemLabels:
        files = self.label_files(item)
        parsing = load_labels(files[TRUE_PARSING]) if TRUE_PARSING in files else None
        if parsing is not None and parsing.shape != size:
            raise DatasetError(
                f"{files[TRUE_PARSING]} is {parsing.shape[1]} x {parsing.shape[0]}; expected "
                f"{size[1]} x {size[0]}, the size of its image."
            )
        visible_face = files.get(VISIBLE_FACE)
        ignored = files.get(IGNORE)
        truth = files.get("truth")
        drawn = truth if truth is not None and truth.suffix.lower() == ".json" else None
        return ItemLabels(
            occlusion=None if truth is None else decode_truth(truth, size, self.policy),
            visible_face=None if visible_face is None else read_mask_of_size(visible_face, size),
            ignored=None if ignored is None else read_mask_of_size(ignored, size),
            parsing=parsing,
            oddities=() if drawn is None else oddities(drawn),
        )

    @override
    def label_files(self, item: DatasetItem) -> Mapping[str, Path]:
        truth = find_truth(self.truth, item.name, item.image)
        further = find_further_truths(self.truth, item.name)
        return dict(further) if truth is None else {"truth": truth, **further}

    @override
    def companions(self, item: DatasetItem) -> Mapping[str, Path]:
        labels = self.label_files(item).values()
        files = self._truths_by_image.get(item.name, {})
        return {ending: path for ending, path in files.items() if path not in labels}

    @cached_property
    def _truths_by_image(self) -> Mapping[str, Mapping[str, Path]]:
        return files_by_owner(self.truth, {item.name for item in list_images(self.images)})

    @override
    def problems(self) -> Sequence[str]:
        names = {item.name for item in list_images(self.images)}
        lonely = []
        for path in walk(self.truth).files:
            relative = path.relative_to(self.truth)
            if owner_of(relative, names) is None:
                lonely.append(relative.as_posix())
        problems = double_masks(self.truth)
        if lonely:
            problems.append(f"{self.truth} holds ground truths without an image: {brief(lonely)}.")
        return problems + names_without_image(self.root / SPLITS, self._splits(), names)

    def _splits(self) -> dict[str, set[str]]:
        return read_splits(self.root / SPLITS)
