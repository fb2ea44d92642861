"""All data set layouts by name: reading, writing and recognizing them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from s3pot.data.datasets.celebamask_hq import IMAGES, CelebAMaskHQ
from s3pot.data.datasets.coco import CocoJson, find_annotations, is_coco
from s3pot.data.datasets.coco_writer import MARKS_IGNORED
from s3pot.data.datasets.converted_folder import RAW_IMAGES, ConvertedFolder
from s3pot.data.datasets.dataset_file import DATASET_FILE, recorded_layout
from s3pot.data.datasets.faces_folder import AuthorsFolders, FacesFolder
from s3pot.data.datasets.image_mask_folders import (
    CofwFaceOcc,
    FolderNames,
    ImageMaskFolders,
    RealOcc,
)
from s3pot.data.datasets.item import DatasetAdapter, DatasetError, list_images
from s3pot.data.datasets.labelme_folder import LabelMeFolder
from s3pot.data.datasets.writers import (
    CocoWriter,
    ConvertedFolderWriter,
    DatasetWriter,
    FacesWriter,
    FoldersWriter,
    LabelMeWriter,
)
from s3pot.data.face_folder import PARSING
from s3pot.data.label_policy import LabelPolicy
from s3pot.data.labelme import JSON_FILES, holds_shapes
from s3pot.data.masks import MARKS_OCCLUSION, POLARITIES

AUTO = "auto"


@dataclass(frozen=True)
class SourceOptions:
    """The description of a data set, besides its format.

    Attributes:
        images: Folder of images, for the formats folders and coco; coco has a default.
        masks: Folder of masks.
        ignored: Folder of masks of pixels excluded from all scores.
        mask_ending: The suffix that masks' names add to those of their images.
        polarity: What masks, or COCO's instances, mark; the format folders has a default only for
            what ``FoldersWriter`` wrote.
        annotations: The COCO file; None looks for the only one.
        policy: Which labels of LabelMe files and which categories of COCO files are occluders.
    """

    images: str = ""
    masks: str = ""
    ignored: str = ""
    mask_ending: str = ""
    polarity: str = ""
    annotations: Path | None = None
    policy: LabelPolicy = field(default_factory=LabelPolicy)


# For each option that not every format uses: its name on the command line, and the formats.
_FORMATS_OF_OPTION: dict[str, tuple[str, tuple[str, ...]]] = {
    "images": ("--images", ("folders", "coco")),
    "masks": ("--masks", ("folders",)),
    "ignored": ("--ignore_masks", ("folders",)),
    "mask_ending": ("--mask_ending", ("folders",)),
    "polarity": ("--polarity", ("folders", "coco")),
    "annotations": ("--annotations", ("coco",)),
}


def _read_coco(root: Path, options: SourceOptions) -> DatasetAdapter:
    annotations = options.annotations or find_annotations(root)
    images = root / options.images if options.images else root
    if not options.images and (root / "images").is_dir():
        images = root / "images"
    return CocoJson(images, annotations, options.policy, options.polarity or MARKS_OCCLUSION)


def _read_folders(root: Path, options: SourceOptions) -> DatasetAdapter:
    if recorded_layout(root) == "folders" and not options.masks:
        options = _with_written_folders(root, options)
    names = FolderNames(
        images=options.images or "images",
        masks=options.masks or "masks",
        polarity=options.polarity,
        ignored=options.ignored,
        mask_ending=options.mask_ending,
    )
    return ImageMaskFolders(root, names)


def _with_written_folders(root: Path, options: SourceOptions) -> SourceOptions:
    """Name the folders of ``FoldersWriter``, each of which is called what its masks mark.

    Raises:
        DatasetError: There are several kinds of masks, or none.
    """
    existing = [polarity for polarity in POLARITIES if (root / polarity).is_dir()]
    if not existing:
        raise DatasetError(
            f"{root} holds no masks: according to {DATASET_FILE}, data convert wrote it, but there "
            f"is no folder {' or '.join(POLARITIES)}. Specify another folder with --masks."
        )
    if len(existing) > 1 and not options.polarity:
        raise DatasetError(
            f"{root} holds masks in {'/ and in '.join(existing)}/, and the format folders reads "
            f"one kind at a time; choose one with --polarity: {' or '.join(existing)}."
        )
    polarity = options.polarity or existing[0]
    ignored = options.ignored
    if not ignored and (root / MARKS_IGNORED).is_dir():
        ignored = MARKS_IGNORED
    return replace(options, masks=polarity, polarity=polarity, ignored=ignored)


def _read_labelme(root: Path, options: SourceOptions) -> DatasetAdapter:
    """Open LabelMe files; names leave out the ``images/`` in which ``LabelMeWriter`` puts all."""
    images = root / "images"
    holds_all = images.is_dir() and all(images in item.image.parents for item in list_images(root))
    return LabelMeFolder(images if holds_all else root, options.policy)


READERS: dict[str, Callable[[Path, SourceOptions], DatasetAdapter]] = {
    "authors": lambda root, options: AuthorsFolders(root, options.policy),
    "realocc": lambda root, options: RealOcc(root),
    "cofw": lambda root, options: CofwFaceOcc(root),
    "celebamask-hq": lambda root, options: CelebAMaskHQ(root),
    "folders": _read_folders,
    "coco": _read_coco,
    "labelme": _read_labelme,
    "s3pot": lambda root, options: ConvertedFolder(root, options.policy),
    "faces": lambda root, options: FacesFolder(root, options.policy),
}

WRITERS: dict[str, Callable[[Path, DatasetAdapter, bool], DatasetWriter]] = {
    "s3pot": lambda folder, adapter, as_polygons: ConvertedFolderWriter(folder),
    "folders": lambda folder, adapter, as_polygons: FoldersWriter(folder),
    "coco": lambda folder, adapter, as_polygons: CocoWriter(folder, as_polygons),
    "labelme": lambda folder, adapter, as_polygons: LabelMeWriter(folder),
    "faces": lambda folder, adapter, as_polygons: FacesWriter(folder, adapter),
}


def open_dataset(root: Path, format_name: str, options: SourceOptions) -> DatasetAdapter:
    """Return the adapter of a data set.

    Args:
        root: Its folder.
        format_name: One of ``READERS``, or ``AUTO``.
        options: Further details of the data set.

    Raises:
        S3potError: The folder is missing, or has another layout.
    """
    if root.exists() and not root.is_dir():
        raise DatasetError(f"{root} is a file; expected the folder of a data set.")
    if not root.exists():
        raise DatasetError(f"There is no folder {root}; give the folder of a data set.")
    if format_name == AUTO:
        format_name = recognize(root)
    _refuse_unused(format_name, options)
    return READERS[format_name](root, options)


def _refuse_unused(format_name: str, options: SourceOptions) -> None:
    """Make sure that every detail that is given has an effect; a wrong polarity inverts a truth.

    Raises:
        DatasetError: One belongs to other formats.
    """
    for name, (flag, formats) in _FORMATS_OF_OPTION.items():
        if getattr(options, name) and format_name not in formats:
            raise DatasetError(
                f"{flag} describes a data set in the format {' or '.join(formats)}; this one is "
                f"{format_name}, whose layout is fixed. Leave the option out, or pass --from."
            )


def recognize(root: Path) -> str:
    """Recognize the format of a folder by its layout.

    ``folders`` has no fixed layout, and is recognized only if a conversion recorded it.

    Raises:
        DatasetError: The layout is not recognized.
    """
    if recorded_layout(root) == "folders":
        return "folders"
    if (root / RAW_IMAGES).is_dir():
        return "s3pot"
    if (root / IMAGES).is_dir():
        return "celebamask-hq"
    if (root / "image").is_dir() and (root / "mask").is_dir():
        return "realocc"
    if (root / "COFW_test").is_dir() or ((root / "img").is_dir() and (root / "mask").is_dir()):
        return "cofw"
    if any(path.parent.name.isdecimal() for path in root.glob("**/Reference*.png")):
        return "authors"
    if any(root.glob(f"**/*{PARSING}")):
        return "faces"
    files = sorted([*root.glob(JSON_FILES), *root.glob(f"*/{JSON_FILES}")])
    if any(is_coco(path) for path in files):
        return "coco"
    if any(holds_shapes(path) for path in files):
        return "labelme"
    raise DatasetError(
        f"The format of {root} is not recognized by its layout; specify it with --from, one of: "
        f"{', '.join(READERS)}."
    )
