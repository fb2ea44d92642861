"""Faces of an earlier result, which stay in a data folder when their photo fails later.

A photo may fail for a passing reason, such as too little memory, so the files of its faces are not
removed. But they may show another photo, or hold the ground truth of another folder: every command
that reads prepared faces therefore names them.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path

from s3pot.data.face_folder import PARSING
from s3pot.data.folder_kinds import FACES_FOLDER, RECORDS_FOLDER
from s3pot.report.summary import FAILURES, SUMMARY, read_summary
from s3pot.typed_yaml import command_of
from s3pot.types import S3potError
from s3pot.wording import brief, subject

logger = logging.getLogger(__name__)

_PARTS = ("train", "val")  # of a data folder
# Commands that write faces; conversions leave no config that would name them.
_WRITERS = (None, "generate_reference", "segment")
_FURTHER_FACE = re.compile(r"(.+)_face\d+")  # of a photo with several


def warn_of_outdated_faces(datapath: Path) -> None:
    """Warn of the faces of a data folder that ``outdated_faces`` lists."""
    names = outdated_faces(datapath)
    if names:
        logger.warning(
            "%s left in %s from an earlier result, maybe with another ground truth, because the "
            "photo failed in the last run, according to %s: %s. Correct the photo or its ground "
            "truth and run the command again, or delete the files of the face.",
            subject(len(names), "face"),
            datapath,
            FAILURES,
            brief(names),
        )


def outdated_faces(datapath: Path) -> list[str]:
    """List the faces whose photo failed in the last run that wrote into their folder.

    Args:
        datapath: A folder of faces, one of its parts ``train`` and ``val``, or a folder of such
            folders.

    Returns:
        Their names below ``datapath``, sorted.
    """
    whole = datapath.resolve()
    folders = [whole, *(path.parent for path in whole.glob(f"*/{FAILURES}"))]
    if whole.name in (*_PARTS, FACES_FOLDER):  # s3pot segment reports its photos beside its faces
        folders += [whole.parent, whole.parent / RECORDS_FOLDER]
    faces = {path for folder in folders for path in _outdated_in(folder, whole)}
    return sorted(path.relative_to(whole).as_posix() for path in faces if whole in path.parents)


def _outdated_in(folder: Path, datapath: Path) -> set[Path]:
    """List the faces, as paths without an ending, whose photo failed according to a summary."""
    if not (folder / FAILURES).is_file() or not (folder / SUMMARY).is_file():
        return set()
    if command_of(folder) not in _WRITERS:  # results, in a folder around the faces
        return set()
    try:
        summary = read_summary(folder)
    except S3potError:
        return set()
    holds_faces = datapath if datapath.name == FACES_FOLDER else folder
    if folder.name == RECORDS_FOLDER:
        holds_faces = folder.parent
    failed = {holds_faces / failure.name for failure in summary.failures}
    finished = {holds_faces / str(row["name"]) for row in summary.rows}
    prepared = {
        path.with_name(path.name[: -len(PARSING)])
        for parent in {face.parent for face in failed}  # each folder is listed once
        for path in parent.glob(f"[!.]*{PARSING}")  # neither hidden nor without a name
    }
    return {face for face in prepared - finished if {face, _first_face(face)} & failed}


def _first_face(face: Path) -> Path:
    """Return the first face of the same photo: ``a`` for ``a_face2``."""
    match = _FURTHER_FACE.fullmatch(face.name)
    return face if match is None else face.with_name(match[1])
