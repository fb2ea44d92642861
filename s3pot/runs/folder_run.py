"""Many inputs, one by one: a bad one is named and the rest is done; finished ones are known again.

An item is finished by a JSON record, written last, that names its files with their hashes.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from s3pot.io import file_sha256, write_json
from s3pot.types import S3potError

logger = logging.getLogger(__name__)
Item = TypeVar("Item")
Result = TypeVar("Result")


def each(items: Mapping[str, Item], do: Callable[[Item], Result], kind: str) -> Iterator[Result]:
    """Do all items, given by name, and yield what comes out of those that do not fail.

    Raises:
        S3potError: All of them failed.
    """
    failed = 0
    with logging_redirect_tqdm([logging.getLogger("s3pot")]):
        for name, item in tqdm(items.items(), desc=kind, disable=None):
            try:
                result = do(item)
            except S3potError as error:
                failed += 1
                logger.error("failed: %s: %s", name, error)
            else:
                yield result
    if failed == len(items):
        raise S3potError(f"none of the {failed} {kind} could be done")


def write_record(
    record: Path, made_by: Mapping[str, Any], files: Iterable[Path], content: Mapping[str, Any]
) -> None:
    """Close an item: its other files, all in the record's folder, are whole.

    ``made_by`` holds the plain values that decide what the item looks like (inputs, models,
    settings); ``content`` what else is kept.
    """
    hashes = {path.name: file_sha256(path) for path in files}
    write_json(record, {**content, "made_by": dict(made_by), "files": hashes})


def read_finished(record: Path, made_by: Mapping[str, Any]) -> dict[str, Any] | None:
    """The record; None when the item is missing, incomplete, damaged or was made otherwise."""
    try:
        content = json.loads(record.read_text(encoding="utf-8"))
        files = content["files"].items()
        whole = all(file_sha256(record.parent / name) == value for name, value in files)
        return content if whole and content["made_by"] == made_by else None
    except (OSError, ValueError, LookupError, TypeError, AttributeError, S3potError):
        return None
