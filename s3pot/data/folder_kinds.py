"""What a folder holds, told by the files that mark it: prepared faces, results, a training run, ...

The folder itself is listed once. Its sub-folders are searched only if it has no marks but may hold
faces with names such as ``a/b``; the search ends at the first record of such a face. Folders of
other runs inside it, such as ``results/demo`` in ``results``, do not count.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

from s3pot.data.face_folder import ALIGN, CLEAN, IGNORE, TRUE_PARSING, VISIBLE_FACE
from s3pot.data.image_formats import IMAGE_SUFFIXES, RAW_SUFFIXES
from s3pot.io import read_json
from s3pot.types import S3potError

logger = logging.getLogger(__name__)

RESULT_PARSING = "_parsing.npy"  # ending of the first file of a result
RESULT_RECORD = "_result.json"  # ending of the record of a segmented face or photo
CONFIG = "config.yaml"
SUMMARY = "summary.json"
DATASET_FILE = "dataset.json"
FACES_FOLDER = "faces"  # of s3pot segment, inside the folder of its results
RAW_IMAGES = "raw_images"
ROWS = "rows"
MOST_RECORDS = 8  # how many files of other programs with the name of a record are passed over


class Kind(Enum):
    """What a folder holds; the value completes "the folder holds ..."."""

    FACES = "prepared faces"
    FACES_OF_SEGMENT = "the faces of s3pot segment"
    INFERENCE = "results of inference"
    PER_IMAGE = "results of train_per_image"
    SEGMENT = "results of segment"
    RESULTS = "results of s3pot"  # if it is not known of which command
    TRAINING = "a training run"
    SUITE = "the table of a suite"
    TABLE = "a table of evaluate"
    COMPARISON = "a comparison of two result folders"
    REPORT = "a report on a data set"
    DATASET = "a data set"
    TRUTHS = "ground truths or photos of a data set"
    IMAGES = "photos, masks or other images"


RESULTS_OF = {
    "inference": Kind.INFERENCE,
    "train_per_image": Kind.PER_IMAGE,
    "segment": Kind.SEGMENT,
}
# Whatever else a folder with one of these holds belongs to it, such as the table of its results.
MAIN_KINDS = frozenset(
    (
        Kind.FACES,
        Kind.FACES_OF_SEGMENT,
        *RESULTS_OF.values(),
        Kind.RESULTS,
        Kind.TRAINING,
        Kind.SUITE,
    )
)

_NAMES = {
    ".training.lock": Kind.TRAINING,
    "history.jsonl": Kind.TRAINING,
    "adapters.csv": Kind.PER_IMAGE,
    "per_image.csv": Kind.TABLE,
    "compare.csv": Kind.COMPARISON,
    "contact_sheet.png": Kind.REPORT,
    DATASET_FILE: Kind.DATASET,
    "split.json": Kind.DATASET,
    RAW_IMAGES: Kind.DATASET,
}
_ENDINGS = {
    "parsing_mask.npy": Kind.FACES,  # also in the authors' layout
    "_adapter.pth": Kind.PER_IMAGE,
    "_overlay_photo.png": Kind.SEGMENT,
    TRUE_PARSING: Kind.TRUTHS,
    VISIBLE_FACE: Kind.TRUTHS,
    IGNORE: Kind.TRUTHS,
    CLEAN: Kind.TRUTHS,
    RESULT_PARSING: Kind.RESULTS,  # after TRUE_PARSING, which ends in it
}
_IMAGES = IMAGE_SUFFIXES | RAW_SUFFIXES
_CHECKPOINT = re.compile(r"best\.pth|last\.pth|model_epoch_\d+\.pth")
_ROW = re.compile(r".*-[0-9a-f]{8}")  # the folder of a row, see suite_job.row_folder
_NOT_OF_FACES = ("adapters", "records", "tensorboard", "truth", RAW_IMAGES, ROWS)


def kinds_in(folder: Path) -> dict[Kind, str]:
    """Tell what a folder holds.

    Args:
        folder: Any folder; it may be missing.

    Returns:
        Each kind with a file that marks it, relative to the folder. Empty if the folder is missing
        or empty, or holds only files that say nothing, such as notes.
    """
    if not folder.is_dir():
        return {}
    names = _names_in(folder)
    kinds = _kinds_of(folder, names)
    if kinds.keys().isdisjoint(MAIN_KINDS):
        kinds.update(_kinds_below(folder, names))
    if Kind.FACES in kinds and _is_of_segment(folder, names):
        kinds[Kind.FACES_OF_SEGMENT] = kinds.pop(Kind.FACES)
    if folder.name in (RAW_IMAGES, "truth") and (folder.parent / RAW_IMAGES).is_dir():
        kinds.setdefault(Kind.TRUTHS, f"../{RAW_IMAGES}")
    return kinds or _kinds_of_images(names)


def _kinds_of(folder: Path, names: Sequence[str]) -> dict[Kind, str]:
    """Tell what the files in a folder, without its sub-folders, are."""
    kinds: dict[Kind, str] = {}
    for name in names:
        kind = _NAMES.get(name) or _kind_of_ending(name)
        if kind is not None:
            kinds.setdefault(kind, name)
    for name, _ in _records(folder, names, ALIGN):
        kinds.setdefault(Kind.FACES, name)
    for name, record in _records(folder, names, RESULT_RECORD):
        kinds.setdefault(_command_of(record), name)
    if ROWS in names and any(_ROW.fullmatch(path.name) for path in (folder / ROWS).glob("*")):
        kinds[Kind.SUITE] = ROWS
    if CONFIG in names and not kinds:  # otherwise a checkpoint may be a copy
        for name in filter(_CHECKPOINT.fullmatch, names):
            kinds[Kind.TRAINING] = name
    if kinds.keys() & set(RESULTS_OF.values()):
        kinds.pop(Kind.RESULTS, None)
    return kinds


def _names_in(folder: Path, only_folders: bool = False) -> list[str]:
    """List names in a folder, hidden ones last; empty if it may not be read."""
    try:
        with os.scandir(folder) as entries:
            names = [
                entry.name
                for entry in entries
                if not only_folders or entry.is_dir(follow_symlinks=False)
            ]
    except OSError as error:
        logger.debug("what %s holds is not known: %s", folder, error)
        return []
    return sorted(names, key=lambda name: (name.startswith("."), name))


def _kind_of_ending(name: str) -> Kind | None:
    if not name.endswith(tuple(_ENDINGS)):  # quickly, because there may be 100,000 names
        return None
    return next(kind for ending, kind in _ENDINGS.items() if name.endswith(ending))


def _kinds_of_images(names: Sequence[str]) -> dict[Kind, str]:
    """Recognize images of somebody; images that are there as PDF too are figures."""
    figures = {name[: -len(".pdf")] for name in names if name.endswith(".pdf")}
    images = []
    for name in names:
        stem, _, suffix = name.rpartition(".")
        if f".{suffix.lower()}" in _IMAGES:
            if stem in figures:
                return {}
            images.append(name)
    return {Kind.IMAGES: images[0]} if images else {}


def _is_of_segment(folder: Path, names: Sequence[str]) -> bool:
    """Whether faces were written by ``s3pot segment``, whose results are one folder up."""
    if folder.name != FACES_FOLDER or CONFIG in names or DATASET_FILE in names:
        return False
    has_config = (folder.parent / CONFIG).is_file()
    return has_config or any(folder.parent.glob(f"*{RESULT_RECORD}"))


def _records(
    folder: Path, names: Sequence[str], ending: str
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the first record with an ending in a folder, if there is one, with its file name."""
    for name in [name for name in names if name.endswith(ending)][:MOST_RECORDS]:
        try:
            content = read_json(folder / name)
        except S3potError:
            continue
        if isinstance(content, dict) and isinstance(content.get("provenance"), dict):
            yield name, content
            return


