"""What an item was made from, and the record that closes it.

An item is finished by a JSON record, written last. It names all of the item's files with their
hashes, and says what they were made from. An item is left alone in a later run if its record is
there, its files are as they were, and it would be made from the same again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from s3pot.io import file_sha256, leads_outside, read_json, write_json
from s3pot.types import S3potError

DIGEST = "sha256_of_record"  # key of the hash of all the others


@dataclass(frozen=True)
class ItemProvenance:
    """All that decides what an item looks like, as plain values.

    Attributes:
        inputs: SHA-256 of the files it is made from, by what they are (``image``, ``parsing``);
            empty where there is no such file.
        models: SHA-256 of the weights, by model.
        settings: The config values and options that matter.
    """

    inputs: Mapping[str, str] = field(default_factory=dict)
    models: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Give plain values, as they come back from JSON."""
        values: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return values


def hash_inputs(paths: Mapping[str, Path | None]) -> dict[str, str]:
    """Hash input files; an empty text stands for one that is not there."""
    return {
        role: file_sha256(path) if path is not None and path.is_file() else ""
        for role, path in paths.items()
    }


def code_sha256(parts: Sequence[str] = ()) -> str:
    """Hash the program: the Python files of this package, by their names.

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
    """Close an item: all of its files are there and whole.

    Args:
        record: JSON file to write.
        provenance: What the item was made from.
        files: Its other files, in ``folder`` or below.
        content: Plain values that are kept besides; not called as the record's own keys.
        folder: What the files' names are relative to; None for the record's folder.
    """
    root = folder or record.parent
    hashes = {path.relative_to(root).as_posix(): file_sha256(path) for path in files}
    closed = {**content, "provenance": provenance.to_dict(), "files": hashes}
    write_json(record, {**closed, DIGEST: _digest(closed)})


def read_finished(
    record: Path, provenance: ItemProvenance, folder: Path | None = None
) -> dict[str, Any] | None:
    """Read the content of an item that is finished.

    Args:
        record: Its JSON file.
        provenance: What it would be made from now.
        folder: As for ``write_record``.

    Returns:
        What ``write_record`` was given; None if the item is missing, incomplete, damaged, or was
        made from something else.
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
    """Hash plain values, so that a record that was damaged or edited counts as missing."""
    text = json.dumps(values, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
