"""Splitting a folder into parts: lists of names, or folders of links or copies.

``split.json`` in the output folder records which image is in which part, and the settings.
"""

from __future__ import annotations

import filecmp
import logging
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from typing_extensions import override

from s3pot.data.datasets.companions import files_by_owner
from s3pot.data.datasets.converted_folder import RAW_IMAGES, TRUTH
from s3pot.data.datasets.faces_folder import clash_of_names
from s3pot.data.datasets.grouping import divide, group_names
from s3pot.data.datasets.item import list_images, reserved_mark
from s3pot.data.datasets.writers import write_name_list
from s3pot.data.face_folder import PARSING, REFERENCE, find_faces
from s3pot.data.folder_kinds import refuse_folder_of_a_run
from s3pot.data.folders import walk
from s3pot.io import atomic_path, leads_outside, read_json, write_json
from s3pot.runs.folder_job import FolderJob, Written
from s3pot.runs.folder_run import run_folder
from s3pot.runs.outdated_faces import warn_of_outdated_faces
from s3pot.runs.records import ItemProvenance
from s3pot.types import S3potError
from s3pot.version import __version__
from s3pot.wording import brief, counted

logger = logging.getLogger(__name__)

SPLIT_FILE = "split.json"
LINKS = "links"
COPIES = "copies"
LISTS = "lists"


@dataclass(frozen=True)
class SplitOptions:
    """The options of a split.

    Attributes:
        input_dir: Faces, a converted data set, or a folder of images.
        output_dir: Folder for the lists and parts.
        parts: The share or the number of images of each part.
        group_by: What must stay in one part; see ``group_names``.
        seed: Seed of the order.
        form: ``LINKS``, ``COPIES`` or ``LISTS``.
        overwrite: Replace a different split in the output folder.
    """

    input_dir: Path
    output_dir: Path
    parts: Mapping[str, float | int]
    group_by: str
    seed: int
    form: str
    overwrite: bool = False


@dataclass(frozen=True)
class SplitItem:
    """One image that is assigned to a part.

    Attributes:
        name: The name of the image.
        files: Its files by their paths in the output folder.
    """

    name: str
    files: Mapping[str, Path]


def split_dataset(options: SplitOptions) -> int:
    """Split a folder.

    Returns:
        The number of images that failed; each is named in the log.

    Raises:
        S3potError: There is nothing to split, or the output folder holds a different split.
    """
    _check_folders(options)
    warn_of_outdated_faces(options.input_dir)
    files = files_of_images(options.input_dir)
    groups = group_names(list(files), options.group_by)
    parts_of_images = divide(groups, options.parts, options.seed)
    items = [
        SplitItem(name, {f"{part}/{path}": source for path, source in files[name].items()})
        for name, part in sorted(parts_of_images.items())
    ]
    plan: dict[str, Any] = {
        "s3pot": __version__,
        "source": str(options.input_dir.resolve()),
        "parts": dict(options.parts),
        "group_by": options.group_by,
        "seed": options.seed,
        "form": options.form,
        "images": dict(sorted(parts_of_images.items())),
        "files": [] if options.form == LISTS else [path for item in items for path in item.files],
    }
    _make_room(options, plan)
    _log_summary(parts_of_images, options, groups)
    write_json(options.output_dir / SPLIT_FILE, plan)
    for part in options.parts:
        names = [name for name in parts_of_images if parts_of_images[name] == part]
        write_name_list(options.output_dir / f"{part}.txt", names)
    if options.form == LISTS:
        return 0
    outcome = run_folder(SplitJob(options.output_dir, options.form), items)
    return len(outcome.failures)


def _check_folders(options: SplitOptions) -> None:
    source = options.input_dir.resolve()
    target = options.output_dir.resolve()
    if not source.is_dir():
        raise S3potError(f"--input_dir {options.input_dir} is not a folder; give the one to split.")
    if target == source or source in target.parents:
        raise S3potError(
            f"--output_dir {options.output_dir} lies in --input_dir {options.input_dir}; choose a "
            "folder outside it, or the parts would be split again."
        )
    refuse_folder_of_a_run(options.output_dir)


def files_of_images(root: Path) -> dict[str, dict[str, Path]]:
    """List all images of a folder with the files that belong to each.

    Args:
        root: A converted data set (``raw_images/``), a folder of faces, or a folder of images.

    Returns:
        Image name → its files by their paths below ``root``. They are the image and all files that
        are named like it; see ``companions``.

    Raises:
        S3potError: There are no images.
    """
    files = walk(root).files
    if (root / RAW_IMAGES).is_dir():
        folders = [root / part for part in (RAW_IMAGES, TRUTH) if (root / part).is_dir()]
        files_by_name = _files_of_photos(root / RAW_IMAGES, folders)
    elif any(root.glob(f"**/*{PARSING.lstrip('_')}")):
        files_by_name = _files_of_faces(root, files)
    else:
        files_by_name = _files_of_photos(root, [root])
    if not files_by_name:
        raise S3potError(f"{root} holds no images to split.")
    used = {path for paths in files_by_name.values() for path in paths}
    others = [path.relative_to(root) for path in files if path not in used]
    if others:
        logger.info("not part of the split, because they belong to no image: %s", brief(others))
    return {
        name: {path.relative_to(root).as_posix(): path for path in paths}
        for name, paths in files_by_name.items()
    }


