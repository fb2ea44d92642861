"""Reading COCO instance JSON; ``coco_writer.py`` writes it.

The categories ``visible_face`` and ``ignore`` mean what their names say; of the others, those that
are occluders according to the label policy form the occlusion. Polygons are drawn by pycocotools,
whose rule is COCO's definition of them.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from typing_extensions import override

from s3pot.data.datasets import run_lengths
from s3pot.data.datasets.coco_writer import MARKS_IGNORED
from s3pot.data.datasets.dataset_file import DATASET_FILE, recorded_layout
from s3pot.data.datasets.item import (
    DatasetAdapter,
    DatasetError,
    DatasetItem,
    ItemLabels,
    name_problem,
)
from s3pot.data.label_policy import LabelPolicy
from s3pot.data.labelme import JSON_FILES
from s3pot.data.labelme_shapes import check_work
from s3pot.data.masks import MARKS_FACE, MARKS_OCCLUSION, POLARITIES
from s3pot.io import BadFile, file_sha256, read_json
from s3pot.types import S3potError
from s3pot.wording import brief

_POLYGON_NUMBERS = 6  # at least three points span an area
_OUTLINE_PER_PIXEL = 4  # a polygon whose outline is longer than this is damaged, or an attack

Entry = Mapping[str, Any]


class CocoJson(DatasetAdapter):
    """The images of a folder and the instances of a COCO file.

    Args:
        root: The folder to which the ``file_name`` of an image is relative.
        annotations: The COCO file.
        policy: Which categories are occluders.
        polarity: What the instances that count mark: ``occlusion`` or ``visible_face``.

    Raises:
        DatasetError: The file is not a COCO file, or two categories cannot be told apart; the
            message names file and key.
    """

    format_name = "coco"
    layout = "a folder of images and a COCO file with images, annotations and categories"

    def __init__(
        self, root: Path, annotations: Path, policy: LabelPolicy, polarity: str = MARKS_OCCLUSION
    ) -> None:
        super().__init__(root)
        if polarity not in POLARITIES:
            raise DatasetError(f"The polarity is {polarity!r}; expected {' or '.join(POLARITIES)}.")
        self.annotations = annotations
        self.policy = policy
        self.polarity = polarity
        content = read_json(annotations)
        self.images = _entries(content, "images", annotations)
        self.instances: dict[Any, list[Entry]] = defaultdict(list)
        for instance in _entries(content, "annotations", annotations):
            self.instances[_hashable(instance.get("image_id"))].append(instance)
        self.categories = _categories(content, annotations)
        self._image_of: dict[Path, Entry] = {}
        self._files_of: dict[Any, set[str]] = defaultdict(set)  # of an id
        self._ids_of: dict[str, set[Any]] = defaultdict(set)  # of a file
        for image in self.images:
            file_name = str(image.get("file_name"))
            self._files_of[_hashable(image.get("id"))].add(file_name)
            self._ids_of[file_name].add(_hashable(image.get("id")))

    @override
    def items(self) -> Sequence[DatasetItem]:
        if not self.images:
            raise DatasetError(f"{self.annotations} lists no images.")
        items = [self._item_of(number, image) for number, image in enumerate(self.images, 1)]
        seen: set[str] = set()
        for position, item in enumerate(items):
            if item.name in seen:
                problem = (
                    f"{self.annotations}: two values of file_name give the name {item.name!r}."
                )
                items[position] = replace(item, name=f"image {position + 1}", problem=problem)
            seen.add(item.name)
        return sorted(items, key=lambda item: item.name)

    def _item_of(self, number: int, image: Entry) -> DatasetItem:
        """Find the file of an entry of ``images``, counted from 1."""
        where = f"{self.annotations}: the file_name of image {number}"
        file_name = image.get("file_name")
        if not isinstance(file_name, str):
            problem = f"{where} is {file_name!r}; expected the path of an image."
            return DatasetItem(f"image {number}", self.root, problem=problem)
        has_name = PurePosixPath(file_name).name != ""
        name = PurePosixPath(file_name).with_suffix("").as_posix() if has_name else file_name
        problem_of_name = name_problem(name)
        if problem_of_name is not None:
            return DatasetItem(name, self.root, problem=f"{where}: {problem_of_name}")
        path = self.root / file_name
        self._image_of.setdefault(path, image)
        return DatasetItem(name, path, problem=self._problem_of_id(image))

    def _problem_of_id(self, image: Entry) -> str | None:
        """Return why it is not certain which instances an image has; None if it is."""
        file_name = str(image["file_name"])
        image_id = _hashable(image.get("id"))
        if image_id is None:
            return (
                f"{self.annotations}: the image {file_name!r} has no id, so its annotations are "
                "not known; give every image its own id."
            )
        if self.instances and not self.instances.keys() & self._files_of.keys():
            return (
                f"{self.annotations}: no annotation has the id of an image as its image_id (the "
                f"image {file_name!r} has the id {image_id!r}, an annotation has "
                f"{next(iter(self.instances))!r}); numbers and texts are different ids."
            )
        files = sorted(self._files_of[image_id])
        if len(files) > 1:
            return (
                f"{self.annotations}: the images {brief(files)} have the same id {image_id!r}, so "
                "their annotations cannot be told apart; give every image its own id."
            )
        others = [
            other for other in self._ids_of[file_name] - {image_id} if other in self.instances
        ]
        if others:
            ids = brief([str(other) for other in others])
            return (
                f"{self.annotations}: the image {file_name!r} has the id {image_id!r}, but "
                f"annotations also under {ids}; give it one id."
            )
        return None

    @override
    def labels(self, item: DatasetItem, size: tuple[int, int]) -> ItemLabels:
        image = self._image_of[item.image]
        where = f"{self.annotations}: the image {image['file_name']!r}"
        stated = (image.get("height", size[0]), image.get("width", size[1]))
        if stated != size:
            raise DatasetError(
                f"{where} has height and width {stated[0]} and {stated[1]}, but the file is "
                f"{size[0]} and {size[1]}."
            )
        masks: dict[str, np.ndarray] = {self.polarity: np.zeros(size, bool)}
        counts: Counter[str] = Counter()
        instances = self._instances_of(image)
        check_work(sum(map(_count_of_shapes, instances)), size, where)
        for instance in instances:
            category = self._category_of(instance)
            counts[category] += 1
            kind = self._kind_of(category)
            if kind is not None:
                mask = instance_mask(instance, size, str(self.annotations))
                masks[kind] = masks[kind] | mask if kind in masks else mask
        has_other = self.polarity == MARKS_OCCLUSION and MARKS_FACE in masks
        if has_other and not masks[MARKS_OCCLUSION].any():
            del masks[MARKS_OCCLUSION]  # it is not known
        return ItemLabels(
            occlusion=masks.get(MARKS_OCCLUSION),
            visible_face=masks.get(MARKS_FACE),
            ignored=masks.get(MARKS_IGNORED),
            shapes=dict(counts),
        )

    @override
    def label_files(self, item: DatasetItem) -> Mapping[str, Path]:
        return {}  # one file for all images; only an image's own part of it is hashed

    @override
    def fingerprint(self, item: DatasetItem) -> dict[str, str]:
        image = self._image_of.get(item.image)
        if image is None or not item.image.is_file():
            return {}
        instances = [
            {**instance, "category_id": self.categories.get(_hashable(instance.get("category_id")))}
            for instance in self._instances_of(image)
        ]
        return {
            "image": file_sha256(item.image),
            "labels": hashlib.sha256(repr([image, instances]).encode()).hexdigest(),
        }

    @override
    def problems(self) -> Sequence[str]:
        return self.damage()

    @override
    def damage(self) -> Sequence[str]:
        image_ids = {_hashable(image.get("id")) for image in self.images} - {None}
        problems = []
        for image_id, instances in self.instances.items():
            if image_id not in image_ids:
                ids = brief([str(instance.get("id")) for instance in instances])
                problems.append(
                    f"{self.annotations}: image_id {image_id!r} of annotation {ids} is not "
                    "the id of an image."
                )
        return problems

    @override
    def cautions(self) -> Sequence[str]:
        names = {
            self.categories.get(_hashable(instance.get("category_id")))
            for instances in self.instances.values()
            for instance in instances
        }
        categories = sorted(name for name in names if name is not None)
        listed = f"its categories with annotations are: {', '.join(categories) or 'none'}"
        counted = {self._kind_of(category) for category in categories}
        marks_nothing = not counted & {self.polarity, MARKS_FACE}
        effect = f", so nothing counts as {self.polarity}" if marks_nothing else ""
        unused = self.policy.unused(categories)
        if unused:
            return [
                f"{self.annotations}: truth.labels names {', '.join(unused)}, which no annotation "
                f"has{effect}; {listed}."
            ]
        if marks_nothing:
            return [f"{self.annotations}: no annotation is an occluder{effect}; {listed}."]
        return ()

    def _instances_of(self, image: Entry) -> list[Entry]:
        return self.instances.get(_hashable(image.get("id")), [])

    def _category_of(self, instance: Entry) -> str:
        category_id = _hashable(instance.get("category_id"))
        if category_id not in self.categories:
            raise DatasetError(
                f"{self.annotations}: category_id {category_id!r} of annotation "
                f"{instance.get('id')} is not the id of a category."
            )
        return self.categories[category_id]

    def _kind_of(self, category: str) -> str | None:
        """Return what a category marks, one of ``CATEGORIES``; None if it does not count."""
        if category in (MARKS_FACE, MARKS_IGNORED):
            return category
        return self.polarity if self.policy.counts(category) else None


def instance_mask(instance: Entry, size: tuple[int, int], source: str) -> np.ndarray:
    """Draw one instance, polygons or run lengths.

    Args:
        instance: An instance of a COCO file.
        size: Height and width of its image.
        source: The file, for messages.

    Returns:
        bool (H, W).

    Raises:
        DatasetError: The segmentation is missing, damaged or of another size; the message names
            file and key.
    """
    where = f"{source}: the segmentation of annotation {instance.get('id')}"
    segmentation = instance.get("segmentation")
    try:
        if isinstance(segmentation, dict):
            return _run_length_mask(segmentation, size)
        if isinstance(segmentation, list) and segmentation:
            return _polygon_mask(segmentation, size)
    except (ValueError, TypeError, OverflowError) as error:
        raise DatasetError(f"{where} cannot be drawn: {error}.") from error
    raise DatasetError(f"{where} is neither a list of polygons nor run lengths.")


def _count_of_shapes(instance: Entry) -> int:
    segmentation = instance.get("segmentation")
    return max(len(segmentation), 1) if isinstance(segmentation, list) else 1


def _run_length_mask(segmentation: Entry, size: tuple[int, int]) -> np.ndarray:
    if segmentation.get("size") != list(size):
        raise ValueError(f"its size is {segmentation.get('size')}, but the image is {list(size)}")
    counts = segmentation.get("counts")
    if isinstance(counts, str):
        counts = run_lengths.from_text(counts)
    if not isinstance(counts, list) or not all(type(count) is int for count in counts):
        raise ValueError("its counts are neither whole numbers nor their text")
    return run_lengths.decode(counts, size)


def _polygon_mask(segmentation: Sequence[Any], size: tuple[int, int]) -> np.ndarray:
    polygons = []
    for polygon in segmentation:
        numbers = np.asarray(polygon, dtype=np.float64)
        if numbers.ndim != 1 or len(numbers) < _POLYGON_NUMBERS or len(numbers) % 2:
            raise ValueError(
                f"a polygon in it has {numbers.size} numbers; expected x, y, x, y, ... of at least "
                "three points"
            )
        points = numbers.reshape(-1, 2)
        limit = 2 * max(size)
        if not np.isfinite(points).all() or np.abs(points).max() > limit:
            raise ValueError(f"a polygon in it has points farther than {limit} pixels away")
        steps = np.abs(points - np.roll(points, 1, axis=0)).max(axis=1)
        if steps.sum() > _OUTLINE_PER_PIXEL * max(size[0] * size[1], 100):
            raise ValueError("the outline of a polygon in it is longer than its image has pixels")
        polygons.append(numbers.tolist())
    tools = _mask_tools()
    encoded = tools.frPyObjects(polygons, size[0], size[1])
    return np.asarray(tools.decode(tools.merge(encoded)), dtype=bool)


def _mask_tools() -> Any:
    """Import pycocotools, which is needed only for polygons."""
    try:
        from pycocotools import mask
    except ImportError as error:
        raise S3potError(
            "The polygons of COCO files are drawn by pycocotools, which is not installed. "
            'Install it: pip install "s3pot[coco]" or pip install pycocotools.'
        ) from error
    return mask


def find_annotations(root: Path) -> Path:
    """Find the only COCO file in a folder, or in its ``annotations`` folder.

    Raises:
        DatasetError: There is none, or there are several.
    """
    files = sorted([*root.glob(JSON_FILES), *root.glob(f"annotations/{JSON_FILES}")])
    layout = recorded_layout(root)
    if layout is not None:
        files = [path for path in files if path != root / DATASET_FILE]
    coco_files = [path for path in files if is_coco(path)] if len(files) > 1 else files
    if len(coco_files) == 1:
        return coco_files[0]
    if layout == "coco" and not coco_files:
        raise DatasetError(
            f"{root} has lost its annotations.json, which data convert wrote according to "
            f"{DATASET_FILE}; convert the data set again, or specify a COCO file with "
            "--annotations."
        )
    if layout is not None and not coco_files:
        raise DatasetError(
            f"{root} holds no COCO file such as annotations.json; according to {DATASET_FILE}, "
            f"it is in the layout {layout}; pass --from {layout}, or specify a COCO file with "
            "--annotations."
        )
    names = brief([path.name for path in coco_files])
    what = f"several COCO files: {names}" if coco_files else "no COCO file"
    raise DatasetError(f"{root} holds {what}; specify it with --annotations.")


def is_coco(path: Path) -> bool:
    """Whether a JSON file has the keys of a COCO file; False if it cannot be read."""
    try:
        content = read_json(path)
    except BadFile:
        return False
    return isinstance(content, dict) and "images" in content and "annotations" in content


def _entries(content: Any, key: str, source: Path) -> list[Entry]:
    entries = content.get(key) if isinstance(content, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise DatasetError(
            f"{source} is not a COCO file: its key {key!r} does not hold a list of objects."
        )
    return entries


def _categories(content: Any, source: Path) -> dict[Any, str]:
    """Read the names of the categories by id.

    Raises:
        DatasetError: A category has no name or no id, or two of them have the same id.
    """
    names: dict[Any, str] = {}
    for category in _entries(content, "categories", source):
        category_id = _hashable(category.get("id"))
        if "name" not in category:
            raise DatasetError(f"{source}: the category with id {category_id!r} has no name.")
        name = str(category["name"])
        if category_id is None:
            raise DatasetError(f"{source}: the category {name!r} has no id.")
        if names.setdefault(category_id, name) != name:
            raise DatasetError(
                f"{source}: the categories {names[category_id]!r} and {name!r} have the same id "
                f"{category_id!r}, so their annotations cannot be told apart; give each its own id."
            )
    return names


def _hashable(value: Any) -> Any:
    """Return a hashable id, or None; for the lists and objects in damaged files, their text."""
    if isinstance(value, float) and value.is_integer():
        return int(value)  # JSON has only one type of number
    return value if value is None or isinstance(value, (int, str)) else repr(value)
