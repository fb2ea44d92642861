"""The interface of adapters: the images of a data set, and the labels of each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

import numpy as np

from s3pot.data.face_folder import CONTRACT_ENDINGS
from s3pot.data.folders import walk
from s3pot.data.image_formats import IMAGE_SUFFIXES
from s3pot.data.masks import MASK_SUFFIXES, find_mask
from s3pot.io import file_sha256, read_bytes
from s3pot.types import S3potError
from s3pot.wording import brief


class DatasetError(S3potError):
    """A data set does not have the layout of its format; the message names file and key."""


@dataclass(frozen=True)
class DatasetItem:
    """One image of a data set.

    Attributes:
        name: Stem in the converted folder, unique within the data set; sub-folders are kept.
        image: The image file.
        splits: The parts that it belongs to, such as ``train``.
        problem: Why it cannot be used, if that is known before it is read; otherwise None.
    """

    name: str
    image: Path
    splits: tuple[str, ...] = ()
    problem: str | None = None


@dataclass(frozen=True, eq=False)
class ItemLabels:
    """Everything that a data set knows about one image; unknown values are None.

    Attributes:
        occlusion: True occlusion, bool (H, W), at the size of the image.
        visible_face: The visible face, bool (H, W). The occlusion is then the parsed face region
            minus this mask.
        parsing: True 12-class map, uint8 (H, W).
        ignored: Pixels excluded from all scores, bool (H, W).
        parsed: A parser's 12-class map, which is not a ground truth, uint8 (H, W).
        shapes: The number of shapes with each label, in formats that have shapes.
        oddities: What was probably not meant as it is, such as a shape without a label.
    """

    occlusion: np.ndarray | None = None
    visible_face: np.ndarray | None = None
    parsing: np.ndarray | None = None
    ignored: np.ndarray | None = None
    parsed: np.ndarray | None = None
    shapes: Mapping[str, int] = field(default_factory=dict)
    oddities: Sequence[str] = ()


class DatasetAdapter(ABC):
    """One layout of a data set on disk.

    Args:
        root: Folder of the data set.

    Raises:
        DatasetError: The folder does not have this layout.
    """

    format_name: str  # its name in the commands
    layout: str  # the layout in one line, for messages and help

    def __init__(self, root: Path) -> None:
        self.root = root
        if not root.is_dir():
            raise DatasetError(f"There is no folder {root}; expected {self.layout}.")

    @abstractmethod
    def items(self) -> Sequence[DatasetItem]:
        """List all images, sorted; at least one.

        Raises:
            DatasetError: There is none.
        """

    @abstractmethod
    def labels(self, item: DatasetItem, size: tuple[int, int]) -> ItemLabels:
        """Read the labels of an image.

        Args:
            item: One of ``items()``.
            size: Height and width of its image.

        Raises:
            S3potError: A file is missing, damaged or of another size; the message names file and
                key.
        """

    @abstractmethod
    def label_files(self, item: DatasetItem) -> Mapping[str, Path]:
        """Return the files of an image's labels, by role; missing ones are left out."""

    def companions(self, item: DatasetItem) -> Mapping[str, Path]:
        """Return the further files of an image, by their endings, such as ``_clean.png``."""
        return {}

    def fingerprint(self, item: DatasetItem) -> dict[str, str]:
        """Hash an image, its labels and its companions: items with equal hashes are equal.

        Raises:
            BadFile: A file cannot be read.
        """
        files = {"image": item.image, **self.label_files(item), **self.companions(item)}
        return {role: file_sha256(path) for role, path in files.items() if path.is_file()}

    def problems(self) -> Sequence[str]:
        """List problems other than those of images, such as masks without one, by file and key."""
        return ()

    def damage(self) -> Sequence[str]:
        """List those of ``problems`` that lose labels: a conversion then counts as failed."""
        return ()

    def cautions(self) -> Sequence[str]:
        """List what is valid but was probably not meant, such as labels that name nothing."""
        return ()

    def images_of(self, folder: Path, splits: Mapping[str, Collection[str]]) -> list[DatasetItem]:
        """List the images of a folder, with the splits that name them.

        Args:
            folder: The folder of the images.
            splits: Names of images by split.

        Raises:
            DatasetError: There is none.
        """
        items = list_images(folder)
        if not items:
            raise DatasetError(f"{folder} holds no images; expected {self.layout}.")
        return [
            replace(item, splits=tuple(split for split in splits if item.name in splits[split]))
            for item in items
        ]

    def require_folder(self, *parts: str) -> Path:
        """Return a sub-folder that the layout requires.

        Raises:
            DatasetError: It does not exist.
        """
        folder = self.root.joinpath(*parts)
        if not folder.is_dir():
            raise DatasetError(
                f"{self.root} has no folder {'/'.join(parts)}; the format {self.format_name} is "
                f"{self.layout}."
            )
        return folder


