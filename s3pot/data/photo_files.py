"""Which files are photos, and which are images that s3pot wrote or reads beside them."""

from __future__ import annotations

from collections.abc import Sequence, Set
from pathlib import Path, PurePath

from s3pot.data.face_folder import ALIGN, CONTRACT_ENDINGS, PARSING, RAW
from s3pot.data.image import is_image, read_rgb
from s3pot.data.image_formats import IMAGE_SUFFIXES, RAW_SUFFIXES, BadImage
from s3pot.data.output_guard import RESULT_ENDINGS, RESULT_MARKS

_PREVIEW_SUFFIXES = (".thm", ".ithmb")  # thumbnails that cameras and phones put beside photos


def looks_like_image(path: Path) -> bool:
    """Whether a file is an image, by its extension or its first bytes, and no preview of one."""
    suffix = path.suffix.lower()
    if suffix in _PREVIEW_SUFFIXES:
        return False
    return suffix in IMAGE_SUFFIXES or suffix in RAW_SUFFIXES or is_image(path)


def is_file_of_s3pot(path: Path, stems: Set[str]) -> bool:
    """Whether a file was written by s3pot, or is a mask or a reference beside its photo.

    Args:
        path: An image.
        stems: The paths of all images, without their extensions.
    """
    stem = str(path.with_suffix(""))
    for ending in CONTRACT_ENDINGS:
        if path.name.endswith(ending):
            return True
        mark = PurePath(ending).stem  # _occlusion of a_occlusion.jpg
        if stem.endswith(mark) and stem[: -len(mark)] in stems:
            return True
    return False


def outputs_among(images: Sequence[Path]) -> set[Path]:
    """Return those images that are prepared faces or results, by the files beside them."""
    names = {folder: _names_in(folder) for folder in {path.parent for path in images}}
    return {path for path in images if _is_output(path.name, names[path.parent])}


def _names_in(folder: Path) -> set[str]:
    """List the names in a folder; empty if it may be entered but not listed."""
    try:
        return {path.name for path in folder.iterdir()}
    except OSError:
        return set()


def _is_output(name: str, neighbors: Set[str]) -> bool:
    """Whether the file with this name belongs to a face or a result that its neighbors mark."""
    marks = [(RAW, PARSING), (RAW, ALIGN)] if name.endswith(RAW) else []
    for ending in RESULT_ENDINGS:
        if name.endswith(ending):
            marks += [(ending, mark) for mark in RESULT_MARKS]
    return any(name[: -len(ending)] + mark in neighbors for ending, mark in marks)


def has_known_ending(path: Path) -> bool:
    """Whether the extension is that of an image format."""
    return path.suffix.lower() in IMAGE_SUFFIXES or path.suffix.lower() in RAW_SUFFIXES


def reason_not_readable(path: Path, max_pixels: int) -> str | None:
    """Return why a file cannot be read as an image; None if it can."""
    try:
        read_rgb(path, max_pixels)
    except BadImage as error:
        return str(error)
    return None
