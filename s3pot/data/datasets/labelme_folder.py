"""A folder of images with LabelMe files of the same names beside them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from typing_extensions import override

from s3pot.data.datasets.item import (
    DatasetAdapter,
    DatasetError,
    DatasetItem,
    ItemLabels,
    list_images,
)
from s3pot.data.folders import walk
from s3pot.data.label_policy import IGNORE_LABELS, LabelPolicy
from s3pot.data.labelme import (
    HOLE_LABELS,
    draw_labels,
    find_labelme,
    holds_shapes,
    labels_of,
    oddities,
    read_labelme,
)

VISIBLE_FACE_LABEL = "visible_face"


class LabelMeFolder(DatasetAdapter):
    """Images and LabelMe files; an image without one is not labeled.

    Args:
        root: Folder of both, including its sub-folders.
        policy: Which labels are occluders.
    """

    format_name = "labelme"
    layout = "images with LabelMe files <image>.json beside them"

    def __init__(self, root: Path, policy: LabelPolicy) -> None:
        super().__init__(root)
        self.policy = policy

    @override
    def items(self) -> Sequence[DatasetItem]:
        items = list_images(self.root)
        if not any(self.label_files(item) for item in items):
            raise DatasetError(f"{self.root} holds no {self.layout}.")
        return items

    @override
    def labels(self, item: DatasetItem, size: tuple[int, int]) -> ItemLabels:
        files = self.label_files(item)
        return labelme_labels(files["labels"], size, self.policy) if files else ItemLabels()

    @override
    def label_files(self, item: DatasetItem) -> Mapping[str, Path]:
        path = find_labelme(self.root / item.name)
        return {} if path is None else {"labels": path}

    @override
    def problems(self) -> Sequence[str]:
        names = {item.name for item in list_images(self.root)}
        problems = []
        for path in walk(self.root).files:
            name = path.relative_to(self.root).with_suffix("").as_posix()
            if path.suffix.lower() == ".json" and name not in names and holds_shapes(path):
                problems.append(f"{path} has no image of the same name beside it.")
        return problems


def labelme_labels(path: Path, size: tuple[int, int], policy: LabelPolicy) -> ItemLabels:
    """Read the labels of an image of this height and width from a LabelMe file.

    Shapes labeled ``visible_face`` form the visible face; ``__ignore__``, ``void`` and the like
    mark pixels excluded from all scores; all others are occluders according to ``policy``. Without
    shapes, the face is unoccluded.

    Raises:
        S3potError: It is not a LabelMe file, or a shape cannot be drawn; the message names file,
            shape and key.
    """
    counts = Counter(label for label in labels_of(path) if label not in HOLE_LABELS)
    has_visible_face = VISIBLE_FACE_LABEL in counts
    has_occluders = any(policy.counts(label) for label in counts)
    ignored = [label for label in counts if label in IGNORE_LABELS and not policy.counts(label)]
    occlusion: np.ndarray | None = None
    if has_occluders or not has_visible_face:
        occlusion = read_labelme(path, size, policy)
    return ItemLabels(
        occlusion=occlusion,
        visible_face=draw_labels(path, size, [VISIBLE_FACE_LABEL]) if has_visible_face else None,
        ignored=draw_labels(path, size, ignored) if ignored else None,
        shapes=dict(counts),
        oddities=oddities(path),
    )