def _command_of(record: Mapping[str, Any]) -> Kind:
    """Tell which command wrote a result; records of earlier versions do not say it."""
    settings = record["provenance"].get("settings")
    command = settings.get("command") if isinstance(settings, dict) else None
    return RESULTS_OF.get(str(command), Kind.RESULTS)


def _kinds_below(folder: Path, names: Sequence[str]) -> dict[Kind, str]:
    """Tell what the sub-folders of a folder make it."""
    numbered = [name for name in names if name.isdigit()][:1]  # as in the authors' layout
    marks = [f"{part}/*parsing_mask.npy" for part in ("train", "val")]
    for mark in (*marks, *(f"{name}/Reference*.png" for name in numbered)):
        for path in sorted(folder.glob(mark))[:1]:
            return {Kind.FACES: path.relative_to(folder).as_posix()}
    # Every run writes its config first. It may be above: the folder may be a part of an output.
    places = (folder, *folder.resolve().parents)
    holds_a_run = any((place / CONFIG).is_file() for place in places)
    for below in _subfolders(folder) if holds_a_run else ():
        found = _names_in(below)
        where = below.relative_to(folder).as_posix()
        for ending in (ALIGN, RESULT_RECORD):
            for name, record in _records(below, found, ending):
                if _belongs(record, f"{where}/{name}"[: -len(ending)]):
                    kinds = _kinds_of(below, found)
                    return {kind: f"{where}/{mark}" for kind, mark in kinds.items()}
    return _kind_of_summary(folder)


def _kind_of_summary(folder: Path) -> dict[Kind, str]:
    """Tell what the summary of a folder lists whose records are gone."""
    try:
        rows = read_json(folder / SUMMARY)
    except S3potError:
        return {}
    for row in rows if isinstance(rows, list) else ():
        if isinstance(row, dict) and "occluded" in row:
            return {Kind.RESULTS: SUMMARY}
        if isinstance(row, dict) and "detector_score" in row:
            return {Kind.FACES: SUMMARY}
    return {}


def _belongs(record: Mapping[str, Any], name: str) -> bool:
    """Whether a record in a sub-folder is that of a face called ``name`` there, such as ``a/b``.

    A face of another run has a shorter name. In a part of an output folder, it has a longer one.
    """
    row = record.get("row")
    recorded = row.get("name") if isinstance(row, dict) else record.get("name")
    return f"/{recorded}".endswith(f"/{name}")


def _subfolders(folder: Path) -> Iterator[Path]:
    """Yield the folders below one, except those of other runs and those that hold no faces."""
    for name in _names_in(folder, only_folders=True):
        is_left_out = name.startswith(".") or name in _NOT_OF_FACES
        if not is_left_out and not (folder / name / CONFIG).is_file():
            yield folder / name
            yield from _subfolders(folder / name)