def list_images(folder: Path) -> list[DatasetItem]:
    """List the images of a folder and its sub-folders, named by their paths without extension.

    Of two images with the same name, the second is marked with a problem, and named by its path
    with extension.
    """
    items: dict[str, DatasetItem] = {}
    for path in walk(folder).files:
        if path.suffix.lower() not in IMAGE_SUFFIXES:
            continue
        name = path.relative_to(folder).with_suffix("").as_posix()
        if name in items:
            problem = (
                f"{path} has the name of {items[name].image} but for its extension; rename one."
            )
            whole_name = path.relative_to(folder).as_posix()
            items[whole_name] = DatasetItem(whole_name, path, problem=problem)
        else:
            items[name] = DatasetItem(name, path, problem=name_problem(name))
    return list(items.values())


def double_masks(folder: Path) -> list[str]:
    """List the masks that are not read because another one has their name but for the extension."""
    files: dict[str, list[Path]] = defaultdict(list)
    for path in walk(folder).files:
        if path.suffix.lower() in MASK_SUFFIXES:
            files[path.relative_to(folder).with_suffix("").as_posix()].append(path)
    problems = []
    for name, paths in files.items():
        used = find_mask(folder / name)
        others = [path.name for path in paths if path != used]
        if used is not None and others:
            problems.append(f"{used} is read, and not {brief(others)} beside it; keep one of them.")
    return problems


def read_splits(folder: Path) -> dict[str, set[str]]:
    """Read lists of names, ``<split>.txt`` with a name on each line; empty without the folder."""
    splits: dict[str, set[str]] = {}
    for path in sorted(folder.glob("*.txt")):
        lines = read_bytes(path).decode("utf-8", errors="replace").splitlines()
        splits[path.stem] = {line.strip() for line in lines if line.strip()}
    return splits


def names_without_image(
    folder: Path, splits: Mapping[str, Collection[str]], names: Collection[str]
) -> list[str]:
    """Report the names in lists of ``read_splits`` that no image has.

    Args:
        folder: The folder of the lists.
        splits: Their names, by split.
        names: The names of all images.
    """
    problems = []
    for split, listed in splits.items():
        missing = sorted(set(listed) - set(names))
        if missing:
            path = folder / f"{split}.txt"
            problems.append(f"{path} lists names without an image: {brief(missing)}.")
    return problems


def name_problem(name: str) -> str | None:
    """Return why a name is not allowed for an image; None if it is.

    A name becomes the path of files below the output folder, so it must not lead out of it, be
    hidden, or end like the files that s3pot writes beside an image.
    """
    path = PurePosixPath(name)
    if not name or path.is_absolute() or not path.name:
        return f"{name!r} is not the name of a file below the folder."
    if ".." in path.parts or "\\" in name or not name.isprintable():
        return f"{name!r} leads outside the folder or is not a portable name; rename the file."
    if any(part.startswith(".") for part in path.parts):
        return f"{name!r} is the name of a hidden file; rename it."
    mark = reserved_mark(name)
    if mark is not None:
        return f"{name!r} ends in {mark}, which marks files that s3pot writes; rename it."
    return None


def reserved_mark(name: str) -> str | None:
    """Return the mark of the files that s3pot writes (``_occlusion``) if a name ends in one."""
    for ending in CONTRACT_ENDINGS:
        mark = PurePosixPath(ending).stem
        if name.endswith(mark):
            return mark
    return None