def _files_of_photos(images: Path, folders: Sequence[Path]) -> dict[str, list[Path]]:
    """Find the files of photos, by name.

    Args:
        images: The folder of the photos.
        folders: The folders with their files, which have the same sub-folders.
    """
    items = list_images(images)
    names = {item.name for item in items if item.problem is None}
    left_out = set()
    for item in items:
        mark = reserved_mark(item.name)
        # A mask beside its photo (a_occlusion.png beside a.png) is a file of the photo.
        is_of_photo = mark is not None and item.name[: -len(mark)] in names
        if item.problem is not None and not is_of_photo:
            logger.warning("left out: %s", item.problem)
            left_out.add(item.image)
    files: dict[str, list[Path]] = {name: [] for name in sorted(names)}
    for folder in folders:
        for name, paths in files_by_owner(folder, names).items():
            files[name] += [path for path in paths.values() if path not in left_out]
    return files


def _files_of_faces(root: Path, files: Sequence[Path]) -> dict[str, list[Path]]:
    """Find the files of prepared faces, by name, among all files below a folder."""
    faces = find_faces(root)
    names = {face.name for face in faces}
    found = files_by_owner(root, names, files)
    files_by_face = {}
    for face in faces:
        clash = clash_of_names(face.name, names)
        if clash is not None:
            logger.warning("%s", clash)
        if face.reference.name == f"{face.raw.stem}{REFERENCE}":
            files_by_face[face.name] = list(found.get(face.name, {}).values())
        else:  # in the authors' layout, each face has a folder
            files_by_face[face.name] = list(walk(face.reference.parent).files)
    return files_by_face


def _log_summary(
    parts_of_images: Mapping[str, str], options: SplitOptions, groups: Mapping[str, str]
) -> None:
    counts = Counter(parts_of_images.values())
    images = len(groups)
    sizes = Counter(groups.values())
    for part, amount in options.parts.items():
        logger.info("%s: %d of %s", part, counts[part], counted(images, "image"))
        if isinstance(amount, int) and counts[part] < amount:
            logger.warning(
                "%s gets %s, not %d: there are too few, or no group is small enough",
                part,
                counted(counts[part], "image"),
                amount,
            )
        elif counts[part] == 0:
            logger.warning(
                "%s is empty, although its share is %g: --group_by %s finds %s in the %s, "
                "the largest with %d, and none is divided",
                part,
                amount,
                options.group_by,
                counted(len(sizes), "group"),
                counted(images, "image"),
                max(sizes.values()),
            )
    if len(parts_of_images) < images:
        logger.info("left out: %s", counted(images - len(parts_of_images), "image"))


def _make_room(options: SplitOptions, plan: Mapping[str, Any]) -> None:
    """Remove the files of a different split, if ``overwrite`` allows it.

    Raises:
        S3potError: It does not.
    """
    path = options.output_dir / SPLIT_FILE
    if not path.is_file():
        return
    earlier = read_json(path)
    settings = {key: value for key, value in plan.items() if key != "s3pot"}
    if isinstance(earlier, dict) and all(earlier.get(key) == settings[key] for key in settings):
        return
    if not options.overwrite:
        raise S3potError(
            f"{options.output_dir} holds a different split (see its {SPLIT_FILE}); choose another "
            "--output_dir, or pass --overwrite to replace it."
        )
    files = earlier.get("files", []) if isinstance(earlier, dict) else []
    for name in files if isinstance(files, list) else []:
        _remove(options.output_dir, str(name))
    parts = earlier.get("parts", {}) if isinstance(earlier, dict) else {}
    for part in parts if isinstance(parts, dict) else []:
        _remove(options.output_dir, f"{part}.txt")


def _remove(folder: Path, name: str) -> None:
    """Remove a file or link of an earlier split, unless its path leads out of the folder."""
    if leads_outside(name):
        return
    path = PurePosixPath(name)
    target = folder / path
    parents = [folder.joinpath(*path.parts[:count]) for count in range(1, len(path.parts))]
    if not any(parent.is_symlink() for parent in parents) and not target.is_dir():
        target.unlink(missing_ok=True)


class SplitJob(FolderJob[SplitItem, SplitItem, SplitItem]):
    """Link or copy the files of each image into its part; existing files are kept.

    Args:
        output_dir: Folder for the parts.
        form: ``LINKS`` or ``COPIES``.
    """

    unit = "images"

    def __init__(self, output_dir: Path, form: str) -> None:
        self.output_dir = output_dir
        self.form = form

    @override
    def name(self, item: SplitItem) -> str:
        return item.name

    @override
    def read(self, item: SplitItem) -> SplitItem:
        for source in item.files.values():
            if not source.is_file():
                raise S3potError(f"{source} no longer exists.")
        return item

    @override
    def compute(self, inputs: Sequence[SplitItem]) -> Sequence[SplitItem]:
        return inputs

    @override
    def write(self, output: SplitItem, provenance: ItemProvenance) -> Written:
        for name, source in output.files.items():
            target = self.output_dir / name
            if self.form == LINKS:
                _link(source.resolve(), target)
            elif target.is_symlink() or not _is_same_file(source, target):
                with atomic_path(target) as temporary:
                    shutil.copyfile(source, temporary)
        return Written(content={"name": output.name})


def _is_same_file(source: Path, target: Path) -> bool:
    return target.is_file() and filecmp.cmp(source, target, shallow=False)


def _link(source: Path, target: Path) -> None:
    if target.is_symlink() and target.readlink() == source:
        return
    with atomic_path(target) as temporary:
        try:
            temporary.symlink_to(source)
        except (OSError, NotImplementedError) as error:
            raise S3potError(
                f"{target} cannot be created as a link to {source} ({error}). Pass --as copies."
            ) from error
