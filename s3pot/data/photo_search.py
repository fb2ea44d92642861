"""Finding the photos that a command line names: folders, files and patterns."""

from __future__ import annotations

import glob
import logging
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

from s3pot.data.folders import walk
from s3pot.data.image import MAX_PIXELS
from s3pot.data.image_formats import IMAGE_SUFFIXES, RAW_SUFFIXES
from s3pot.data.output_guard import OutputFiles, is_same_folder, reference_files
from s3pot.data.photo_files import (
    has_known_ending,
    is_file_of_s3pot,
    looks_like_image,
    outputs_among,
    reason_not_readable,
)
from s3pot.data.photos import Photo, PhotoFolder, with_owners
from s3pot.types import S3potError
from s3pot.wording import brief

logger = logging.getLogger(__name__)

_HEIC_SUFFIXES = (".heic", ".heif", ".hif")  # read only if pillow-heif is installed


def find_photos(
    input_dir: Path,
    output_dir: Path,
    truth_dir: Path | None = None,
    max_pixels: int = MAX_PIXELS,
) -> PhotoFolder:
    """Find the photos below a folder; the output folder may lie inside and is left out.

    A photo is a file that is an image according to its extension or its first bytes, and that s3pot
    itself did not write. Other files are skipped and claim no name. If a camera RAW or HEIC file
    and another image have the same name, the one that can be read is used.

    Args:
        input_dir: A folder, or one photo.
        output_dir: The folder for the faces.
        truth_dir: The folder of the photos' ground truths; None if there are none.
        max_pixels: Larger images cannot be read.

    Raises:
        S3potError: There is no such folder, no photo in it, or the output folder is one of the two
            others or holds files that s3pot did not write and would replace.
    """
    if truth_dir is not None and is_same_folder(truth_dir, output_dir):
        raise S3potError(
            f"--output_dir {output_dir} is the folder --truth_dir {truth_dir}, whose ground truths "
            "would be replaced by their crops; choose another folder for the faces."
        )
    root = input_dir.parent if input_dir.is_file() else input_dir
    outputs = [reference_files(output_dir, truth_dir is not None)]
    photos = _find_below(_Inputs([input_dir]), root, output_dir, outputs, max_pixels)
    if not photos:
        raise S3potError(
            f"--input_dir {input_dir} holds no photos; expected images such as JPEG or PNG, also "
            "in sub-folders. Prepared faces and results are no photos."
        )
    return with_owners(photos, output_dir, outputs)


def find_given_photos(
    inputs: Sequence[str],
    output_dir: Path,
    outputs: Sequence[OutputFiles] = (),
    max_pixels: int = MAX_PIXELS,
) -> PhotoFolder:
    """Find the photos that a command line names, like ``find_photos`` for a folder.

    Photos in a folder are named by their paths below it, other photos by their own names. If two
    would get the same name, all are named by their paths below the folder that contains all inputs.

    Args:
        inputs: Photos, folders, and patterns such as ``trip/*.jpg`` or ``trip/**/*.jpg``.
        output_dir: Where the results will go.
        outputs: What will be written for each face, in that folder or below.
        max_pixels: Larger images cannot be read.

    Raises:
        S3potError: An input does not exist, none contains a photo, or a file that s3pot did not
            write would be replaced.
    """
    paths = _expanded(inputs, output_dir)
    everything = [*paths.given, *paths.matched]
    photos: list[Photo] = []
    if everything:
        root = Path(os.path.commonpath([path.parent for path in everything]))
        photos = _find_below(paths, root, output_dir, outputs, max_pixels)
        photos = _with_short_names(photos, everything)
    if not photos:
        raise S3potError(
            f"No photo was found in {', '.join(inputs)}; expected images such as JPEG or PNG, or "
            "folders of them. Prepared faces and results are no photos."
        )
    return with_owners(photos, output_dir, outputs)


def _with_short_names(photos: Sequence[Photo], inputs: Sequence[Path]) -> list[Photo]:
    """Name photos by their paths below the input that contains them, if the names are unique."""
    folders = [path for path in inputs if path.is_dir()]
    short = []
    for photo in photos:
        holders = [folder for folder in folders if folder in photo.path.parents]
        parents = photo.path.relative_to(holders[0]).parent if holders else PurePath()
        short.append((parents / PurePath(photo.name).name).as_posix())
    if len(set(short)) < len({photo.name for photo in photos}):
        return list(photos)
    return [replace(photo, name=name) for photo, name in zip(photos, short)]


@dataclass(frozen=True)
class _Inputs:
    """The files and folders in which photos are looked for, each only once.

    Attributes:
        given: Those that the user named; such a file is a photo if it is an image.
        matched: Those that match a pattern.
    """

    given: Sequence[Path]
    matched: Sequence[Path] = ()


def _expanded(inputs: Sequence[str], output_dir: Path) -> _Inputs:
    """Return the absolute paths of inputs; patterns do not match the results of the command."""
    given: dict[Path, None] = {}
    matched: dict[Path, None] = {}
    results = output_dir.resolve()
    for text in inputs:
        path = Path(text)
        if path.exists() or path.is_symlink():
            given[path.absolute()] = None
            continue
        # Path.glob does not accept absolute patterns.
        fitting = sorted(Path(match) for match in glob.glob(text, recursive=True))  # noqa: PTH207
        if not fitting:
            what = "matches no file" if glob.has_magic(text) else "does not exist"
            raise S3potError(f"{text} {what}; give a photo, a folder of photos or a pattern.")
        places = {folder: folder.resolve() for folder in {path.parent for path in fitting}}
        for path in fitting:
            place = places[path.parent]
            if results not in (place, *place.parents) and not is_same_folder(path, output_dir):
                matched[path.absolute()] = None
    return _Inputs(list(given), [path for path in matched if path not in given])


