"""The provenance of an item, and the record that completes it.

An item is completed by a JSON record, written last. It lists all of the item's files with their
hashes, and what they were computed from. A later run skips an item if its record exists, its files
are unchanged, and it would be computed from the same inputs again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from s3pot.io import file_sha256, leads_outside, read_json, write_json
from s3pot.types import S3potError

DIGEST = "sha256_of_record"  # key of the hash of all other values


@dataclass(frozen=True)
class ItemProvenance:
    """Everything that determines an item's result, as plain values.

    Attributes:
        inputs: SHA-256 of the files it is computed from, by role (``image``, ``parsing``); empty if
            there is no such file.
        models: SHA-256 of the weights, by model.
        settings: The config values and options that affect the result.
    """

    inputs: Mapping[str, str] = field(default_factory=dict)
    models: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, in the form in which JSON returns them."""
        parts = {"inputs": self.inputs, "models": self.models, "settings": self.settings}
        values: dict[str, Any] = json.loads(json.dumps(parts))
        return values


def hash_inputs(paths: Mapping[str, Path | None]) -> dict[str, str]:
    """Hash input files; an empty string stands for a missing file."""
    return {
        role: file_sha256(path) if path is not None and path.is_file() else ""
        for role, path in paths.items()
    }


@cache
def code_sha256(parts: tuple[str, ...] = ()) -> str:
    """Hash the program, once per process: the Python files of this package, by their names.

    Args:
        parts: Only these files and folders of the package (``losses.py``, ``training``); empty for
            all of it.
    """
    package = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        name = path.relative_to(package)
        if not parts or name.parts[0] in parts:
            digest.update(f"{name.as_posix()} {file_sha256(path)}\n".encode())
    return digest.hexdigest()


def write_record(
    record: Path,
    provenance: ItemProvenance,
    files: Iterable[Path],
    content: Mapping[str, Any],
    folder: Path | None = None,
) -> None:
    """Complete an item, all of whose files have been written.

    Args:
        record: JSON file to write.
        provenance: What the item was computed from.
        files: Its other files, in ``folder`` or below.
        content: Further plain values to keep; their keys must not be those of the record itself.
        folder: The folder to which the files' names are relative; None for the record's folder.
    """
    root = folder or record.parent
    hashes = {path.relative_to(root).as_posix(): file_sha256(path) for path in files}
    closed = {**content, "provenance": provenance.to_dict(), "files": hashes}
    write_json(record, {**closed, DIGEST: _digest(closed)})


def read_finished(
    record: Path, provenance: ItemProvenance, folder: Path | None = None
) -> dict[str, Any] | None:
    """Read the content of a finished item.

    Args:
        record: Its JSON file.
        provenance: What it would be computed from now.
        folder: As for ``write_record``.

    Returns:
        The content passed to ``write_record``; None if the item is missing, incomplete, damaged, or
        was computed from something else.
    """
    root = folder or record.parent
    try:
        content = read_json(record)
        if content.pop(DIGEST) != _digest(content):
            return None
        if content.pop("provenance") != provenance.to_dict():
            return None
        for name, sha256 in content.pop("files").items():
            if leads_outside(name) or file_sha256(root / name) != sha256:
                return None
    except (OSError, ValueError, LookupError, TypeError, AttributeError, S3potError):
        return None
    return dict(content)


def _digest(values: Mapping[str, Any]) -> str:
    """Hash plain values, so that a damaged or edited record counts as missing."""
    text = json.dumps(values, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
