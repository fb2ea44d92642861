"""Finished items: a JSON record, written last, that names an item's files with their hashes.

A re-run keeps an item whose record says it was made the same way and whose files are still whole.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from s3pot.data.image import write_json


def digest(path: Path) -> str:
    """SHA-256 of a file, 64 hex digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_record(
    record: Path, made_by: Mapping[str, Any], files: Iterable[Path], content: Mapping[str, Any]
) -> None:
    """Close an item.

    Args:
        record: File to write.
        made_by: Plain values that decide what the item looks like (inputs, models, settings).
        files: The item's other files, in the record's folder.
        content: What else the record holds; plain values.
    """
    hashes = {path.name: digest(path) for path in files}
    write_json(record, {**content, "made_by": dict(made_by), "files": hashes})


def read_finished(record: Path, made_by: Mapping[str, Any]) -> dict[str, Any] | None:
    """Read the record of an item that need not be done again.

    Returns:
        The record, or None when the item is missing, incomplete, damaged or was made otherwise.
    """
    try:
        content = json.loads(record.read_text(encoding="utf-8"))
        same = content["made_by"] == dict(made_by)
        whole = all(
            digest(record.parent / name) == value for name, value in content["files"].items()
        )
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None
    return content if same and whole else None
