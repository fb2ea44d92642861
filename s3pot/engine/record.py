"""Finished items: a JSON record, written last, that names an item's files with their hashes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from s3pot.data.image import write_json
from s3pot.types import S3potError


def digest(path: Path) -> str:
    """SHA-256 of a file, 64 hex digits; S3potError when it cannot be read."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise S3potError(f"{path} cannot be read ({error.strerror})") from error


def write_record(
    record: Path, made_by: Mapping[str, Any], files: Iterable[Path], content: Mapping[str, Any]
) -> None:
    """Close an item: its other files, all in the record's folder, are whole.

    ``made_by`` holds the plain values that decide what the item looks like (inputs, models,
    settings); ``content`` what else is kept.
    """
    hashes = {path.name: digest(path) for path in files}
    write_json(record, {**content, "made_by": dict(made_by), "files": hashes})


def read_finished(record: Path, made_by: Mapping[str, Any]) -> dict[str, Any] | None:
    """The record; None when the item is missing, incomplete, damaged or was made otherwise."""
    try:
        content = json.loads(record.read_text(encoding="utf-8"))
        files = content["files"].items()
        whole = all(digest(record.parent / name) == value for name, value in files)
        return content if whole and content["made_by"] == made_by else None
    except (OSError, ValueError, LookupError, TypeError, AttributeError, S3potError):
        return None
