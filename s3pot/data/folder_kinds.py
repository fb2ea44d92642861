"""What an output folder holds: the first line of its ``config.yaml`` names the command.

Every run writes that file before all others. Folders of earlier versions, whose config does not
name a command, and folders without a config, such as converted faces and those in the authors'
layout, are recognized by files that lie in them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from enum import Enum
from itertools import islice
from pathlib import Path
from typing import Any

from s3pot.io import read_json
from s3pot.typed_yaml import CONFIG_FILE, command_of
from s3pot.types import S3potError

RESULT_RECORD = "_result.json"  # ending of the record of a segmented face or photo
FACES_FOLDER = "faces"  # of s3pot segment, inside the folder of its results
RECORDS_FOLDER = "records"  # of s3pot data convert, inside the folder of the data set
MOST_RECORDS = 8  # how many files of other programs with the name of a record are passed over
# Prepared faces: in the folder itself, in its parts, or in the authors' layout.
_FACES = (
    "*parsing_mask.npy",
    "train/*parsing_mask.npy",
    "val/*parsing_mask.npy",
    "[0-9]*/Reference*.png",
)
_HISTORY = "history.jsonl"  # of a training run


class Kind(Enum):
    """What a folder holds; the value completes "the folder holds ..."."""

    FACES = "prepared faces"
    TRAINING = "a training run"
    INFERENCE = "results of inference"
    PER_IMAGE = "results of train_per_image"
    SEGMENT = "results of segment"
    RESULTS = "results of s3pot"  # of an earlier version, which does not say of which command
    SUITE = "the table of a suite"


KIND_OF_COMMAND: Mapping[str, Kind] = {
    "generate_reference": Kind.FACES,
    "train_general": Kind.TRAINING,
    "inference": Kind.INFERENCE,
    "train_per_image": Kind.PER_IMAGE,
    "segment": Kind.SEGMENT,
    "evaluate --suite": Kind.SUITE,
}


def kind_of(folder: Path) -> tuple[Kind, str] | None:
    """Tell what a folder holds.

    Args:
        folder: Any folder; it may be missing.

    Returns:
        The kind, and a file that shows it, relative to the folder; None if the folder is missing or
        holds nothing that is known, such as notes, photos, ground truths or tables.
    """
    kind = _kind_of_config(folder)
    if kind is not None:
        return kind, CONFIG_FILE
    if folder.name == FACES_FOLDER and _kind_of_config(folder.parent) == Kind.SEGMENT:
        return Kind.SEGMENT, f"../{CONFIG_FILE}"
    for pattern in _FACES:
        for path in islice(folder.glob(pattern), 1):
            return Kind.FACES, path.relative_to(folder).as_posix()
    for path, record in islice(_records(folder), 1):
        return _kind_of_record(record), path.name
    if (folder / CONFIG_FILE).is_file() and (folder / _HISTORY).is_file():
        return Kind.TRAINING, _HISTORY
    return None


def kind_of_result(record: Path) -> Kind | None:
    """Tell which command wrote the result that a record belongs to.

    Args:
        record: ``<name>_result.json``, which exists.

    Returns:
        The kind; None if it is not a record of s3pot.
    """
    content = _read_record(record)
    return None if content is None else _kind_of_record(content)


def refuse_shared_folder(output_dir: Path) -> None:
    """Make sure that an output folder does not belong to the whole machine or to the program.

    The files of a run would lie among those of other programs there.

    Raises:
        S3potError: It is the root of a disk or the home folder, or lies in the package.
    """
    place = output_dir.resolve()
    home = Path(os.path.expanduser("~")).resolve()  # noqa: PTH111 - no error without a home
    package = Path(__file__).resolve().parents[1]
    what = None
    if place == place.parent:
        what = "is the root of a disk"
    elif place == home:
        what = "is the home folder"
    elif package in (place, *place.parents):
        what = f"lies in the program itself, {package}"
    if what is not None:
        raise S3potError(
            f"--output_dir {output_dir} {what}, where no results belong; choose another "
            "--output_dir, such as ./results."
        )


def refuse_folder_of_a_run(output_dir: Path) -> None:
    """Make sure that data do not go into the output folder of a run, which has a config.

    Raises:
        S3potError: They would, or into a folder that is refused to all commands.
    """
    refuse_shared_folder(output_dir)
    kind = kind_of(output_dir)
    if kind is not None and (output_dir / CONFIG_FILE).exists():
        raise other_kind(output_dir, *kind)


def other_kind(output_dir: Path, kind: Kind, mark: str) -> S3potError:
    """Describe what a folder holds that a command may not write into; see ``kind_of``."""
    return S3potError(
        f"--output_dir {output_dir} holds {kind.value} ({mark}), which the files of this command "
        "would replace or mix with; choose another --output_dir."
    )


def _kind_of_config(folder: Path) -> Kind | None:
    """Tell which command wrote a folder's config; None without a config that says so."""
    return KIND_OF_COMMAND.get(command_of(folder) or "")


def _records(folder: Path) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """Yield the records of results in a folder; files of other programs have no provenance."""
    for path in islice(folder.glob(f"*{RESULT_RECORD}"), MOST_RECORDS):
        record = _read_record(path)
        if record is not None:
            yield path, record


def _read_record(path: Path) -> Mapping[str, Any] | None:
    """Read the record of a result; None if the file is damaged or of another program."""
    try:
        content = read_json(path)
    except S3potError:
        return None
    is_record = isinstance(content, dict) and isinstance(content.get("provenance"), dict)
    return content if is_record else None


def _kind_of_record(record: Mapping[str, Any]) -> Kind:
    """Tell which command wrote a result; the oldest records do not say it."""
    settings = record["provenance"].get("settings")
    command = settings.get("command") if isinstance(settings, dict) else None
    return KIND_OF_COMMAND.get(str(command), Kind.RESULTS)