def _find_below(
    inputs: _Inputs,
    root: Path,
    output_dir: Path,
    outputs: Sequence[OutputFiles],
    max_pixels: int,
) -> list[Photo]:
    """Find the photos of files and folders, named by their paths below ``root``, sorted."""
    files, dead_links = _files_of(inputs, output_dir, outputs)
    images = [path for path in files if looks_like_image(path)]
    stems = {str(path.with_suffix("")) for path in images}
    ours = {path for path in images if is_file_of_s3pot(path, stems)}
    for path in sorted(ours.intersection(inputs.given)):
        logger.warning(
            "%s is not taken for a photo, because its name is that of a mask, a reference or "
            "another file of s3pot. Rename it if it is one.",
            path,
        )
    images = [path for path in images if path not in ours]
    outputs_of_runs = outputs_among(images) - set(inputs.given)
    images = [path for path in images if path not in outputs_of_runs]
    chosen, replaced = _one_per_name(images, root, max_pixels)
    photos = [*chosen, *_dead_photos(dead_links, root)]
    _log_summary(files, [photo.path for photo in photos], replaced, dead_links)
    return sorted(_with_unique_names(photos), key=lambda photo: photo.path)


def _files_of(
    inputs: _Inputs, output_dir: Path, outputs: Sequence[OutputFiles]
) -> tuple[list[Path], list[Path]]:
    """List the files that are given or lie in a given folder, each once, and the broken links.

    Raises:
        S3potError: An input does not exist, or results would be written into one.
    """
    files: list[Path] = []
    dead_links: list[Path] = []
    places = [output_dir, *(output.folder for output in outputs)]
    for path in (*inputs.given, *inputs.matched):
        folder = path.parent if path.is_file() else path
        if any(is_same_folder(folder, place) for place in places):
            raise S3potError(
                f"--output_dir {output_dir} is the input folder {folder}, or its faces go there; "
                "choose another folder so that results and photos do not mix."
            )
        if path.is_dir():
            tree = walk(path, leave_out=output_dir)
            files += tree.files
            dead_links += tree.dead_links
        elif path.is_file():
            files.append(path)
        elif path.is_symlink():
            dead_links.append(path)
        else:
            raise S3potError(f"The folder --input_dir {path} does not exist.")
    return list(dict.fromkeys(files)), dead_links


def _with_unique_names(photos: Sequence[Photo]) -> list[Photo]:
    """Name a photo with a problem by its whole file name if another photo has its stem."""
    stems = Counter(photo.name for photo in photos)
    owned = {photo.name for photo in photos if photo.problem is None}
    named = []
    for photo in sorted(photos, key=lambda photo: photo.path):
        is_free = stems[photo.name] == 1 or photo.name not in owned
        if photo.problem is not None and not is_free:
            photo = replace(photo, name=photo.name + photo.path.suffix)
        owned.add(photo.name)
        named.append(photo)
    return named


def _one_per_name(
    images: Sequence[Path], root: Path, max_pixels: int
) -> tuple[list[Photo], list[Path]]:
    """Choose among images with the same name.

    Returns:
        The photos, and the files that another image replaces: RAW and HEIC files, and images with
            an unknown extension, such as the ``a.jpg_original`` that an editing program left.
    """
    by_name: dict[str, list[Path]] = {}
    for path in images:
        name = path.relative_to(root).with_suffix("").as_posix()
        by_name.setdefault(name, []).append(path)
    photos: list[Photo] = []
    replaced: list[Path] = []
    for name, paths in by_name.items():
        if len(paths) == 1:
            photos.append(Photo(paths[0], name))
            continue
        readable = [path for path in paths if reason_not_readable(path, max_pixels) is None]
        if any(has_known_ending(path) for path in readable):
            backups = [path for path in paths if not has_known_ending(path)]
            replaced += backups
            paths = [path for path in paths if path not in backups]
            readable = [path for path in readable if path not in backups]
        for path in paths:
            if path in readable[:1] or path == paths[0] and not readable:
                photos.append(Photo(path, name))
            elif path in readable:
                problem = (
                    f"Its faces would overwrite those of {readable[0]}, which has the same name "
                    "but for its extension. Rename one of the two photos."
                )
                photos.append(Photo(path, name, problem))
            elif path.suffix.lower() in RAW_SUFFIXES or path.suffix.lower() in _HEIC_SUFFIXES:
                replaced.append(path)
            else:
                photos.append(Photo(path, name, reason_not_readable(path, max_pixels)))
    return photos, replaced


def _dead_photos(dead_links: Sequence[Path], root: Path) -> list[Photo]:
    """Return the broken links with image names: photos that fail."""
    photos = []
    for path in dead_links:
        if path.suffix.lower() in IMAGE_SUFFIXES:
            name = path.relative_to(root).with_suffix("").as_posix()
            target = path.readlink()
            problem = f"It is a link to {target}, which does not exist. Fetch the missing data."
            photos.append(Photo(path, name, problem))
    return photos


def _log_summary(
    files: Sequence[Path],
    photos: Sequence[Path],
    replaced: Sequence[Path],
    dead_links: Sequence[Path],
) -> None:
    """Log the files that are not photos, one line for each kind."""
    images = {*photos, *replaced}
    others = [path for path in files if path not in images]
    if others:
        logger.info("skipped because they are not photos: %s", brief(others))
    if replaced:
        logger.info("another image of the same name is read instead of: %s", brief(replaced))
    dead = [path for path in dead_links if path not in images]
    if dead:
        logger.warning("broken links are skipped: %s", brief(dead))
